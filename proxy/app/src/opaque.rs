//! Connections that are not HTTP: passed through to the baseline, byte for byte.

use std::{rc::Rc, time::Instant};

use spurline_telemetry::metrics::{Counter, RetryReason, TunnelKind};

use crate::{
    connection::Connection,
    tunnel::{self, Start},
    upstream::{ConnectFailure, Reuse},
    worker::Worker,
};

/// Finds an endpoint of the baseline and joins the connection with it. A connection that cannot be made is tried
/// elsewhere; when none can, the client's is closed.
pub(crate) async fn serve(worker: &Rc<Worker>, connection: Connection) {
    let Some(cluster) = worker.baseline(&connection.origin) else {
        return tracing::debug!(peer = %connection.origin.peer, "Connection without an endpoint closed");
    };
    connection.deadline.set(Instant::now(), None);
    let mut exclude = None;
    for retry in 0..=worker.params().upstream.retries_max {
        let now = Instant::now();
        if retry == 0 {
            cluster.note_request(now);
        } else if cluster.len() < 2 || !cluster.try_retry(now) {
            return;
        } else {
            worker.shard().inc(Counter::Retries(RetryReason::Connect));
        }
        match cluster.acquire(now, exclude, Reuse::Never).await {
            Ok(lease) => {
                cluster.succeeded(lease.index());
                worker.shard().inc(Counter::Tunnels(TunnelKind::Tcp));
                return tunnel::join(worker, connection, Start { lease, watched: None }).await;
            }
            Err(ConnectFailure::Endpoint(index, error)) => {
                let upstream = cluster.endpoint(index).map(|endpoint| endpoint.addr);
                tracing::debug!(?upstream, error = error.label(), "Upstream could not be reached");
                exclude = Some(index);
            }
            Err(ConnectFailure::Refused(refused)) => {
                return tracing::debug!(?refused, "Connection refused");
            }
        }
    }
}
