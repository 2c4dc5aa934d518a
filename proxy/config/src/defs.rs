//! The table of settings. Flags, variables, file keys, help and the reference page all come from these rows.

use std::time::Duration;

use crate::{certificate, listener, value::Kind};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) id: Id,
    /// The name in the YAML file; flag and variable are derived from it.
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) kind: Kind,
    /// As it would be typed; empty for settings that are unset by default.
    pub(crate) default: &'static str,
    /// What it does, and what follows from changing it.
    pub(crate) help: &'static str,
}

/// Settings that belong together, in the order of the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What this command does; not for the file.
    Command,
    Process,
    Listeners,
    Tls,
    Routes,
    Control,
    Carriers,
    Limits,
    Http2,
    Timeouts,
    Upstream,
    Drain,
    Log,
}

impl Group {
    pub(crate) const ALL: [Self; 13] = [
        Self::Command,
        Self::Process,
        Self::Listeners,
        Self::Tls,
        Self::Routes,
        Self::Control,
        Self::Carriers,
        Self::Limits,
        Self::Http2,
        Self::Timeouts,
        Self::Upstream,
        Self::Drain,
        Self::Log,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Command => "Command",
            Self::Process => "Process",
            Self::Listeners => "Listeners",
            Self::Tls => "TLS",
            Self::Routes => "Routes",
            Self::Control => "Control service",
            Self::Carriers => "Routing keys",
            Self::Limits => "Limits",
            Self::Http2 => "HTTP/2",
            Self::Timeouts => "Timeouts",
            Self::Upstream => "Upstream",
            Self::Drain => "Drain",
            Self::Log => "Logs",
        }
    }
}

impl Setting {
    /// `--kebab-name` without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// `SPURLINE_UPPER_SNAKE`.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The key in the YAML file; `None` for settings that make sense only on the command line.
    pub(crate) fn file_key(&self) -> Option<&'static str> {
        match (self.group, self.kind) {
            (Group::Command, _) => None,
            (_, Kind::Maps { file_key, .. }) => Some(file_key),
            _ => Some(self.name),
        }
    }

    /// The key in the YAML file if the setting is a list of maps.
    pub(crate) fn map_key(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Maps { file_key, .. } => Some(file_key),
            _ => None,
        }
    }
}

/// What every variable of ours begins with.
pub(crate) const VARIABLE_PREFIX: &str = "SPURLINE_";

/// Defines the identifiers and the table in one place, so that neither can miss a row of the other.
macro_rules! settings {
    ($($group:ident { $($id:ident = $name:literal: $kind:expr, $default:literal, $help:literal;)+ })+) => {
        /// Names a row of [`SETTINGS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Id { $($($id,)+)+ }

        /// Every setting.
        pub(crate) static SETTINGS: &[Setting] = &[$($(Setting {
            id: Id::$id,
            name: $name,
            group: Group::$group,
            kind: $kind,
            default: $default,
            help: $help,
        },)+)+];
    };
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

const fn span(min_millis: u64, max: Duration) -> Kind {
    Kind::Span { min: ms(min_millis), max }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MINUTE: Duration = ms(60_000);
const HOUR: Duration = ms(3_600_000);
const DAY: Duration = ms(86_400_000);
const YEAR: Duration = ms(365 * 86_400_000);
const LISTENERS: Kind = Kind::Maps { file_key: "listeners", noun: "listener", form: listener::SYNTAX };
const CERTIFICATES: Kind =
    Kind::Maps { file_key: "tls_certificates", noun: "certificate", form: certificate::SYNTAX };
const PATH: Kind = Kind::Text("a path");
const TIMEOUT: Kind = Kind::Timeout { max: DAY };
const PERCENT: Kind = count(0, 100);
const BURST: Kind = count(1, 1_000_000);
const PER_SECOND: Kind = count(0, 1_000_000);

settings! {
    Command {
        Config = "config": PATH, "",
            "YAML file with settings. Flags and variables win over it.";
        Check = "check": Kind::Switch, "false",
            "Check all settings and end: status 0 when they are good, 64 with every mistake when not.";
    }
    Process {
        Workers = "workers": count(0, 1024), "0",
            "Worker threads, each with its own connections and pools; 0: one per available CPU. More than CPUs only adds switching.";
        AdminListen = "admin_listen": Kind::Text("ADDRESS:PORT in digits, or off"), "127.0.0.1:15000",
            "Address of health, readiness, metrics, dumps and drain. It has no authentication, so it stays on loopback unless admin_allow_remote is true.";
        AdminAllowRemote = "admin_allow_remote": Kind::Switch, "false",
            "Let admin_listen be an address that others reach. Whoever reaches it can drain this proxy and read its routes.";
    }
    Listeners {
        Listener = "listener": LISTENERS, "",
            "A listener with its own address; repeat the flag, separate several in the variable with ';', or list maps under `listeners` in the file. A higher source replaces the whole list. port defaults to that of listen; tls=terminate ends TLS here with the certificates of tls_certificate, and then with protocol=http or tcp nothing but TLS is served; tls_unmatched says what becomes of TLS for names without a certificate, pass (to the baseline, untouched) or refuse, and defaults to pass for a sidecar and refuse for a gateway; upstream_tls=on speaks TLS with the baseline and the forks, but wraps no TLS that passes through in another; upstream_protocol defaults to the setting of that name, and so does grpc_web=on, which needs role=gateway; without baseline the route table's endpoints of the workload are used; workload may be left out with protocol=tcp; trust defaults to all for a sidecar and none for a gateway.";
        InboundListen = "inbound_listen": Kind::Text("ADDRESS:PORT in digits"), "",
            "Address that redirected connections arrive at; their original destination decides where they go.";
        InboundWorkload = "inbound_workload": Kind::Text("namespace/Kind/name"), "",
            "The workload in this pod. Without it nothing that is redirected is steered.";
    }
    Tls {
        TlsCertificate = "tls_certificate": CERTIFICATES, "",
            "A certificate that listeners with tls=terminate show; repeat the flag, separate several in the variable with ';', or list maps under `tls_certificates` in the file. A higher source replaces the whole list. names defaults to the DNS names in the certificate; *.DOMAIN stands for one label more, * for every name and for clients that name none. Both files are PEM; the certificate is followed by its intermediates. Changed files are taken within a second or two, each certificate only together with its key; what cannot be used is logged and what is in use stays.";
        TlsClientCaFile = "tls_client_ca_file": PATH, "",
            "PEM file with authorities. With it, listeners with tls=terminate serve only clients that show a certificate of one of them. Followed like the certificates.";
        TlsMinVersion = "tls_min_version": Kind::Choice(&["1.2", "1.3"]), "1.2",
            "Lowest version of TLS that is spoken. Of 1.2 only suites with forward secrecy and authenticated encryption are, whatever this says.";
        TlsHandshakeTimeout = "tls_handshake_timeout": span(1, MINUTE), "10s",
            "How long a client may take from its first byte to the end of the handshake; then its connection is closed.";
        UpstreamTlsCaFile = "upstream_tls_ca_file": PATH, "",
            "PEM file with the authorities whose certificates upstreams of listeners with upstream_tls=on may show; required with it. The system's are not trusted. Followed like the certificates, as are the next two files.";
        UpstreamTlsName = "upstream_tls_name": Kind::Text("a DNS name"), "",
            "Name that the certificates of those upstreams must be for, and that is asked for in the handshake. Without it they must be for the address that is connected to.";
        UpstreamTlsCertFile = "upstream_tls_cert_file": PATH, "",
            "PEM file with the certificate that is shown to upstreams that ask for one, followed by its intermediates.";
        UpstreamTlsKeyFile = "upstream_tls_key_file": PATH, "",
            "PEM file with the key of upstream_tls_cert_file.";
    }
    Routes {
        Routes = "routes": PATH, "",
            "YAML file with workloads, sandboxes and overrides. Without it, and while it is missing, everything goes to the baseline. A wrong file changes nothing: the last good table stays.";
        RoutesPollInterval = "routes_poll_interval": span(10, HOUR), "250ms",
            "How often the routes file is looked at. A change is applied once it stayed the same for one interval.";
    }
    Control {
        Control = "control": Kind::List("http://HOST:PORT, https://HOST:PORT, unix:/PATH"), "",
            "Where the control service listens, instead of a routes file. Several are tried in turn. While none can be reached the last good table stays, and without one everything goes to the baseline.";
        ControlCaFile = "control_ca_file": PATH, "",
            "PEM file with the authorities whose certificates the control service may show. Required with https. Read anew for each connection, like the other two.";
        ControlCertFile = "control_cert_file": PATH, "",
            "PEM file with the certificate, and its chain, that this proxy shows to the control service.";
        ControlKeyFile = "control_key_file": PATH, "",
            "PEM file with the private key of control_cert_file.";
        ControlNode = "control_node": Kind::Text("up to 200 visible characters"), "",
            "Name under which the control service lists this proxy. Without it: the host's name and the number of the process.";
        ControlSnapshot = "control_snapshot": PATH, "",
            "File that keeps what the control service sent, so that a proxy that starts while it is away steers all the same. Its folder must exist and be writable; every proxy needs a file of its own.";
        ControlSnapshotAgeMax = "control_snapshot_age_max": span(1_000, YEAR), "24h",
            "A snapshot that was written longer ago than this is ignored at start.";
        ControlReadyTimeout = "control_ready_timeout": Kind::Timeout { max: HOUR }, "10s",
            "How long readiness waits for the first complete answer when there is no snapshot. Traffic is never held up: what comes before goes to the baseline.";
    }
    Carriers {
        RoutingHeaders = "routing_headers": Kind::List("header names"), "sd-routing-key",
            "Headers whose value is the bare routing key, read before all other carriers. The first carries the key alone when the baggage is full.";
        BaggageMember = "baggage_member": Kind::Text("a member name"), "sd-routing-key",
            "Member of baggage and tracestate, and suffix of ot-baggage-, uberctx- and baggage- headers, that holds the routing key.";
        LegacyMembers = "legacy_members": Kind::List("member names"), "sd-sandbox,sd-workspace",
            "Older member names that are read too, after baggage_member.";
        OnConflict = "on_conflict": Kind::Choice(&["first", "reject"]), "first",
            "When carriers hold different keys: the first in reading order wins, or the request is answered with 400.";
        GatewayKeyOrder = "gateway_key_order": Kind::List("host, query, cookie"), "host,query,cookie",
            "Carriers that listeners with role=gateway read after all others, in this order. Those not configured are skipped.";
        GatewayHostPattern = "gateway_host_pattern": Kind::Text("{key}.DOMAIN or {key}--*.DOMAIN"), "",
            "Host names that hold a routing key in their first label.";
        GatewayQuery = "gateway_query": Kind::Text("a parameter name"), "",
            "Query parameter that holds a routing key.";
        GatewayCookie = "gateway_cookie": Kind::Text("a cookie name"), "",
            "Cookie that holds a routing key.";
        SignedKeysFile = "signed_keys_file": PATH, "",
            "YAML list of {kid, hmac: base64} or {kid, ed25519: base64}: keys that verify signed routing keys on listeners with trust=signed.";
        SignedKeysAudience = "signed_keys_audience": Kind::Text("a name"), "",
            "The audience that signed routing keys must be for, usually the cluster. Required with signed_keys_file.";
    }
    Limits {
        HeadBytesMax = "head_bytes_max": size(KIB, MIB), "16KiB",
            "Largest head of a message. Requests over it are answered with 431, responses over it with 502.";
        FieldsMax = "fields_max": count(1, 256), "100",
            "Most field lines in a head. Requests over it are answered with 431, responses over it with 502.";
        TargetBytesMax = "target_bytes_max": size(64, MIB), "8KiB",
            "Longest request target. Longer ones are answered with 414.";
        ChunkExtensionBytesMax = "chunk_extension_bytes_max": size(0, MIB), "1KiB",
            "Chunk extensions in one body, which are never forwarded. Bodies over it are cut off.";
        TrailerBytesMax = "trailer_bytes_max": size(64, MIB), "8KiB",
            "Largest trailer section. Messages over it are cut off.";
        TrailerFieldsMax = "trailer_fields_max": count(0, 256), "32",
            "Most field lines in a trailer section. Messages over it are cut off.";
        InformationalMax = "informational_max": count(1, 1000), "16",
            "Most 1xx responses before the final one. An upstream that sends more is answered for with 502.";
        DrainBodyBytesMax = "drain_body_bytes_max": size(0, 64 * MIB), "64KiB",
            "Most bytes that are read and thrown away of a client that still sends when its connection is closed, so that it gets the last response instead of a reset.";
        BufferBytes = "buffer_bytes": size(4 * KIB, MIB), "16KiB",
            "Size of a relay buffer, held only while bytes are in flight; a body that fills one is read in buffers four times as large, for as long as it fills this much. Larger saves system calls on large bodies and costs memory per busy connection.";
        ConnectionsMax = "connections_max": count(0, 10_000_000), "0",
            "Most downstream connections; 0: half of the descriptor limit, less what the process needs itself. One over it takes the place of the connection that has been idle longest, or is closed at once when none is.";
        ListenBacklog = "listen_backlog": count(1, 65_535), "1024",
            "Connections that the kernel holds for a listener until a worker accepts them; it caps this at net.core.somaxconn.";
    }
    Http2 {
        Http2 = "http2": Kind::Switch, "true",
            "Speak HTTP/2 with clients, by prior knowledge in the clear and by ALPN in TLS. Without it, it passes listeners with protocol=detect to the baseline unread, and the others refuse it. What is spoken with upstreams is the affair of upstream_protocol.";
        Http2StreamsMax = "http2_streams_max": count(1, 10_000), "100",
            "Streams that a client may have open at once on one connection. It is announced; streams over it are refused.";
        Http2UpstreamStreamsMax = "http2_upstream_streams_max": count(1, 10_000), "100",
            "Streams that are opened at once on one upstream connection, even if the upstream allows more; further requests get a connection of their own. Fewer spread the load over more connections, and over the workers behind them.";
        Http2StreamWindowBytes = "http2_stream_window_bytes": size(KIB, 16 * MIB), "16KiB",
            "Bytes that a peer may send at first on one stream before they are passed on; so many may have to be kept when the other side takes nothing.";
        Http2StreamWindowBytesMax = "http2_stream_window_bytes_max": size(KIB, 16 * MIB), "256KiB",
            "What that grows to on a stream whose bytes are taken. Larger is faster over long distances.";
        Http2WindowsGrowthBytes = "http2_windows_growth_bytes": size(0, 1024 * MIB), "16MiB",
            "By how much all streams of a worker may be above http2_stream_window_bytes together.";
        Http2ConnectionWindowBytes = "http2_connection_window_bytes": size(64 * KIB, 256 * MIB), "1MiB",
            "The same over all streams of a connection of a client. An upstream connection, which many clients share, has room for all its streams.";
        Http2OutputBytesMax = "http2_output_bytes_max": size(16 * KIB, 16 * MIB), "65572",
            "Bytes that may wait for one connection to take them before its streams are no longer read from; four full frames by default.";
        Http2AnswerBytesMax = "http2_answer_bytes_max": size(KIB, MIB), "16KiB",
            "Bytes of acknowledgements and resets that a peer may provoke without reading them; then its connection is ended.";
        Http2ContinuationsMax = "http2_continuations_max": count(0, 1000), "8",
            "CONTINUATION frames of one header block, or as many as a head of head_bytes_max fills if those are more; then the connection is ended.";
        Http2ResetsBurst = "http2_resets_burst": BURST, "500",
            "Streams reset by the client within a second that one connection may have at once (rapid reset, CVE-2023-44487); one more ends it. Each that ends in order lets it reset another.";
        Http2ResetsPerSecond = "http2_resets_per_second": PER_SECOND, "100",
            "How many of http2_resets_burst come back each second.";
        Http2ForcedResetsBurst = "http2_forced_resets_burst": BURST, "200",
            "Streams that must be reset for what the client did on them that one connection may have at once (CVE-2025-8671); one more ends it.";
        Http2ForcedResetsPerSecond = "http2_forced_resets_per_second": PER_SECOND, "20",
            "How many of http2_forced_resets_burst come back each second.";
        Http2EmptyFramesBurst = "http2_empty_frames_burst": BURST, "100",
            "Frames of data without data that one connection may have at once (CVE-2019-9518); one more ends it.";
        Http2EmptyFramesPerSecond = "http2_empty_frames_per_second": PER_SECOND, "10",
            "How many of http2_empty_frames_burst come back each second.";
        Http2SettingsFramesBurst = "http2_settings_frames_burst": BURST, "20",
            "SETTINGS frames that one connection may have at once (CVE-2019-9515); one more ends it.";
        Http2SettingsFramesPerSecond = "http2_settings_frames_per_second": PER_SECOND, "10",
            "How many of http2_settings_frames_burst come back each second.";
        Http2PingsBurst = "http2_pings_burst": BURST, "100",
            "PING frames that one connection may have at once (CVE-2019-9512). Every stream, head and frame of data that is sent gives one back; one more ends it.";
        Http2PingsPerSecond = "http2_pings_per_second": PER_SECOND, "10",
            "How many of http2_pings_burst come back each second.";
        Http2WindowUpdatesBurst = "http2_window_updates_burst": BURST, "1000",
            "WINDOW_UPDATE frames that one connection may have at once. Frames of data that are sent give some back; one more ends it.";
        Http2WindowUpdatesPerSecond = "http2_window_updates_per_second": PER_SECOND, "100",
            "How many of http2_window_updates_burst come back each second.";
        Http2IgnoredFramesBurst = "http2_ignored_frames_burst": BURST, "400",
            "Frames without an effect, such as PRIORITY (CVE-2019-9513), that one connection may have at once. Every stream that is opened gives two back; one more ends it.";
        Http2IgnoredFramesPerSecond = "http2_ignored_frames_per_second": PER_SECOND, "50",
            "How many of http2_ignored_frames_burst come back each second.";
        Http2FloodPause = "http2_flood_pause": span(0, MINUTE), "1s",
            "How long a client that has used up one of these budgets is not read from before it is told so and its connection is closed, and up to half as long again. Who floods comes back at once.";
        Http2PingInterval = "http2_ping_interval": TIMEOUT, "0",
            "An upstream connection with open streams that has been silent this long is asked for a sign of life; 0: never. Servers of gRPC end connections that ask more often than every five minutes.";
        Http2PingTimeout = "http2_ping_timeout": span(1, MINUTE), "10s",
            "How long that sign of life may take; then the connection is closed and its requests fail.";
        Http2SettingsTimeout = "http2_settings_timeout": span(1, MINUTE), "10s",
            "How long a peer may take to acknowledge our settings; then its connection is closed.";
    }
    Timeouts {
        DetectTimeout = "detect_timeout": span(1, MINUTE), "1s",
            "How long the first bytes of a connection may leave open what it speaks. Then it is joined to the baseline, and whoever speaks first decides: a client that speaks HTTP is still steered. Protocols in which the server speaks first wait this long: declare those as tcp.";
        HeadTimeout = "head_timeout": TIMEOUT, "10s",
            "From the first byte of a request head to its last; then 408.";
        IdleTimeout = "idle_timeout": TIMEOUT, "60s",
            "How long a downstream connection is kept without a request.";
        BodyIdleTimeout = "body_idle_timeout": TIMEOUT, "30s",
            "How long a request body may pause, and how long a peer may take no bytes.";
        ResponseIdleTimeout = "response_idle_timeout": TIMEOUT, "5m",
            "How long a response body may pause; then it is cut off. Event streams that are silent for longer need more.";
        ClientFinTimeout = "client_fin_timeout": span(1, MINUTE), "1s",
            "How long a client that has ended its side still waits for its response before it counts as gone, and how long a connection that we close is read on so that the client gets the last response instead of a reset.";
        ConnectTimeout = "connect_timeout": span(1, MINUTE), "1s",
            "How long one attempt to connect upstream may take, with TLS to the end of the handshake.";
        ResponseTimeout = "response_timeout": TIMEOUT, "60s",
            "From the end of a request to the head of its response, for each try; then 504. Long polls need more.";
        RequestTimeout = "request_timeout": TIMEOUT, "0",
            "From a request's head to the end of its response, all tries together; then 504 or a cut-off body. Streams end by it too.";
        TunnelIdleTimeout = "tunnel_idle_timeout": TIMEOUT, "1h",
            "How long a tunnel may stay silent in both directions.";
        TunnelGrace = "tunnel_grace": span(1, DAY), "10s",
            "How long a tunnel to a fork goes on after the override that led to the fork was removed.";
        UpstreamIdleTimeout = "upstream_idle_timeout": TIMEOUT, "30s",
            "How long an upstream connection is kept without a request. Keep it below what the app allows, or requests meet closed connections and cost a retry.";
    }
    Upstream {
        UpstreamProtocol = "upstream_protocol": Kind::Choice(&["auto", "http1", "http2"]), "auto",
            "Version of HTTP that is spoken with upstreams, unless a listener says otherwise. auto: that of the client, and in TLS whichever the upstream agrees to. An app that knows only HTTP/1 and has clients that speak HTTP/2 needs http1. In the clear http2 is spoken by prior knowledge, never by an upgrade.";
        GrpcWeb = "grpc_web": Kind::Switch, "false",
            "Translate the gRPC-web of browsers to gRPC, on listeners with role=gateway that do not say otherwise.";
        UpstreamIdleMax = "upstream_idle_max": count(0, 100_000), "128",
            "Idle connections kept for each endpoint and worker; 0: none.";
        UpstreamConnectionsMax = "upstream_connections_max": count(1, 10_000_000), "10000",
            "Connections to one destination, over all its endpoints, for each worker. Requests that would need one more are answered with 503.";
        UpstreamPendingMax = "upstream_pending_max": count(1, 10_000_000), "1024",
            "Requests that wait for a connection to one destination, for each worker. More are answered with 503.";
        UpstreamRequestsMax = "upstream_requests_max": count(1, 10_000_000), "1024",
            "Requests in flight to one destination, for each worker. More are answered with 503.";
        RetriesMax = "retries_max": count(0, 10), "2",
            "Most further tries of one request, made only where nothing can have been done twice; 0: none. Replacing a kept connection that turned out to be closed is not a retry in this sense.";
        RetryBudgetPercent = "retry_budget_percent": PERCENT, "20",
            "Retries as a share of recent requests. It keeps a failing destination from getting more load than a healthy one.";
        RetryMinPerSecond = "retry_min_per_second": count(0, 100_000), "10",
            "Retries that are allowed each second whatever the budget says, for destinations with little traffic.";
        EjectionFailures = "ejection_failures": count(0, 1000), "5",
            "Consecutive failures that take an endpoint out of rotation; 0: never.";
        EjectionTime = "ejection_time": span(1, DAY), "30s",
            "How long an endpoint stays out, times the number of times it was ejected.";
        EjectionMaxPercent = "ejection_max_percent": PERCENT, "50",
            "Most endpoints of one destination that may be out at once. The last one is never ejected.";
        PanicThresholdPercent = "panic_threshold_percent": PERCENT, "50",
            "When fewer endpoints than this are in rotation, all are used again: a whole destination failing is no reason to send all its load to one survivor. 0: never.";
    }
    Drain {
        DrainDelay = "drain_delay": Kind::Timeout { max: HOUR }, "5s",
            "How long connections are still accepted after the drain began, for clients learn late that this proxy is going. Responses announce the end of their connection from the start.";
        DrainTimeout = "drain_timeout": span(1, DAY), "25s",
            "After SIGTERM, when to cut what is still in flight; counted from the signal, so it must be longer than drain_delay and shorter than the grace period of the pod.";
    }
    Log {
        LogLevel = "log_level": Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]), "info",
            "Least severe level of the process log. The admin server can change it while running.";
        LogFormat = "log_format": Kind::Choice(&["text", "json"]), "text",
            "Shape of the process log, which goes to stderr.";
        AccessLog = "access_log": Kind::Text("off, stdout, stderr or a path"), "off",
            "Where one JSON line per request goes. Lines that would make a request wait are dropped and counted.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_good_value() {
        for setting in SETTINGS {
            assert!(setting.kind.parse(setting.default).is_ok(), "{}", setting.name);
        }
    }

    #[test]
    fn a_row_stands_where_its_identifier_says() {
        for (at, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.id as usize, at, "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_descriptions_are_sentences() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        for setting in SETTINGS {
            assert!(setting.help.ends_with('.'), "{}", setting.name);
            assert!(
                setting.name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')),
                "{}",
                setting.name
            );
        }
    }
}
