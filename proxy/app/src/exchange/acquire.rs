//! Finding a connection for a request, and how long that may take.

use std::{rc::Rc, time::Duration};

use spurline_config::UpstreamProtocol;
use spurline_http::Version;
use spurline_net::{ConnectError, tls::Speech};
use spurline_telemetry::metrics::{Reason, RetryReason, SelectionLabel};

use super::Exchange;
use crate::{
    h2::Held,
    params::Params,
    relay::Patience,
    reply::Reply,
    upstream::{Acquire, Cluster, ConnectFailure, Lease, Refused, Reuse},
};

/// What earlier tries of a request say about the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Earlier {
    /// The endpoint that failed, which is tried again only if there is no other.
    pub(super) exclude: Option<usize>,
    /// No kept connection is to be used any more.
    pub(super) fresh: bool,
}

/// Why there is no connection, with the answer that says so.
pub(super) enum Failure {
    /// None of the endpoints can be reached: a fall-back may serve instead.
    Unreachable(Reply),
    Refused(Reply),
}

// === impl Exchange ===

impl Exchange<'_> {
    /// How long this request may take.
    pub(super) fn patience(&self) -> Patience {
        let setting = self.worker.params().timeouts.request;
        let said = self.call.and_then(|call| call.timeout);
        let is_of_client = said.is_some_and(|said| setting.is_none_or(|setting| said <= setting));
        Patience {
            total: if is_of_client { said } else { setting },
            is_of_client,
            is_open: self.call.is_some(),
        }
    }

    /// A connection of the cluster. A connection that cannot be made is tried again elsewhere, within the budget:
    /// nothing of the request has been sent yet.
    pub(super) async fn acquire(
        &mut self,
        cluster: &Rc<Cluster>,
        earlier: &mut Earlier,
    ) -> Result<Lease, Failure> {
        // Counted before it waits for a connection: those that wait with it are others, too.
        let held = self.connection.link.stream_mut().map(|stream| stream.hold());
        if cluster.is_crowded(held.as_ref().map_or(0, Held::others)) {
            return Err(Failure::Refused(Reply::new(503, Reason::Overflow)));
        }
        loop {
            let reuse = match (earlier.fresh, self.is_replayable()) {
                (true, _) => Reuse::Never,
                (false, true) => Reuse::Replayable,
                (false, false) => Reuse::Verified,
            };
            let connect_timeout = self.connect_timeout()?;
            let (now, speech) = (self.worker.recent(), self.speech(cluster));
            let how = Acquire { now, exclude: earlier.exclude, reuse, connect_timeout, speech };
            match cluster.acquire(how).await {
                Ok(lease) => return Ok(lease.held_for(held)),
                Err(ConnectFailure::Refused(refused)) => return Err(self.refused(refused)),
                Err(ConnectFailure::Endpoint(index, error)) => {
                    self.record.upstream = cluster.endpoint(index).map(|endpoint| endpoint.addr);
                    self.connect_timeout()?;
                    // The same endpoint once more would only make the client wait longer.
                    if cluster.len() < 2 || !self.may_retry(cluster) {
                        return Err(Failure::Unreachable(self.unreachable(&error)));
                    }
                    self.note_retry(RetryReason::Connect);
                    earlier.exclude = Some(index);
                }
            }
        }
    }

    /// What is spoken with the upstream. In the clear nothing tells what it can speak. A client that began with HTTP/2
    /// knew, and gRPC needs it; one that agreed on it with us says nothing about the upstream.
    fn speech(&self, cluster: &Cluster) -> Speech {
        let is_meant = self.call.is_some() || self.connection.security().is_none();
        match (self.connection.origin.binding.upstream_protocol, self.head.version()) {
            // HTTP/2 knows no upgrade.
            _ if self.upgrade.is_some() => Speech::Http1,
            _ if self.web().is_some() => Speech::Http2,
            (UpstreamProtocol::Http2, _) => Speech::Http2,
            (UpstreamProtocol::Auto, Version::Http2) if self.call.is_some() && !cluster.is_secure() => {
                Speech::Http2
            }
            (UpstreamProtocol::Auto, Version::Http2) if is_meant || cluster.is_secure() => Speech::Http,
            (UpstreamProtocol::Auto | UpstreamProtocol::Http1, _) => Speech::Http1,
        }
    }

    /// How long a connection may take: not longer than what is left of the whole request's time.
    fn connect_timeout(&self) -> Result<Duration, Failure> {
        let Params { upstream, .. } = self.worker.params();
        let Patience { total, is_of_client, .. } = self.patience();
        let Some(total) = total else { return Ok(upstream.connect_timeout) };
        let reason = if is_of_client { Reason::GrpcTimeout } else { Reason::RequestTimeout };
        match total.checked_sub(self.worker.now().saturating_duration_since(self.started)) {
            Some(left) if !left.is_zero() => Ok(left.min(upstream.connect_timeout)),
            _ => Err(Failure::Refused(Reply::new(504, reason))),
        }
    }

    /// Whether the request may be sent once more that no upstream has begun to process, which costs none of them anything.
    pub(super) fn may_repeat(&self) -> bool {
        self.record.retries < self.worker.params().upstream.retries_max
    }

    pub(super) fn may_retry(&self, cluster: &Cluster) -> bool {
        self.may_repeat() && cluster.try_retry(self.worker.now())
    }

    fn refused(&self, refused: Refused) -> Failure {
        match refused {
            Refused::Breaker(_) => Failure::Refused(Reply::new(503, Reason::Overflow)),
            Refused::Empty if self.record.selection == SelectionLabel::Override => {
                Failure::Unreachable(Reply::new(503, Reason::ForkUnavailable))
            }
            Refused::Empty => Failure::Unreachable(Reply::new(503, Reason::NoEndpoint)),
        }
    }

    fn unreachable(&self, error: &ConnectError) -> Reply {
        let reason = match error {
            _ if self.record.selection == SelectionLabel::Override => Reason::ForkUnavailable,
            ConnectError::Timeout => Reason::ConnectTimeout,
            ConnectError::Tls(_) => Reason::UpstreamTls,
            _ => Reason::ConnectFailed,
        };
        Reply::new(503, reason)
    }
}
