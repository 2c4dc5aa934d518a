/// Why a message was refused. An HTTP/1 connection it came on cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// A name such as `content_length`, which some servers read as the field that frames the message.
    #[error("field name reads as a framing field to some servers")]
    AmbiguousField,
    #[error("authority is missing, repeated or not a valid host and port")]
    Authority,
    #[error("body is said to be text of gRPC-web and is not base64")]
    Base64,
    #[error("chunk is malformed")]
    Chunk,
    #[error("chunk extensions exceed the limit")]
    ChunkExtensions,
    #[error("field belongs to an HTTP/1 connection and must not be in HTTP/2")]
    ConnectionField,
    #[error("connection option is malformed, too many, or nominates a field that must be forwarded")]
    ConnectionOption,
    #[error("content length is not a plain decimal number")]
    ContentLength,
    #[error("content length is repeated")]
    ContentLengthRepeated,
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
    #[error("method is not served")]
    Method,
    #[error("pseudo-field is missing, malformed, repeated, unknown or out of place")]
    PseudoField,
    #[error("scheme is not served on this connection")]
    Scheme,
    #[error("start line is malformed")]
    StartLine,
    #[error("status is not between 100 and 599")]
    Status,
    #[error("request target is malformed or has bytes outside RFC 3986")]
    Target,
    #[error("request target exceeds the limit")]
    TargetTooLarge,
    #[error("head has more fields than the limit")]
    TooManyFields,
    #[error("trailer section is malformed")]
    Trailer,
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
    /// The status of the answer to a request that failed like this (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Self::ChunkExtensions => 413,
            Self::Expectation => 417,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::Method => 405,
            Self::TargetTooLarge => 414,
            Self::UpgradeVersion => 426,
            Self::Version => 505,
            _ => 400,
        }
    }
}
