use std::fmt;

/// An error code of `RST_STREAM` and `GOAWAY` (RFC 9113 section 7). Codes that are not known are kept as they came, so
/// that they can be relayed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    pub const NO_ERROR: Self = Self(0x0);
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    pub const INTERNAL_ERROR: Self = Self(0x2);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    pub const STREAM_CLOSED: Self = Self(0x5);
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub const REFUSED_STREAM: Self = Self(0x7);
    pub const CANCEL: Self = Self(0x8);
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    pub const CONNECT_ERROR: Self = Self(0xa);
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a peer did that RFC 9113, or a budget of ours, does not let it do. Whether that ends a stream or the connection
/// is said by where it is reported: in [`Event::Reset`](super::Event::Reset) or as the error of
/// [`Connection::receive`](super::Connection::receive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    #[error("header block does not decompress")]
    Compression,
    #[error("extended CONNECT was not offered")]
    ConnectProtocol,
    /// Also data where the message has no body: responses to `HEAD`, 204 and 304.
    #[error("content length differs from the data")]
    ContentLength,
    #[error("too many {0}")]
    Flood(Flood),
    #[error("frame has a length that its type cannot have")]
    FrameSize,
    #[error("header block is interrupted, or continued where there is none")]
    HeaderBlock,
    #[error("initial window exceeds 2^31-1")]
    InitialWindow,
    #[error("interim response ends the stream or is one too many")]
    Interim,
    #[error("malformed message: {0}")]
    Message(crate::Error),
    #[error("data before the head of the message")]
    MissingHead,
    #[error("padding exceeds the frame")]
    Padding,
    #[error("connection does not start with the preface and SETTINGS")]
    Preface,
    #[error("server push is disabled")]
    Push,
    #[error("stream depends on itself")]
    SelfDependency,
    #[error("setting has a value out of its range")]
    Setting,
    #[error("frame on a stream that is closed")]
    StreamClosed,
    #[error("stream identifier is wrong for the frame")]
    StreamId,
    #[error("more streams at once than announced")]
    StreamLimit,
    #[error("trailers do not end the stream")]
    TrailersNotLast,
    #[error("more data than the window allows")]
    WindowExceeded,
    #[error("window is increased by 0")]
    WindowIncrement,
    #[error("window exceeds 2^31-1")]
    WindowOverflow,
}

impl Violation {
    /// The code that tells the peer (RFC 9113 section 7).
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Compression => ErrorCode::COMPRESSION_ERROR,
            Self::Flood(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            Self::InitialWindow | Self::WindowExceeded | Self::WindowOverflow => {
                ErrorCode::FLOW_CONTROL_ERROR
            }
            Self::StreamClosed => ErrorCode::STREAM_CLOSED,
            Self::StreamLimit => ErrorCode::REFUSED_STREAM,
            _ => ErrorCode::PROTOCOL_ERROR,
        }
    }
}

/// What a peer may do, but not this often: each is a budget of [`Settings`](super::Settings).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Flood {
    /// Answers that the peer makes us write and does not read (CVE-2019-9512, -9515).
    #[error("unread answers")]
    Answers,
    /// Frames of one header block (CVE-2024-27316).
    #[error("CONTINUATION frames")]
    Continuations,
    /// Frames that carry nothing (CVE-2019-9518).
    #[error("empty frames")]
    EmptyFrames,
    /// Stream errors that the peer provoked (CVE-2025-8671).
    #[error("provoked resets")]
    ForcedResets,
    /// Bytes of one header block, compressed or not.
    #[error("bytes in a header block")]
    HeaderBytes,
    /// `PRIORITY`, `GOAWAY`, frames of unknown types and frames on streams that are gone (CVE-2019-9513).
    #[error("frames without an effect")]
    Ignored,
    #[error("PING frames")]
    Pings,
    /// Streams that the peer opened and reset (CVE-2023-44487).
    #[error("resets")]
    Resets,
    #[error("SETTINGS frames")]
    Settings,
    #[error("WINDOW_UPDATE frames")]
    WindowUpdates,
}
