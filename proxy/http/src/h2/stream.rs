//! Streams: what is known of each while it lives, and a little of what is known of those that are gone.

use std::{fmt, time::Duration};

use crate::h2::flow::{ReceiveWindow, SendWindow};

mod closed;
mod table;

pub(super) use closed::{Closed, Closing};
pub(super) use table::Streams;

/// The number of a stream (RFC 9113 section 5.1.1): odd for those that a client opened, and there are no others here,
/// for nothing is pushed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u32);

impl StreamId {
    /// The connection itself.
    pub(super) const CONNECTION: Self = Self(0);
    pub(super) const MAX: Self = Self(0x7fff_ffff);

    pub fn get(self) -> u32 {
        self.0
    }

    pub(super) fn is_client(self) -> bool {
        self.0 % 2 == 1
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How far one direction of a stream has come. Both together are the states of RFC 9113 section 5.1: a stream is open
/// until one of them is done, and closed when both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The head is still to come; interim responses may precede it.
    Head,
    /// Data, then perhaps trailers.
    Body,
    /// `END_STREAM` was there.
    Done,
}

/// What becomes of data that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    ToCaller,
    /// The head was refused, so nobody is there to take the body.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) receiving: Progress,
    pub(super) sending: Progress,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// Bytes that were received and that the caller has not given back.
    pub(super) held: u32,
    /// Bytes of the body that are still to come, where that is known.
    pub(super) announced: Option<u64>,
    pub(super) delivery: Delivery,
    /// The request was a `HEAD`, so its response has no body whatever it announces.
    pub(super) is_head_request: bool,
    /// Interim responses received.
    pub(super) interims: u8,
    /// When it was opened.
    pub(super) opened: Duration,
    /// Since when the caller has wanted to send data without any being taken.
    pub(super) blocked: Option<Duration>,
    pub(super) turn: Turn,
}

/// The place of a stream among those that want to send data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has nothing to send that was not taken.
    None,
    /// Its own window is used up; an update makes it wait.
    WindowEmpty,
    /// It stands in the queue.
    Waiting,
    /// It was told to send. Holds in that round of the queue.
    Granted(u64),
}

impl Stream {
    pub(super) fn is_closed(&self) -> bool {
        self.receiving == Progress::Done && self.sending == Progress::Done
    }
}
