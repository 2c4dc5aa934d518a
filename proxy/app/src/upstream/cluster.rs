use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use spurline_net::{
    ConnectError, Transport,
    tls::{ClientTls, Speech},
};
use spurline_route::Endpoint;
use spurline_telemetry::metrics::{self, ConnectResult, Counter, Gauge, Shard};

use super::{
    lease::{Lease, Permit},
    policy::{
        balance::{self, Candidate},
        breaker::{Breaker, Limit, Tripped},
        budget::RetryBudget,
        outlier::{Health, Outliers, Verdict},
    },
    sessions::{SessionParts, Sessions},
};
use crate::{link::Wire, params::UpstreamParams};

/// How often it is said that the TLS of a cluster fails.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// A set of endpoints that serve the same: their idle connections, their health and what may be asked of them.
#[derive(Debug)]
pub(crate) struct Cluster {
    endpoints: Box<[EndpointState]>,
    policy: RefCell<Policy>,
    used_at: Cell<Instant>,
    /// One of the endpoints is a listener of this process.
    own: bool,
    params: UpstreamParams,
    pub(super) shard: Rc<Shard>,
    pub(super) parts: Rc<SessionParts>,
    /// `None`: endpoints are spoken to in the clear.
    tls: Option<Arc<ClientTls>>,
    /// When a failed handshake was logged last.
    told_at: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct EndpointState {
    endpoint: Endpoint,
    /// Requests whose responses have not ended.
    pending: Cell<u32>,
    /// The one used last is at the end and is used first: it is the least likely to have been closed.
    idle: RefCell<Vec<Idle>>,
    sessions: Sessions,
}

#[derive(Debug)]
struct Idle {
    stream: Transport,
    expires: Instant,
}

#[derive(Debug)]
struct Policy {
    outliers: Outliers,
    breaker: Breaker,
    budget: RetryBudget,
    /// Kept between choices for its memory.
    candidates: Vec<Candidate>,
}

/// Why a request was not sent at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The cluster has no endpoints.
    Empty,
    /// A circuit breaker is open.
    Breaker(Tripped),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    Refused(Refused),
    /// The endpoint of this index cannot be reached.
    Endpoint(usize, Rc<ConnectError>),
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new(
        endpoints: &[Endpoint],
        health: Vec<Health>,
        own: bool,
        params: UpstreamParams,
        (shard, parts): (Rc<Shard>, Rc<SessionParts>),
    ) -> Self {
        let now = Instant::now();
        let state = |endpoint: &Endpoint| EndpointState {
            endpoint: *endpoint,
            pending: Cell::new(0),
            idle: RefCell::default(),
            sessions: Sessions::default(),
        };
        let outliers = Outliers::new(params.ejection, health);
        shard.gauge_add(Gauge::Ejected, outliers.ejected() as u64);
        let policy = Policy {
            outliers,
            breaker: Breaker::new(params.maxima),
            budget: RetryBudget::new(params.retry_budget_percent, params.retry_min_per_second, now),
            candidates: Vec::new(),
        };
        Self {
            endpoints: endpoints.iter().map(state).collect(),
            policy: RefCell::new(policy),
            used_at: Cell::new(now),
            own,
            params,
            shard,
            parts,
            tls: None,
            told_at: Cell::new(None),
        }
    }

    pub(super) fn with_tls(mut self, tls: Option<Arc<ClientTls>>) -> Self {
        self.tls = tls;
        self
    }

    pub(super) fn health(&self, endpoint: Endpoint) -> Option<Health> {
        let index = self.endpoints.iter().position(|state| state.endpoint == endpoint)?;
        self.policy.borrow().outliers.health(index)
    }

    /// Whether endpoints are spoken to in TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.params.connect_timeout
    }

    pub(super) fn sessions(&self, index: usize) -> Option<&Sessions> {
        self.endpoints.get(index).map(|state| &state.sessions)
    }

    /// Whether what is sent to this cluster may come back to this process.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    pub(crate) fn endpoint(&self, index: usize) -> Option<Endpoint> {
        self.endpoints.get(index).map(|state| state.endpoint)
    }

    pub(crate) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Counts one request for the retry budget.
    pub(crate) fn note_request(&self, now: Instant) {
        self.used_at.set(now);
        self.policy.borrow_mut().budget.request(now);
    }

    /// Whether one more try may be made.
    pub(crate) fn try_retry(&self, now: Instant) -> bool {
        let granted = self.policy.borrow_mut().budget.try_retry(now);
        if !granted {
            self.shard.inc(Counter::RetryBudgetExhausted);
        }
        granted
    }

    /// A connection to one of the endpoints, or a place on one: what is there if it may be used, else a new one.
    pub(crate) async fn acquire(self: &Rc<Self>, how: Acquire) -> Result<Lease, ConnectFailure> {
        let index = self.choose(how.now, how.exclude).ok_or(ConnectFailure::Refused(Refused::Empty))?;
        self.hold(Limit::Requests)?;
        let permit = Permit::new(Rc::clone(self), index);
        let sessions = match how.speech {
            Speech::Opaque | Speech::Http1 => None,
            Speech::Http => self.sessions(index).filter(|sessions| !sessions.declines(how.now)),
            Speech::Http2 => self.sessions(index),
        };
        let Some(sessions) = sessions else { return self.acquire_connection(index, permit, how).await };
        if let Some(session) = sessions.usable() {
            self.shard.inc(Counter::UpstreamReused);
            return Ok(Lease::new(Wire::Session(session), permit, true));
        }
        Box::pin(self.acquire_stream(index, permit, how)).await
    }

    /// A connection that serves one request at a time.
    pub(super) async fn acquire_connection(
        &self,
        index: usize,
        permit: Permit,
        how: Acquire,
    ) -> Result<Lease, ConnectFailure> {
        let idle = (how.reuse != Reuse::Never).then(|| self.checkout(index, how.now, how.reuse)).flatten();
        if let Some(stream) = idle {
            self.shard.inc(Counter::UpstreamReused);
            return Ok(Lease::new(Wire::Transport(stream), permit.connected(), true));
        }
        let speech = if how.speech == Speech::Http { Speech::Http1 } else { how.speech };
        // Rare and large: it would be a part of every request.
        let dialing = Box::pin(self.dial(index, permit, (how.connect_timeout, speech)));
        let (transport, permit) = dialing.await?;
        Ok(Lease::new(Wire::Transport(transport), permit, false))
    }

    /// Makes a connection, which the permit counts from now on.
    pub(super) async fn dial(
        &self,
        index: usize,
        permit: Permit,
        (timeout, speech): (Duration, Speech),
    ) -> Result<(Transport, Permit), ConnectFailure> {
        let Some(endpoint) = self.endpoint(index) else {
            return Err(ConnectFailure::Refused(Refused::Empty));
        };
        // Idle connections to other endpoints must not keep requests from this one.
        let free = self.policy.borrow_mut().breaker.try_acquire(Limit::Connections).is_ok();
        if !free {
            self.close_one_idle();
            self.hold(Limit::Connections)?;
        }
        // From here on the permit gives the connection back, connected or not.
        let permit = permit.connected();
        self.shard.gauge_add(Gauge::UpstreamConnectionsActive, 1);
        self.hold(Limit::Pending)?;
        let pending = Pending(self);
        let connected = match &self.tls {
            None => spurline_net::connect(endpoint.addr, timeout).await.map(Transport::from),
            Some(tls) => spurline_net::connect_tls(endpoint.addr, timeout, tls, speech).await,
        };
        drop(pending);
        self.shard.inc(Counter::UpstreamConnects(match &connected {
            Ok(_) => ConnectResult::Ok,
            Err(ConnectError::Refused) => ConnectResult::Refused,
            Err(ConnectError::Timeout) => ConnectResult::Timeout,
            Err(ConnectError::Tls(_)) => ConnectResult::Tls,
            Err(_) => ConnectResult::Error,
        }));
        connected.map(|transport| (transport, permit)).map_err(|error| {
            self.tell(endpoint, &error);
            // That somebody could not wait says nothing about the endpoint.
            let is_impatient =
                matches!(error, ConnectError::Timeout) && timeout < self.params.connect_timeout;
            if !is_impatient {
                self.failed(index, Instant::now());
            }
            ConnectFailure::Endpoint(index, Rc::new(error))
        })
    }

    /// Says what is wrong with the TLS of an endpoint, but not with every request.
    fn tell(&self, endpoint: Endpoint, error: &ConnectError) {
        let ConnectError::Tls(error) = error else { return };
        let now = Instant::now();
        if self.told_at.get().is_none_or(|told| now.duration_since(told) >= TELL_INTERVAL) {
            self.told_at.set(Some(now));
            tracing::warn!(endpoint = %endpoint.addr, %error, "TLS with an upstream failed");
        }
    }

    fn choose(&self, now: Instant, exclude: Option<usize>) -> Option<usize> {
        if self.endpoints.len() == 1 {
            return Some(0);
        }
        let mut policy = self.policy.borrow_mut();
        let Policy { outliers, candidates, .. } = &mut *policy;
        let returned = outliers.refresh(now);
        self.shard.gauge_sub(Gauge::Ejected, returned as u64);
        if outliers.in_panic() {
            self.shard.inc(Counter::PanicMode);
        }
        candidates.clear();
        candidates.extend(self.endpoints.iter().enumerate().map(|(index, state)| Candidate {
            pending: state.pending.get(),
            available: outliers.available(index),
        }));
        balance::pick(candidates, fastrand::u64(..), exclude)
    }

    fn checkout(&self, index: usize, now: Instant, reuse: Reuse) -> Option<Transport> {
        let mut idle = self.endpoints.get(index)?.idle.borrow_mut();
        while let Some(Idle { mut stream, expires }) = idle.pop() {
            self.shard.gauge_sub(Gauge::UpstreamIdle, 1);
            // An unsolicited response must never meet the next request.
            let stale =
                expires <= now || !stream.is_quiet() || (reuse == Reuse::Verified && stream.peer_closed());
            if !stale {
                return Some(stream);
            }
            self.close();
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, index: usize, stream: Transport, now: Instant, hint: Option<Duration>) {
        let timeout = hint.map_or(self.params.idle_timeout, |hint| hint.min(self.params.idle_timeout));
        let Some(state) = self.endpoints.get(index) else { return self.close() };
        let mut idle = state.idle.borrow_mut();
        if idle.len() >= self.params.idle_max {
            self.shard.inc(Counter::LimitsReached(metrics::Limit::UpstreamIdle));
            return self.close();
        }
        self.shard.gauge_add(Gauge::UpstreamIdle, 1);
        idle.push(Idle { stream, expires: now + timeout });
    }

    /// Closes the idle connection that was used longest ago on the endpoint that has most of them, if there is any.
    fn close_one_idle(&self) {
        let most = self.endpoints.iter().max_by_key(|state| state.idle.borrow().len());
        let Some(mut idle) = most.map(|state| state.idle.borrow_mut()).filter(|idle| !idle.is_empty()) else {
            return;
        };
        drop(idle.remove(0));
        self.shard.gauge_sub(Gauge::UpstreamIdle, 1);
        self.close();
    }

    /// Counts a connection that is gone.
    pub(super) fn close(&self) {
        self.shard.gauge_sub(Gauge::UpstreamConnectionsActive, 1);
        self.release(Limit::Connections);
    }

    pub(super) fn begin(&self, index: usize) {
        if let Some(state) = self.endpoints.get(index) {
            state.pending.set(state.pending.get() + 1);
        }
    }

    pub(super) fn end(&self, index: usize) {
        if let Some(state) = self.endpoints.get(index) {
            state.pending.set(state.pending.get().saturating_sub(1));
        }
        self.release(Limit::Requests);
    }

    /// The endpoint answered.
    pub(crate) fn succeeded(&self, index: usize) {
        self.policy.borrow_mut().outliers.success(index);
    }

    /// The endpoint could not be reached, broke off before it answered, or answered that it cannot.
    pub(crate) fn failed(&self, index: usize, now: Instant) {
        if let Verdict::Ejected(duration) = self.policy.borrow_mut().outliers.failure(index, now) {
            self.shard.inc(Counter::Ejections);
            self.shard.gauge_add(Gauge::Ejected, 1);
            if let Some(endpoint) = self.endpoint(index) {
                tracing::warn!(endpoint = %endpoint.addr, seconds = duration.as_secs(), "Endpoint ejected");
            }
        }
    }

    /// Whether a connection of a client that holds `others` requests is to have no more; see [`Breaker::is_crowded`].
    pub(crate) fn is_crowded(&self, others: u32) -> bool {
        let is_crowded = self.policy.borrow().breaker.is_crowded(others);
        if is_crowded {
            self.shard.inc(Counter::BreakerOpen(metrics::Breaker::Requests));
        }
        is_crowded
    }

    pub(super) fn hold(&self, limit: Limit) -> Result<(), ConnectFailure> {
        self.policy.borrow_mut().breaker.try_acquire(limit).map_err(|tripped| {
            self.shard.inc(Counter::BreakerOpen(match tripped.limit {
                Limit::Connections => metrics::Breaker::Connections,
                Limit::Pending => metrics::Breaker::Pending,
                Limit::Requests => metrics::Breaker::Requests,
            }));
            ConnectFailure::Refused(Refused::Breaker(tripped))
        })
    }

    fn release(&self, limit: Limit) {
        self.policy.borrow_mut().breaker.release(limit);
    }

    pub(super) fn sweep(&self, now: Instant) {
        for state in &self.endpoints {
            state.sessions.forget_ended();
            let mut idle = state.idle.borrow_mut();
            let before = idle.len();
            idle.retain_mut(|idle| idle.expires > now && idle.stream.is_quiet());
            for _ in idle.len()..before {
                self.shard.gauge_sub(Gauge::UpstreamIdle, 1);
                self.close();
            }
        }
    }

    pub(super) fn is_unused(&self, now: Instant, period: Duration) -> bool {
        now.saturating_duration_since(self.used_at.get()) > period
            && self.endpoints.iter().all(|state| state.idle.borrow().is_empty() && state.sessions.is_empty())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let ejected = self.policy.borrow().outliers.ejected();
        self.shard.gauge_sub(Gauge::Ejected, ejected as u64);
    }
}

/// What kind of connection is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acquire {
    pub(crate) now: Instant,
    /// The endpoint of the try before: taken only when there is no other.
    pub(crate) exclude: Option<usize>,
    pub(crate) reuse: Reuse,
    pub(crate) connect_timeout: Duration,
    /// What is spoken on the connection.
    pub(crate) speech: Speech,
}

/// How far a connection from the pool is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The request can be sent again if the connection turns out to be closed.
    Replayable,
    /// It cannot, so the kernel is asked first whether the peer has closed.
    Verified,
    Never,
}

/// A place among the pending requests, given back when dropped.
pub(super) struct Pending<'a>(pub(super) &'a Cluster);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.release(Limit::Pending);
    }
}

#[cfg(test)]
mod tests {
    use spurline_telemetry::metrics::Registry;

    use super::*;
    use spurline_http::h2;

    use crate::upstream::policy::{breaker::Maxima, outlier::Ejection};
    use crate::{deadline::Deadlines, h2::Windows, params::Http2Params};

    const HOUR: Duration = Duration::from_secs(3600);
    const PARAMS: UpstreamParams = UpstreamParams {
        connect_timeout: HOUR,
        idle_timeout: HOUR,
        idle_max: 1,
        maxima: Maxima { connections: 1, pending: 1, requests: 1 },
        ejection: Ejection { failures: 1, base: Duration::from_secs(1), max_percent: 50, panic_percent: 0 },
        retries_max: 0,
        retry_budget_percent: 0,
        retry_min_per_second: 0,
    };

    fn cluster(health: Vec<Health>, shard: &Rc<Shard>) -> Cluster {
        let endpoints: Vec<_> = (1..=health.len())
            .map(|port| Endpoint { addr: format!("127.0.0.1:{port}").parse().unwrap() })
            .collect();
        let parts = SessionParts {
            params: Http2Params {
                is_on: true,
                server: h2::Settings::default(),
                client: h2::Settings::default(),
                ping_interval: None,
                ping_timeout: HOUR,
                settings_timeout: HOUR,
                window_bytes_max: 1024,
                windows_growth_bytes: 1024,
                flood_pause: Duration::ZERO,
            },
            idle_timeout: HOUR,
            heads: Rc::default(),
            windows: Rc::new(Windows::new(1024, 1024)),
            deadlines: Deadlines::new(),
        };
        Cluster::new(&endpoints, health, false, PARAMS, (Rc::clone(shard), Rc::new(parts)))
    }

    #[test]
    fn an_ejected_endpoint_is_counted_by_each_cluster_that_knows_it_until_it_is_dropped() {
        let (registry, mut shards) = Registry::new(1, "0");
        let shard = Rc::new(shards.remove(0));
        let ejected = || registry.gauge(Gauge::Ejected);
        let now = Instant::now();
        let first = cluster(vec![Health::default(); 2], &shard);
        first.failed(1, now);
        assert_eq!(ejected(), 1);
        let inherited = (0..2).filter_map(|index| first.health(first.endpoint(index)?));
        let second = cluster(inherited.chain([Health::default()]).collect(), &shard);
        assert_eq!(ejected(), 2);
        // A cluster that is not used any more does not notice the end of an ejection.
        assert!(second.choose(now + HOUR, None).is_some());
        assert_eq!(ejected(), 1);
        drop(first);
        assert_eq!(ejected(), 0);
        second.failed(0, now + HOUR);
        assert_eq!(ejected(), 1);
        drop(second);
        assert_eq!(ejected(), 0);
    }
}
