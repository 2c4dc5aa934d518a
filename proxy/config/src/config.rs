//! What the settings mean: validated, typed, grouped by who uses them.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use spurline_route::{CarrierConfig, Workload};

use crate::{Certificate, Listener, Sources, UpstreamProtocol};

/// All settings of one proxy. Fields are described by the setting of the same name in the reference page.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads; `None`: one per available CPU.
    pub workers: Option<NonZeroUsize>,
    /// Where redirected connections arrive.
    pub inbound: Option<Inbound>,
    /// Listeners with an address of their own; names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// How TLS is spoken with clients; always there when a listener terminates it.
    pub tls: Option<Tls>,
    /// How TLS is spoken with upstreams; always there when a listener does.
    pub upstream_tls: Option<UpstreamTls>,
    /// The admin listener; `None`: off.
    pub admin: Option<SocketAddr>,
    /// The routes file; `None`: everything goes to the baseline.
    pub routes: Option<PathBuf>,
    /// How often the routes file is looked at.
    pub routes_poll_interval: Duration,
    /// Where route tables come from instead of a file; never together with `routes`.
    pub control: Option<Control>,
    /// Where routing keys are read and written.
    pub carriers: CarrierConfig,
    /// Keys that verify signed routing keys.
    pub signed_keys: Option<SignedKeys>,
    /// Bounds on what peers send.
    pub limits: Limits,
    /// How HTTP/2 is spoken, and what it may cost.
    pub http2: Http2,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
    /// Pools, circuit breakers, retries, ejection.
    pub upstream: Upstream,
    /// Ending without losing requests.
    pub drain: Drain,
    /// Process log and access log.
    pub log: Log,
    /// Every setting's value as text and where it came from.
    pub sources: Sources,
}

/// The listener for redirected connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Where the redirection leads to.
    pub listen: SocketAddr,
    /// What runs in this pod; `None`: no request is steered, everything goes to the original destination.
    pub workload: Option<Workload>,
}

/// How TLS is spoken with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// See `tls_certificate`; at least one.
    pub certificates: Vec<Certificate>,
    /// See `tls_client_ca_file`.
    pub client_ca_file: Option<PathBuf>,
    /// See `tls_min_version`.
    pub min_version: TlsVersion,
    /// See `tls_handshake_timeout`.
    pub handshake_timeout: Duration,
}

/// How TLS is spoken with upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// See `upstream_tls_ca_file`.
    pub ca_file: PathBuf,
    /// See `upstream_tls_name`.
    pub name: Option<String>,
    /// See `upstream_tls_cert_file` and `upstream_tls_key_file`.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// See `tls_min_version`.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The control service, as a proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Tried in turn; at least one.
    pub servers: Vec<ControlServer>,
    /// See `control_ca_file`; always there when a server is [`ControlServer::Https`].
    pub ca_file: Option<PathBuf>,
    /// What this proxy shows of itself.
    pub identity: Option<ControlIdentity>,
    /// See `control_node`.
    pub node: Option<String>,
    /// See `control_snapshot`.
    pub snapshot: Option<PathBuf>,
    /// See `control_snapshot_age_max`.
    pub snapshot_age_max: Duration,
    /// See `control_ready_timeout`; `None`: no limit.
    pub ready_timeout: Option<Duration>,
}

/// Where one server of the control service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlServer {
    /// Without TLS, at `HOST:PORT`.
    Http(String),
    /// With TLS, at `HOST:PORT`.
    Https(String),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// Files with a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlIdentity {
    /// See `control_cert_file`.
    pub cert_file: PathBuf,
    /// See `control_key_file`.
    pub key_file: PathBuf,
}

/// Where the keys for signed routing keys stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedKeys {
    /// A YAML list of `{kid, hmac|ed25519}`. The only secrets of a proxy are in there, not in its settings.
    pub file: PathBuf,
    /// The audience a signed key must be for.
    pub audience: String,
}

/// Bounds on what peers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See `head_bytes_max`.
    pub head_bytes_max: usize,
    /// See `fields_max`.
    pub fields_max: usize,
    /// See `target_bytes_max`.
    pub target_bytes_max: usize,
    /// See `chunk_extension_bytes_max`.
    pub chunk_extension_bytes_max: usize,
    /// See `trailer_bytes_max`.
    pub trailer_bytes_max: usize,
    /// See `trailer_fields_max`.
    pub trailer_fields_max: usize,
    /// See `informational_max`.
    pub informational_max: usize,
    /// See `drain_body_bytes_max`.
    pub drain_body_bytes_max: usize,
    /// See `buffer_bytes`.
    pub buffer_bytes: usize,
    /// See `connections_max`; `None`: half of the descriptor limit.
    pub connections_max: Option<NonZeroUsize>,
    /// See `listen_backlog`.
    pub listen_backlog: u32,
}

/// How HTTP/2 is spoken, and what one connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// See `http2`.
    pub is_on: bool,
    /// See `http2_streams_max`.
    pub streams_max: u32,
    /// See `http2_upstream_streams_max`.
    pub upstream_streams_max: u32,
    /// See `http2_stream_window_bytes`; at most `connection_window_bytes`.
    pub stream_window_bytes: u32,
    /// See `http2_stream_window_bytes_max`; no limit on `stream_window_bytes`.
    pub stream_window_bytes_max: u32,
    /// See `http2_windows_growth_bytes`.
    pub windows_growth_bytes: u32,
    /// See `http2_connection_window_bytes`.
    pub connection_window_bytes: u32,
    /// See `http2_output_bytes_max`.
    pub output_bytes_max: usize,
    /// See `http2_answer_bytes_max`.
    pub answer_bytes_max: usize,
    /// See `http2_continuations_max`.
    pub continuations_max: u32,
    /// See `http2_resets_burst`.
    pub resets: Rate,
    /// See `http2_forced_resets_burst`.
    pub forced_resets: Rate,
    /// See `http2_empty_frames_burst`.
    pub empty_frames: Rate,
    /// See `http2_settings_frames_burst`.
    pub settings_frames: Rate,
    /// See `http2_pings_burst`.
    pub pings: Rate,
    /// See `http2_window_updates_burst`.
    pub window_updates: Rate,
    /// See `http2_ignored_frames_burst`.
    pub ignored_frames: Rate,
    /// See `http2_flood_pause`.
    pub flood_pause: Duration,
    /// See `http2_ping_interval`; `None`: never.
    pub ping_interval: Option<Duration>,
    /// See `http2_ping_timeout`.
    pub ping_timeout: Duration,
    /// See `http2_settings_timeout`.
    pub settings_timeout: Duration,
}

/// How often a peer may do something on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// In the long run.
    pub per_second: u32,
}

/// Bounds on waiting; `None`: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// See `detect_timeout`.
    pub detect: Duration,
    /// See `head_timeout`.
    pub head: Option<Duration>,
    /// See `idle_timeout`.
    pub idle: Option<Duration>,
    /// See `body_idle_timeout`.
    pub body_idle: Option<Duration>,
    /// See `response_idle_timeout`.
    pub response_idle: Option<Duration>,
    /// See `client_fin_timeout`.
    pub client_fin: Duration,
    /// See `connect_timeout`.
    pub connect: Duration,
    /// See `response_timeout`.
    pub response: Option<Duration>,
    /// See `request_timeout`.
    pub request: Option<Duration>,
    /// See `tunnel_idle_timeout`.
    pub tunnel_idle: Option<Duration>,
    /// See `tunnel_grace`.
    pub tunnel_grace: Duration,
    /// See `upstream_idle_timeout`.
    pub upstream_idle: Option<Duration>,
}

/// Pools, circuit breakers, retries, ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// See `upstream_protocol`; listeners have it of their own, redirected connections this one.
    pub protocol: UpstreamProtocol,
    /// See `upstream_idle_max`.
    pub idle_max: usize,
    /// See `upstream_connections_max`.
    pub connections_max: u32,
    /// See `upstream_pending_max`.
    pub pending_max: u32,
    /// See `upstream_requests_max`.
    pub requests_max: u32,
    /// See `retries_max`.
    pub retries_max: u32,
    /// See `retry_budget_percent`.
    pub retry_budget_percent: u32,
    /// See `retry_min_per_second`.
    pub retry_min_per_second: u32,
    /// See `ejection_failures`; `None`: endpoints are never ejected.
    pub ejection_failures: Option<u32>,
    /// See `ejection_time`.
    pub ejection_time: Duration,
    /// See `ejection_max_percent`.
    pub ejection_max_percent: u32,
    /// See `panic_threshold_percent`.
    pub panic_threshold_percent: u32,
}

/// Ending without losing requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// From the signal until the proxy asks its peers to leave.
    pub delay: Duration,
    /// From the signal until what is left is cut; longer than `delay`.
    pub timeout: Duration,
}

/// Process log and access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// See `log_level`.
    pub level: LogLevel,
    /// See `log_format`.
    pub format: LogFormat,
    /// See `access_log`.
    pub access: AccessLogTarget,
}

/// The least severe level that is logged at start; the admin server can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Broken promises.
    Error,
    /// What an operator could act on.
    Warn,
    /// Starts, stops, changes.
    Info,
    /// Every connection.
    Debug,
    /// Everything.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

// === impl LogLevel ===

impl LogLevel {
    /// The word for this level, as in `log_level`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

// === impl Config ===

impl Config {
    /// Every setting with its value and source as one JSON object, for `/config_dump`. Holds no secret, because no
    /// setting does: secrets stand in files that settings point to.
    #[must_use]
    pub fn dump(&self) -> String {
        // Strings and maps with string keys always serialise.
        serde_json::to_string_pretty(&self.sources).unwrap_or_default()
    }
}
