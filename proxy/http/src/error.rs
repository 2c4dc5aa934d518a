/// Whose fault a refused message is, as far as the codec can tell: it decides between a 4xx and a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message breaks the specification or one of our rules on top of it.
    Malformed,
    /// The message is larger than a limit.
    TooLarge,
    /// The message asks for something that this proxy does not do.
    Unsupported,
}

/// Why a message was refused. The connection it came on cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("authority is missing, repeated or not a valid host and port")]
    Authority,
    #[error("chunk is malformed")]
    Chunk,
    #[error("chunk extensions exceed the limit")]
    ChunkExtensions,
    #[error("connection option is malformed, too many, or nominates a field that must be forwarded")]
    ConnectionOption,
    #[error("CONNECT is not served")]
    Connect,
    #[error("content length is repeated or not a plain decimal number")]
    ContentLength,
    #[error("expectation is not 100-continue")]
    Expectation,
    #[error("field is malformed")]
    Field,
    #[error("framing is ambiguous: both a content length and a transfer coding")]
    Framing,
    #[error("head exceeds the limit")]
    HeadTooLarge,
    #[error("line does not end in CRLF")]
    LineEnd,
    #[error("method is malformed")]
    Method,
    #[error("method is not served")]
    MethodUnsupported,
    #[error("start line is malformed")]
    StartLine,
    #[error("status is not between 100 and 599")]
    Status,
    #[error("request target is malformed or has bytes outside RFC 3986")]
    Target,
    #[error("request target exceeds the limit")]
    TargetTooLarge,
    #[error("trailer section exceeds the limit")]
    TrailersTooLarge,
    #[error("transfer coding is not exactly one chunked")]
    TransferCoding,
    #[error("message ended before its body was complete")]
    Truncated,
    #[error("upgrade is malformed")]
    Upgrade,
    #[error("websocket version is not 13")]
    UpgradeVersion,
    #[error("HTTP version is not 1.0 or 1.1")]
    Version,
}

impl Error {
    pub fn fault(self) -> Fault {
        match self {
            Self::HeadTooLarge | Self::TargetTooLarge | Self::TrailersTooLarge | Self::ChunkExtensions => {
                Fault::TooLarge
            }
            Self::Connect
            | Self::MethodUnsupported
            | Self::Version
            | Self::Expectation
            | Self::UpgradeVersion => Fault::Unsupported,
            _ => Fault::Malformed,
        }
    }

    /// The status of the answer to a request that failed like this (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge | Self::TrailersTooLarge => 431,
            Self::ChunkExtensions => 413,
            Self::TargetTooLarge => 414,
            Self::Connect => 405,
            Self::MethodUnsupported => 501,
            Self::Version => 505,
            Self::Expectation => 417,
            Self::UpgradeVersion => 426,
            _ => 400,
        }
    }

    /// A short name for logs, metrics and the reason field of local replies. The set is closed.
    pub fn label(self) -> &'static str {
        match self {
            Self::Authority => "bad-authority",
            Self::Chunk => "bad-chunk",
            Self::ChunkExtensions => "chunk-extensions-too-large",
            Self::ConnectionOption => "bad-connection-option",
            Self::Connect => "connect-not-served",
            Self::ContentLength => "bad-content-length",
            Self::Expectation => "bad-expectation",
            Self::Field => "bad-field",
            Self::Framing => "ambiguous-framing",
            Self::HeadTooLarge => "head-too-large",
            Self::LineEnd => "bad-line-end",
            Self::Method => "bad-method",
            Self::MethodUnsupported => "method-not-served",
            Self::StartLine => "bad-start-line",
            Self::Status => "bad-status",
            Self::Target => "bad-target",
            Self::TargetTooLarge => "target-too-large",
            Self::TrailersTooLarge => "trailers-too-large",
            Self::TransferCoding => "bad-transfer-coding",
            Self::Truncated => "truncated",
            Self::Upgrade => "bad-upgrade",
            Self::UpgradeVersion => "bad-websocket-version",
            Self::Version => "bad-version",
        }
    }
}
