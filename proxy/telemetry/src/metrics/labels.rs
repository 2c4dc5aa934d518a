//! Label values: closed enums, one line per value. The text of a value is also what logs and response headers say.

/// Defines enums whose variants carry the text of a label value; the doc line of a value goes to the reference page.
macro_rules! labels {
    ($($(#[doc = $doc:literal])+ $name:ident { $(#[doc = $help:literal] $variant:ident = $text:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $help] $variant,)+ }

        impl $name {
            /// Every value, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            pub(crate) const VALUES: &'static [(&'static str, &'static str)] = &[$(($text, $help),)+];

            /// The text of this value in metrics, logs and headers.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    )+};
}

labels! {
    /// Which kind of listener took a connection.
    ListenerKind {
        /// the listener for redirected connections
        Inbound = "inbound",
        /// a listener declared with its own address
        Explicit = "explicit",
    }

    /// Why a connection was closed before anything was read from it.
    Refusal {
        /// `connections_max` was reached
        Limit = "limit",
        /// its baseline is this proxy itself
        Loop = "loop",
        /// the original destination could not be read, or is the proxy's own address
        OriginalDestination = "orig-dst",
    }

    /// What the first bytes of a connection turned out to be.
    Detected {
        /// an HTTP/1 request line
        Http1 = "http1",
        /// the HTTP/2 preface
        Http2 = "http2",
        /// a TLS ClientHello
        Tls = "tls",
        /// anything else, passed through
        Tcp = "tcp",
        /// nothing decisive within `detect_timeout`: joined to the baseline until either side speaks
        Timeout = "timeout",
        /// the peer closed before it sent enough
        Closed = "closed",
    }

    /// What became of TLS with a client.
    Handshake {
        /// done
        Full = "full",
        /// done, going on from an earlier session
        Resumed = "resumed",
        /// no certificate for its name, or unreadable: passed to the baseline, untouched
        Passed = "passed",
        /// no certificate for its name: refused
        UnrecognizedName = "unrecognized-name",
        /// the client's certificate is missing or does not verify
        Certificate = "certificate",
        /// no version, suite or protocol that both speak
        Incompatible = "incompatible",
        /// the client refused with an alert: perhaps it does not trust our certificate
        Refused = "refused",
        /// no TLS at all where nothing else is served
        NotTls = "not-tls",
        /// not a handshake, or one that breaks the rules
        Malformed = "malformed",
        /// not done within `tls_handshake_timeout`
        Timeout = "timeout",
        /// the client closed
        Closed = "closed",
    }

    /// What became of files that changed.
    FileUpdate {
        /// they are in use
        Applied = "applied",
        /// they cannot be used; what was in use before stays
        Rejected = "rejected",
    }

    /// Where one request went.
    SelectionLabel {
        /// the local app or the baseline
        Baseline = "baseline",
        /// a fork
        Override = "override",
        /// refused by selection
        Reject = "reject",
        /// answered by the proxy before a selection was made
        Local = "local",
    }

    /// The class of the final status that was sent downstream.
    StatusClass {
        /// 100–199, which includes 101 Switching Protocols
        Informational = "1xx",
        /// 200–299
        Success = "2xx",
        /// 300–399
        Redirection = "3xx",
        /// 400–499
        ClientError = "4xx",
        /// 500–599
        ServerError = "5xx",
        /// no final status was sent: the client left or the connection broke
        Aborted = "none",
    }

    /// The carrier in which a routing key was found.
    CarrierLabel {
        /// a configured custom header
        Header = "header",
        /// a member of `baggage`
        Baggage = "baggage",
        /// a member of `tracestate`
        Tracestate = "tracestate",
        /// an `ot-baggage-` header
        OtBaggage = "ot-baggage",
        /// a `uberctx-` header
        Uberctx = "uberctx",
        /// a `baggage-` header
        BaggageHeader = "baggage-header",
        /// a legacy member of `baggage`
        LegacyBaggage = "legacy-baggage",
        /// a legacy member of `tracestate`
        LegacyTracestate = "legacy-tracestate",
        /// an `ot-baggage-` header of a legacy member
        LegacyOtBaggage = "legacy-ot-baggage",
        /// a `uberctx-` header of a legacy member
        LegacyUberctx = "legacy-uberctx",
        /// a `baggage-` header of a legacy member
        LegacyBaggageHeader = "legacy-baggage-header",
        /// the host name, at a gateway
        Host = "host",
        /// a query parameter, at a gateway
        Query = "query",
        /// a cookie, at a gateway
        Cookie = "cookie",
        /// the fork's own key
        Own = "own",
        /// trace correlation
        Trace = "trace",
    }

    /// How an attempt to connect upstream ended.
    ConnectResult {
        /// connected
        Ok = "ok",
        /// refused by the peer
        Refused = "refused",
        /// no answer within `connect_timeout`
        Timeout = "timeout",
        /// connected, but the TLS handshake failed
        Tls = "tls",
        /// any other error: unreachable, out of descriptors
        Error = "error",
    }

    /// Why a request was sent again.
    RetryReason {
        /// the connection could not be made
        Connect = "connect",
        /// a pooled connection turned out to be closed
        Stale = "stale",
        /// the upstream reset an idempotent request before it answered
        Reset = "reset",
        /// the upstream said that it had not processed it: `REFUSED_STREAM` or `GOAWAY` (RFC 9113 §8.7)
        Refused = "refused",
    }

    /// Which circuit breaker was open.
    Breaker {
        /// `upstream_connections_max`
        Connections = "connections",
        /// `upstream_pending_max`
        Pending = "pending",
        /// `upstream_requests_max`
        Requests = "requests",
    }

    /// The named limit that was reached.
    Limit {
        /// `head_bytes_max`
        HeadBytes = "head-bytes",
        /// `fields_max`
        Fields = "fields",
        /// `target_bytes_max`
        TargetBytes = "target-bytes",
        /// `chunk_extension_bytes_max`
        ChunkExtensionBytes = "chunk-extension-bytes",
        /// `trailer_bytes_max` or `trailer_fields_max`
        TrailerBytes = "trailer-bytes",
        /// `informational_max`
        Informational = "informational",
        /// `drain_body_bytes_max`: a closed connection was not read on
        DrainBodyBytes = "drain-body-bytes",
        /// `connections_max`
        Connections = "connections",
        /// `upstream_idle_max`: an upstream connection was closed because enough idle ones are kept
        UpstreamIdle = "upstream-idle",
        /// the descriptor limit of the process: accepting paused
        Descriptors = "descriptors",
        /// resources that are kept of the control service: one more was rejected
        ControlResources = "control-resources",
    }

    /// On which side of this proxy an HTTP/2 connection is.
    Side {
        /// a client's
        Downstream = "downstream",
        /// one to an upstream
        Upstream = "upstream",
    }

    /// Who ended an HTTP/2 stream or connection.
    By {
        /// the peer
        Peer = "peer",
        /// this proxy
        Proxy = "proxy",
    }

    /// Which budget of an HTTP/2 connection its peer exceeded.
    Flood {
        /// `http2_answer_bytes_max`: answers that the peer provokes and does not read
        Answers = "answers",
        /// `http2_continuations_max`: CONTINUATION frames of one header block
        Continuations = "continuations",
        /// `http2_empty_frames_*`: frames that carry nothing
        EmptyFrames = "empty-frames",
        /// `http2_forced_resets_*`: streams that had to be reset for what the client did on them
        ForcedResets = "forced-resets",
        /// a header block that is far over `head_bytes_max`
        HeaderBytes = "header-bytes",
        /// `http2_ignored_frames_*`: frames without an effect
        Ignored = "ignored",
        /// `http2_pings_*`: PING frames
        Pings = "pings",
        /// `http2_resets_*`: streams that the client opened and reset
        Resets = "resets",
        /// `http2_settings_frames_*`: SETTINGS frames
        Settings = "settings",
        /// `http2_window_updates_*`: WINDOW_UPDATE frames
        WindowUpdates = "window-updates",
    }

    /// What a tunnel carries.
    TunnelKind {
        /// an upgraded HTTP/1 connection
        WebSocket = "websocket",
        /// a connection that is not HTTP
        Tcp = "tcp",
    }

    /// Direction of bytes, as seen from this proxy's peers.
    Direction {
        /// read from downstream
        DownstreamIn = "downstream-in",
        /// written to downstream
        DownstreamOut = "downstream-out",
        /// read from upstream
        UpstreamIn = "upstream-in",
        /// written to upstream
        UpstreamOut = "upstream-out",
    }

    /// What became of a new route table.
    TableUpdate {
        /// it is in force
        Applied = "applied",
        /// it was wrong; the last good one stays
        Rejected = "rejected",
    }

    /// Direction of bytes, as seen from this proxy, on a stream to the control service.
    ControlDirection {
        /// responses
        In = "in",
        /// requests, acknowledgements among them
        Out = "out",
    }

    /// How a stream to the control service ended.
    StreamEnd {
        /// no connection: refused, unreachable, no TLS, or no answer within 5 s
        Connect = "connect",
        /// connected, but not one response within 60 s
        Silent = "silent",
        /// the server ended it, as it does from time to time
        Closed = "closed",
        /// the server refused it, or the connection broke
        Error = "error",
        /// the server sent what the protocol does not allow, or did not read what was sent to it
        Violation = "violation",
    }

    /// What became of a resource that the control service sent.
    ResourceUpdate {
        /// it is in force
        Applied = "applied",
        /// it is gone
        Removed = "removed",
        /// it was wrong; what was known under its name stays
        Rejected = "rejected",
        /// it ended at the time it carried
        Expired = "expired",
    }

    /// What became of a snapshot on disk.
    SnapshotEvent {
        /// read at start and put in force
        Loaded = "loaded",
        /// there was none at start
        Missing = "missing",
        /// ignored at start: it could not be read, or is not what was written
        Corrupt = "corrupt",
        /// ignored at start: it is for other workloads
        OtherScope = "other-scope",
        /// ignored at start: older than `control_snapshot_age_max`
        TooOld = "too-old",
        /// written
        Saved = "saved",
        /// could not be written; the one before stays
        SaveFailed = "save-failed",
    }

    /// How a connection ended during a drain.
    Closing {
        /// after its last response
        Graceful = "graceful",
        /// cut at `drain_timeout`
        Forced = "forced",
    }

    /// Why the proxy answered a request itself. The same text stands in `x-spurline-reason` and in the access log.
    Reason {
        /// HTTP in the clear where TLS is required
        TlsRequired = "tls-required",
        /// the request line or a field line does not follow the grammar (RFC 9112 §3, §5)
        MalformedHead = "malformed-head",
        /// over HTTP/2 in TLS, an authority that none of the certificates covers (RFC 9110 §15.5.20)
        Misdirected = "misdirected",
        /// a request version other than 1.0 and 1.1 (RFC 9112 §2.3)
        UnsupportedVersion = "unsupported-version",
        /// a request target that is malformed or of the wrong form (RFC 9112 §3.2)
        MalformedTarget = "malformed-target",
        /// `Host` is missing, repeated, malformed or contradicts the target (RFC 9112 §3.2)
        MalformedHost = "malformed-host",
        /// an absolute target whose scheme is not served here (RFC 9110 §7.4)
        UnsupportedScheme = "unsupported-scheme",
        /// TRACE, CONNECT, PRI or another method that is not forwarded
        MethodNotAllowed = "method-not-allowed",
        /// `Content-Length` is malformed (RFC 9112 §6.2)
        MalformedLength = "malformed-length",
        /// more than one `Content-Length` (RFC 9112 §6.3)
        RepeatedLength = "repeated-length",
        /// `Content-Length` together with `Transfer-Encoding` (RFC 9112 §6.1)
        LengthAndChunked = "length-and-chunked",
        /// a transfer coding other than exactly one final `chunked` (RFC 9112 §6.1, §6.3)
        UnsupportedTransferCoding = "unsupported-transfer-coding",
        /// a name that other peers may read as a framing field, such as `content_length`
        AmbiguousField = "ambiguous-field",
        /// the chunked body does not follow the grammar (RFC 9112 §7.1)
        MalformedChunk = "malformed-chunk",
        /// a body of gRPC-web that is said to be text and is not base64
        MalformedText = "malformed-text",
        /// a trailer section that does not follow the grammar or the limits (RFC 9112 §7.1.2)
        MalformedTrailer = "malformed-trailer",
        /// `Connection` is malformed or nominates a protected field (RFC 9110 §7.6.1)
        ProtectedNominated = "protected-field-nominated",
        /// an expectation other than `100-continue` (RFC 9110 §10.1.1)
        ExpectationFailed = "expectation-failed",
        /// an upgrade that is malformed or not supported (RFC 9110 §7.8)
        UpgradeRefused = "upgrade-refused",
        /// the request passed through proxies of this kind too often, or would come back to this one
        LoopDetected = "loop-detected",
        /// the head is larger than `head_bytes_max`
        HeadTooLarge = "head-too-large",
        /// more fields than `fields_max`
        TooManyFields = "too-many-fields",
        /// the target is longer than `target_bytes_max`
        TargetTooLong = "target-too-long",
        /// chunk extensions are longer than `chunk_extension_bytes_max`
        ChunkExtensionsTooLong = "chunk-extensions-too-long",
        /// the head did not arrive within `head_timeout`
        HeadTimeout = "head-timeout",
        /// the body paused longer than `body_idle_timeout`
        BodyTimeout = "body-timeout",
        /// the body ended before its announced length
        BodyIncomplete = "body-incomplete",
        /// a strict request with a routing key that the route table does not know
        UnknownKey = "unknown-routing-key",
        /// the fork has no endpoint that can be used
        ForkUnavailable = "fork-unavailable",
        /// the fork does not serve this port
        PortNotMapped = "port-not-mapped",
        /// two carriers hold different routing keys and `on_conflict` is `reject`
        ConflictingKeys = "conflicting-routing-key",
        /// the baseline has no endpoint
        NoEndpoint = "no-endpoint",
        /// a circuit breaker is open
        Overflow = "overflow",
        /// the upstream refused the connection or cannot be reached
        ConnectFailed = "connect-failed",
        /// no upstream connection within `connect_timeout`
        ConnectTimeout = "connect-timeout",
        /// the TLS handshake with the upstream failed; the log says which certificate is wrong, and why
        UpstreamTls = "upstream-tls",
        /// no response head within `response_timeout`
        ResponseTimeout = "response-timeout",
        /// the request was not finished within `request_timeout`
        RequestTimeout = "request-timeout",
        /// the deadline that the request itself carries, `grpc-timeout`, passed
        GrpcTimeout = "grpc-timeout",
        /// the upstream refused the request unprocessed: `REFUSED_STREAM` or `GOAWAY` (RFC 9113 §8.7)
        UpstreamRefused = "upstream-refused",
        /// the upstream closed or reset the connection before a response head
        UpstreamReset = "upstream-reset",
        /// the upstream's response violates HTTP
        UpstreamMalformed = "upstream-malformed",
        /// the upstream's head, trailers or informational responses are over a limit
        UpstreamTooLarge = "upstream-too-large",
        /// the proxy broke a promise of its own
        Internal = "internal",
    }
}

impl StatusClass {
    /// The class of an HTTP status code; anything outside 100–599 counts as [`StatusClass::Aborted`].
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Aborted,
        }
    }
}
