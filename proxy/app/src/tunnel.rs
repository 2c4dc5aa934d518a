//! Connections that carry something else than HTTP: their bytes are moved and not looked at.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use spurline_net::{Tunnel, TunnelEnd, TunnelOptions};
use spurline_route::RoutingKey;
use spurline_telemetry::metrics::{Counter, Direction};

use crate::{
    connection::{Connection, Origin},
    deadline::{Deadline, Signal},
    link::{Link, Wire},
    upstream::Lease,
    worker::Worker,
};

/// What a connection goes on with as a tunnel.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) lease: Lease,
    /// The key whose override brought it here; the tunnel ends some time after the override does.
    pub(crate) watched: Option<RoutingKey>,
}

/// Moves the bytes of two connections both ways, what has been read of either first.
pub(crate) async fn join(worker: &Rc<Worker>, connection: Connection, start: Start) {
    let Connection { link, deadline, origin, .. } = connection;
    let Link { wire: Wire::Transport(stream), mut input, .. } = link else { return };
    let Start { lease, watched } = start;
    let addr = lease.addr();
    deadline.set_idle(None);
    let (upstream, mut from_upstream, _counted) = lease.into_tunnel();
    let options = TunnelOptions {
        idle_timeout: worker.params().timeouts.tunnel_idle,
        from_downstream: input.take(),
        from_upstream: from_upstream.take(),
    };
    let mut tunnel = Box::pin(Tunnel::new(stream, upstream, options));
    let _watching = watched.map(|_| Watching::new(worker));
    let mut cut = pin!(removed(worker, &deadline, &origin, watched));
    let end = poll_fn(|cx| match tunnel.as_mut().poll(cx) {
        Poll::Ready(end) => Poll::Ready(Some(end)),
        Poll::Pending => cut.as_mut().poll(cx).map(|()| None),
    })
    .await;
    if end.is_none() {
        worker.shard().inc(Counter::TunnelsCut);
    }
    let traffic = end.map_or_else(|| tunnel.traffic(), |TunnelEnd { traffic, .. }| traffic);
    let shard = worker.shard();
    shard.add(Counter::Bytes(Direction::DownstreamIn), traffic.to_upstream_bytes);
    shard.add(Counter::Bytes(Direction::UpstreamOut), traffic.to_upstream_bytes);
    shard.add(Counter::Bytes(Direction::UpstreamIn), traffic.to_downstream_bytes);
    shard.add(Counter::Bytes(Direction::DownstreamOut), traffic.to_downstream_bytes);
    tracing::debug!(upstream = ?addr, peer = %origin.peer, ?end, "Tunnel ended");
}

/// Ends some time after the override that led here is gone. Without a key to watch it never does.
async fn removed(worker: &Worker, deadline: &Deadline, origin: &Origin, watched: Option<RoutingKey>) {
    let is_there = || watched.is_none_or(|key| is_overridden(worker, origin, &key));
    // The override may have gone while the upgrade was under way.
    let mut leaving = !is_there();
    let grace = worker.params().timeouts.tunnel_grace;
    deadline.set(worker.recent(), leaving.then_some(grace));
    poll_fn(|cx| {
        loop {
            match deadline.poll_signal(cx) {
                Some(Signal::Expired) => return Poll::Ready(()),
                Some(Signal::Changed | Signal::Evicted) => {
                    let gone = !is_there();
                    if gone != leaving {
                        leaving = gone;
                        deadline.set(worker.recent(), gone.then_some(grace));
                    }
                }
                None => return Poll::Pending,
            }
        }
    })
    .await;
}

/// Whether the key still has an override of the workload that is served here.
pub(crate) fn is_overridden(worker: &Worker, origin: &Origin, key: &RoutingKey) -> bool {
    let workload = origin.binding.workload.as_ref();
    workload.is_none_or(|workload| worker.table().find(workload, key).is_some())
}

/// Asks the worker to signal changes of the route table.
pub(crate) struct Watching<'a>(&'a Worker);

impl<'a> Watching<'a> {
    pub(crate) fn new(worker: &'a Worker) -> Self {
        worker.watch_table(1);
        Self(worker)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watch_table(-1);
    }
}
