use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use spurline_http::h2::Scheme;
use spurline_net::Transport;

use super::Cluster;
use crate::{
    buffer::Buffer,
    h2::Held,
    link::{Link, Wire},
};

/// One upstream connection, or one stream of it, for the time of one request.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) link: Link,
    /// Whether the connection has served a request before.
    pub(crate) reused: bool,
    permit: Permit,
    held: Option<Held>,
}

/// What a request holds of its cluster, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    cluster: Rc<Cluster>,
    index: usize,
    /// Whether a request is counted, which ends with the permit.
    request: bool,
    /// Whether a connection is counted as well, which ends with the permit.
    connection: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(wire: Wire, permit: Permit, reused: bool) -> Self {
        Self { link: Link::new(wire), reused, permit, held: None }
    }

    pub(crate) fn cluster(&self) -> &Rc<Cluster> {
        &self.permit.cluster
    }

    /// How the endpoint is spoken to, for `:scheme`.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.permit.cluster.is_secure() { Scheme::Https } else { Scheme::Http }
    }

    /// The index of the endpoint in its cluster.
    pub(crate) fn index(&self) -> usize {
        self.permit.index
    }

    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.permit.cluster.endpoint(self.permit.index).map(|endpoint| endpoint.addr)
    }

    /// Gives the connection back for the next request. Only after a response that ended cleanly; bytes behind it
    /// (a response nobody asked for) make the connection unusable, so it is closed instead. `hint` is how long the
    /// peer said that it keeps the connection. A session was never taken, so it is not given back.
    pub(crate) fn keep(self, now: Instant, hint: Option<Duration>) {
        let Self { link, mut permit, .. } = self;
        let Link { wire: Wire::Transport(transport), input, output, .. } = link else { return };
        if input.is_empty() && output.is_empty() && !transport.has_unsent() {
            permit.connection = false;
            permit.cluster.keep(permit.index, transport, now, hint);
        }
    }

    /// Counts the request for the connection that it came on, too.
    pub(crate) fn held_for(mut self, held: Option<Held>) -> Self {
        self.held = held;
        self
    }

    /// From now on it counts as a connection, but not as a request any more.
    pub(crate) fn end_request(&mut self) {
        self.held = None;
        self.permit.end();
    }

    /// Takes the connection out for a tunnel. It is no request any more, but stays counted as a connection until the
    /// returned guard is dropped. Nothing is there of a stream, which carries a tunnel as it carries a body.
    pub(crate) fn into_tunnel(mut self) -> (Transport, Buffer, impl Sized) {
        self.end_request();
        let Self { link, permit, .. } = self;
        let transport = match link.wire {
            Wire::Transport(transport) => transport,
            Wire::Stream(_) | Wire::Session(_) => Transport::Taken,
        };
        (transport, link.input, permit)
    }
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(cluster: Rc<Cluster>, index: usize) -> Self {
        cluster.begin(index);
        Self { cluster, index, request: true, connection: false }
    }

    /// For a connection that is not for one request.
    pub(super) fn of_connection(cluster: Rc<Cluster>, index: usize) -> Self {
        Self { cluster, index, request: false, connection: false }
    }

    /// Leaves the connection to whoever needs it next.
    pub(super) fn keep(mut self, transport: Transport) {
        self.connection = false;
        self.cluster.keep(self.index, transport, Instant::now(), None);
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.request) {
            self.cluster.end(self.index);
        }
    }

    /// From now on a connection is counted too.
    pub(super) fn connected(mut self) -> Self {
        self.connection = true;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.connection {
            self.cluster.close();
        }
        self.end();
    }
}
