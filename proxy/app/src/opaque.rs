//! Connections that are not HTTP: passed through to the baseline, byte for byte.

use spurline_telemetry::metrics::{Counter, RetryReason, TunnelKind};

use crate::{
    connection::Connection,
    tunnel::Start,
    upstream::{ConnectFailure, Reuse},
    worker::Worker,
};

/// Finds an endpoint of the baseline for the connection. One that cannot be reached is tried elsewhere; `None`: none
/// can, and the connection ends.
pub(crate) async fn open(worker: &Worker, connection: &Connection) -> Option<Box<Start>> {
    let Some(cluster) = worker.baseline(&connection.origin) else {
        tracing::debug!(peer = %connection.origin.peer, "Connection without an endpoint closed");
        return None;
    };
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
        match cluster.acquire(worker.recent(), exclude, Reuse::Never).await {
            Ok(lease) => {
                cluster.succeeded(lease.index());
                worker.shard().inc(Counter::Tunnels(TunnelKind::Tcp));
                return Some(Box::new(Start { lease, watched: None }));
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
