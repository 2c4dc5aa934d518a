//! Connections that are not HTTP: passed through to the baseline, byte for byte. And those of which it is not known yet.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
};

use spurline_net::{Detection, detect, tls::Speech};
use spurline_telemetry::metrics::{Counter, Refusal, RetryReason, TunnelKind};

use crate::{
    connection::{Connection, Spoken},
    deadline::Signal,
    tunnel::Start,
    upstream::{Acquire, Cluster, ConnectFailure, Lease, Reuse},
    worker::Worker,
};

/// Finds an endpoint of the baseline for the connection. `None`: there is none, and the connection ends.
pub(crate) async fn open(worker: &Worker, connection: &Connection) -> Option<Box<Start>> {
    let cluster = worker.baseline(&connection.origin);
    connect(worker, connection, cluster).await.map(|lease| start(worker, lease))
}

/// Like [`open`], for bytes that are in TLS already and get no other around it.
pub(crate) async fn pass(worker: &Worker, connection: &Connection) -> Option<Box<Start>> {
    let cluster = worker.baseline_in_the_clear(&connection.origin);
    connect(worker, connection, cluster).await.map(|lease| start(worker, lease))
}

fn start(worker: &Worker, lease: Lease) -> Box<Start> {
    worker.shard().inc(Counter::Tunnels(TunnelKind::Tcp));
    Box::new(Start { lease, watched: None })
}

/// Who speaks first on a connection whose client has not said enough.
pub(crate) enum First {
    /// The client, and it is not passed through.
    Client(Spoken),
    /// The server, or the client in another protocol.
    Server(Box<Start>),
    Nobody,
}

/// Connects to the baseline and waits for either side, so that neither a protocol in which the server speaks first has to
/// wait any longer, nor a client that connected early loses the steering of its requests.
pub(crate) async fn listen_to_both(worker: &Worker, connection: &mut Connection) -> First {
    let cluster = worker.baseline(&connection.origin);
    let Some(mut lease) = connect(worker, connection, cluster).await else { return First::Nobody };
    // Nothing is asked of the baseline yet, and the client is as good as any idle one to give its place away.
    lease.end_request();
    connection.deadline.set_idle(Some(worker.recent()));
    let timeouts = &worker.params().timeouts;
    // What has arrived may be the whole first message of something else, which is not held back for long.
    let wait = if connection.link.input.is_empty() { timeouts.tunnel_idle } else { Some(timeouts.detect) };
    connection.deadline.set(worker.recent(), wait);
    let first = poll_fn(|cx| poll_first(worker, connection, &mut lease, cx)).await;
    match first {
        Heard::Client(spoken) => First::Client(spoken),
        Heard::Server => First::Server(start(worker, lease)),
        Heard::Nobody => First::Nobody,
    }
}

enum Heard {
    Client(Spoken),
    Server,
    Nobody,
}

fn poll_first(
    worker: &Worker,
    connection: &mut Connection,
    lease: &mut Lease,
    cx: &mut Context<'_>,
) -> Poll<Heard> {
    loop {
        match detect(connection.link.input.data()) {
            Detection::Http1 => return Poll::Ready(Heard::Client(Spoken::Http)),
            Detection::Http2 if worker.params().http2.is_on => {
                return Poll::Ready(Heard::Client(Spoken::Http2));
            }
            // It may end here, and it must not go into the TLS of the connection there is.
            Detection::Tls if connection.minds_tls() => return Poll::Ready(Heard::Client(Spoken::Tls)),
            Detection::Http2 | Detection::Tls | Detection::Opaque => return Poll::Ready(Heard::Server),
            Detection::NeedMore => {}
        }
        // A server that ends the connection has said what it had to say; the tunnel passes that on.
        if lease.link.poll_fill(cx).is_ready() {
            return Poll::Ready(Heard::Server);
        }
        match connection.deadline.poll_signal(cx) {
            Some(Signal::Expired) if connection.link.input.is_empty() => return Poll::Ready(Heard::Nobody),
            Some(Signal::Expired) => return Poll::Ready(Heard::Server),
            Some(Signal::Evicted) => return Poll::Ready(Heard::Nobody),
            Some(Signal::Changed) if worker.closes_idle() && connection.link.input.is_empty() => {
                return Poll::Ready(Heard::Nobody);
            }
            Some(Signal::Changed) => continue,
            None => {}
        }
        match ready!(connection.poll_fill(cx)) {
            Ok(0) => return Poll::Ready(Heard::Server),
            Ok(_) => connection.deadline.set(worker.recent(), Some(worker.params().timeouts.detect)),
            Err(_) => return Poll::Ready(Heard::Nobody),
        }
    }
}

/// A connection to an endpoint of the baseline. One that cannot be reached is tried elsewhere; `None`: none can.
async fn connect(worker: &Worker, connection: &Connection, cluster: Option<Rc<Cluster>>) -> Option<Lease> {
    let Some(cluster) = cluster else {
        tracing::debug!(peer = %connection.origin.peer, "Connection without an endpoint closed");
        return None;
    };
    if cluster.is_own() {
        worker.shard().inc(Counter::ConnectionsRefused(Refusal::Loop));
        return None;
    }
    cluster.note_request(worker.now());
    connection.deadline.set_idle(None);
    connection.deadline.set(worker.recent(), None);
    let mut exclude = None;
    for retry in 0..=worker.params().upstream.retries_max {
        if retry > 0 {
            if cluster.len() < 2 || !cluster.try_retry(worker.now()) {
                return None;
            }
            worker.shard().inc(Counter::Retries(RetryReason::Connect));
        }
        let connect_timeout = worker.params().upstream.connect_timeout;
        let (now, speech) = (worker.recent(), Speech::Opaque);
        let how = Acquire { now, exclude, reuse: Reuse::Never, connect_timeout, speech };
        match cluster.acquire(how).await {
            Ok(lease) => {
                cluster.succeeded(lease.index());
                return Some(lease);
            }
            Err(ConnectFailure::Endpoint(index, error)) => {
                let upstream = cluster.endpoint(index).map(|endpoint| endpoint.addr);
                tracing::debug!(?upstream, error = error.label(), "Upstream could not be reached");
                exclude = Some(index);
            }
            Err(ConnectFailure::Refused(refused)) => {
                tracing::debug!(?refused, "Connection refused");
                return None;
            }
        }
    }
    None
}
