use std::ops::Range;

use crate::h2::{ErrorCode, HeadMeta, StreamId, Violation};

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We open streams.
    Client,
    /// The peer opens them.
    Server,
}

/// Whether something is the last of its direction of a stream (`END_STREAM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More follows.
    More,
    /// Nothing follows.
    Stream,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The input holds no further event; more bytes are needed.
    NeedMore,
    /// Something that concerns nobody but the connection itself, or windows: streams may be
    /// [writable](super::Connection::next_writable) now.
    Nothing,
    /// A request, or the final response to one; it is in the `head` that was given.
    Head { id: StreamId, end: End, meta: HeadMeta },
    /// An interim response (1xx) to a request; it is in the `head` that was given.
    Interim { id: StreamId },
    /// Bytes of a body: this range of the input. They count against the windows until they are
    /// [`consumed`](super::Connection::consumed). Empty only where it says nothing but the end.
    Data { id: StreamId, range: Range<usize>, end: End },
    /// The trailers, which end the stream; they are in the `head` that was given.
    Trailers { id: StreamId },
    /// A request that breaks a limit but whose framing is sound. The stream is open: it is to be answered, the
    /// status being [`crate::Error::status`], or reset. There was no [`Event::Head`], and its body is dropped.
    Refused { id: StreamId, error: crate::Error },
    /// The stream is gone. It may be one that was never heard of, if its first head was malformed. A server that
    /// has sent a whole response may say `NO_ERROR`, which only means that the rest of the request is not wanted
    /// (RFC 9113 section 8.1).
    Reset { id: StreamId, code: ErrorCode, by: ResetBy },
    /// The peer takes no new streams. Those of ours above `last` are gone, with no further event; they were not
    /// processed and can be sent again elsewhere (RFC 9113 section 6.8).
    GoAway { last: StreamId, code: ErrorCode },
    /// The settings of the peer. It may take more streams now, or fewer.
    Settings,
    /// The peer has acknowledged our settings.
    Acknowledged,
    /// The answer to our [`ping`](super::Connection::ping).
    Pong,
}

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetBy {
    Peer,
    /// We did, for what the peer did.
    Us(Violation),
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAway {
    /// The peer is told to open no more streams; those that were under way when it hears of it are still served. That
    /// takes one round trip, after which [`GoAway::Now`] is done by itself.
    Graceful,
    /// Streams that are open stay; no other is taken.
    Now(ErrorCode),
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the connection takes no new streams")]
    GoingAway,
    #[error("the connection has had all the streams that it can have")]
    Exhausted,
    #[error("too much waits to be written")]
    OutputFull,
    #[error("as many streams are open as the peer, or our settings, let there be")]
    TooManyStreams,
}

/// The stream is not there, or what was to be sent on it has ended: it was reset, refused or left behind. There is
/// nothing to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is gone")]
pub struct Gone;

/// How a stream stands, for whoever ends those that take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    pub id: StreamId,
    /// When it was opened, on the clock that is passed in.
    pub opened: std::time::Duration,
    /// Since when data waits of which nothing was taken, because the peer opens no window or does not read.
    pub blocked: Option<std::time::Duration>,
}
