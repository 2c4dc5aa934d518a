//! What the request path needs of the settings, in the shape in which it needs it.

use std::time::Duration;

use spurline_http::{Limits, h2};

use crate::upstream::policy::{breaker::Maxima, outlier::Ejection};

/// See the settings of the same names. `None` is no limit.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    pub(crate) http: Limits,
    pub(crate) informational_max: u32,
    pub(crate) drain_body_bytes_max: u64,
    pub(crate) buffer_bytes: usize,
    /// Connections of one worker.
    pub(crate) connections_max: usize,
    pub(crate) http2: Http2Params,
    pub(crate) timeouts: Timeouts,
    pub(crate) upstream: UpstreamParams,
    pub(crate) drain_delay: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Http2Params {
    /// Whether it is spoken with clients.
    pub(crate) is_on: bool,
    /// For connections with clients.
    pub(crate) server: h2::Settings,
    /// For connections to upstreams.
    pub(crate) client: h2::Settings,
    /// The largest window of a stream.
    pub(crate) window_bytes_max: u32,
    /// By how much all windows of a worker may grow together.
    pub(crate) windows_growth_bytes: u32,
    /// How long a peer waits for the end of its connection after a flood.
    pub(crate) flood_pause: Duration,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) settings_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) detect: Duration,
    pub(crate) tls_handshake: Duration,
    pub(crate) head: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) body_idle: Option<Duration>,
    pub(crate) response_idle: Option<Duration>,
    pub(crate) client_fin: Duration,
    pub(crate) response: Option<Duration>,
    pub(crate) request: Option<Duration>,
    pub(crate) tunnel_idle: Option<Duration>,
    /// How long a tunnel to a fork goes on after the fork was removed.
    pub(crate) tunnel_grace: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamParams {
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// Idle connections of one endpoint.
    pub(crate) idle_max: usize,
    pub(crate) maxima: Maxima,
    pub(crate) ejection: Ejection,
    pub(crate) retries_max: u32,
    pub(crate) retry_budget_percent: u32,
    pub(crate) retry_min_per_second: u32,
}
