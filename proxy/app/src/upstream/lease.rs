use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use spurline_net::Transport;

use super::Cluster;
use crate::buffer::Buffer;

/// One upstream connection for the time of one request.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) stream: Transport,
    /// Bytes received and not used yet.
    pub(crate) input: Buffer,
    /// Bytes to send.
    pub(crate) output: Buffer,
    /// Whether the connection has served a request before.
    pub(crate) reused: bool,
    /// Bytes received and sent for this request.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    permit: Permit,
}

/// What a request holds of its cluster, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    cluster: Rc<Cluster>,
    index: usize,
    /// Whether a request is counted, which ends with the permit.
    request: bool,
    /// Whether a connection is counted as well, which ends with the permit.
    connection: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(stream: Transport, permit: Permit, reused: bool) -> Self {
        let (input, output) = Default::default();
        Self { stream, input, output, reused, received: 0, sent: 0, permit }
    }

    /// See [`Buffer::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = self.input.poll_fill(cx, &mut self.stream);
        if let Poll::Ready(Ok(count)) = filled {
            self.received += count as u64;
        }
        filled
    }

    /// See [`Buffer::poll_flush`].
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let flushed = self.output.poll_flush(cx, &mut self.stream);
        if let Poll::Ready(Ok(count)) = flushed {
            self.sent += count as u64;
        }
        flushed
    }

    /// Whether everything that is to be sent has been handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty() && !self.stream.has_unsent()
    }

    pub(crate) fn cluster(&self) -> &Rc<Cluster> {
        &self.permit.cluster
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
    /// peer said that it keeps the connection.
    pub(crate) fn keep(self, now: Instant, hint: Option<Duration>) {
        let Self { stream, input, output, mut permit, .. } = self;
        if input.is_empty() && output.is_empty() && !stream.has_unsent() {
            permit.connection = false;
            permit.cluster.keep(permit.index, stream, now, hint);
        }
    }

    /// From now on it counts as a connection, but not as a request any more.
    pub(crate) fn end_request(&mut self) {
        self.permit.end();
    }

    /// Takes the connection out for a tunnel. It is no request any more, but stays counted as a connection until the
    /// returned guard is dropped.
    pub(crate) fn into_tunnel(mut self) -> (Transport, Buffer, impl Sized) {
        self.end_request();
        let Self { stream, input, permit, .. } = self;
        (stream, input, permit)
    }
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(cluster: Rc<Cluster>, index: usize) -> Self {
        cluster.begin(index);
        Self { cluster, index, request: true, connection: false }
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
