use std::time::Duration;

use crate::h2::{
    Settings, StreamId, Violation,
    budget::Budgets,
    flow::{ReceiveWindow, SendWindow, WINDOW_BYTES_INITIAL},
    frame::{self, HEADER_BYTES},
    hpack::{Decoder, Encoder},
    settings::PeerSettings,
    stream::{Closed, Streams, Turn},
};

mod close;
mod control;
mod data;
mod event;
mod headers;
mod queue;
mod receive;
mod send;

#[cfg(test)]
mod tests;

pub use event::{End, Event, GoAway, Gone, OpenError, ResetBy, Role, StreamStatus};

use headers::Block;
use queue::{QUANTUM_BYTES, QUANTUM_OUTPUT_BYTES, Queue};
use receive::Reading;

/// `WINDOW_UPDATE` frames that a stream, or a frame of data on it, lets the peer send: gRPC's C core sends nearly three for
/// every message, however short, Envoy's limit is 20.
const WINDOW_UPDATES_EARNED: u32 = 20;

/// One HTTP/2 connection (RFC 9113), as a state machine: bytes that arrived go into [`Connection::receive`], what is to be
/// written comes out of [`Connection::swap_output`], and requests and responses are sent with the calls in between.
///
/// The caller owns the socket, the buffers and the clock, and one task per stream. It does, whenever it can:
///
/// * read while [`Connection::wants_input`], `receive` until [`Event::NeedMore`], and hand what came to the streams;
/// * `swap_output`, but only once everything taken before is written, and write;
/// * after both, [`Connection::next_writable`] until there is none, and wake these streams.
///
/// No data is buffered here beyond the output, whose size is bounded: data that arrives is a range of the input, and of
/// data to be sent only as much is taken as windows, room and fairness allow. So flow control reaches from peer to peer.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    settings: Settings,
    peer: PeerSettings,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    closed: Closed,
    reading: Reading,
    /// The header block of which `CONTINUATION` frames are still to come.
    block: Option<Block>,
    receive_window: ReceiveWindow,
    send_window: SendWindow,
    output: Vec<u8>,
    /// Bytes of data that the caller is to put between those of the output.
    bytes_apart: usize,
    /// Bytes of the output that the peer made us write.
    answer_bytes: usize,
    queue: Queue,
    budgets: Budgets,
    /// Frames on streams that we reset which are excused: they may have been under way.
    late_excused: u32,
    /// The highest stream that the peer opened.
    last: StreamId,
    /// The stream that we open next.
    next: StreamId,
    /// Streams that were opened over the life of the connection.
    opened: u32,
    leaving: Leaving,
    /// The peer has sent `GOAWAY`.
    is_left: bool,
    is_acknowledged: bool,
    /// What our `PING` under way carries.
    ping: Option<u64>,
    /// The latest time that was passed in.
    now: Duration,
    failed: Option<Violation>,
}

/// How far we have left the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Not,
    /// The peer was told; streams that it opens until it knows are served.
    Announced,
    /// Streams above this one are ignored.
    Final(StreamId),
}

// === impl Connection ===

impl Connection {
    /// The preface, `SETTINGS` and the window of the connection are in the output.
    pub fn new(role: Role, settings: Settings) -> Self {
        let mut output = Vec::new();
        if role == Role::Client {
            output.extend_from_slice(frame::PREFACE);
        }
        settings.write(role, &mut output);
        let window_bytes = settings.connection_window_bytes.max(WINDOW_BYTES_INITIAL);
        if window_bytes > WINDOW_BYTES_INITIAL {
            let increment = window_bytes - WINDOW_BYTES_INITIAL;
            frame::write_window_update(StreamId::CONNECTION, increment, &mut output);
        }
        Self {
            role,
            settings,
            peer: PeerSettings::default(),
            decoder: Decoder::default(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            closed: Closed::default(),
            reading: match role {
                Role::Client => Reading::Settings,
                Role::Server => Reading::Preface,
            },
            block: None,
            receive_window: ReceiveWindow::new(window_bytes),
            send_window: SendWindow::new(WINDOW_BYTES_INITIAL),
            output,
            bytes_apart: 0,
            answer_bytes: 0,
            queue: Queue::default(),
            budgets: Budgets::new(&settings),
            late_excused: 0,
            last: StreamId::CONNECTION,
            next: StreamId(1),
            opened: 0,
            leaving: Leaving::Not,
            is_left: false,
            is_acknowledged: false,
            ping: None,
            now: Duration::ZERO,
            failed: None,
        }
    }

    /// Whether there is something to write.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes what is to be written, without what was sent [apart](Connection::send_data_apart): `written`, whose content
    /// goes, and the output change places, so neither allocates in the long run. To be called only when all that was taken
    /// before has been written, for only so is what waits bounded.
    pub fn swap_output(&mut self, written: &mut Vec<u8>) {
        written.clear();
        std::mem::swap(&mut self.output, written);
        self.bytes_apart = 0;
        self.answer_bytes = 0;
        self.queue.next_round();
    }

    /// The next stream that may send data of which [`Connection::send_data`] did not take all. Each that is returned has
    /// room for one frame set aside, so it is to be woken at once.
    pub fn next_writable(&mut self) -> Option<StreamId> {
        loop {
            let window = self.send_window.available().saturating_sub(self.queue.granted() * QUANTUM_BYTES);
            if window == 0 || self.room() == 0 {
                return None;
            }
            let id = self.queue.pop()?;
            let Some(stream) = self.streams.get_mut(id) else { continue };
            if stream.send_window.available() > 0 {
                stream.turn = Turn::Granted(self.queue.grant());
                return Some(id);
            }
            stream.turn = Turn::WindowEmpty;
        }
    }

    /// Whether more is to be read. Not while a peer that reads nothing has made heads and answers pile up to twice what data
    /// may fill: that is more than data alone can reach, so two peers that send to each other never both stop reading.
    pub fn wants_input(&self) -> bool {
        self.output_bytes() < 2 * self.output_bytes_max()
    }

    /// In the midst of a large frame of data: bytes up to its end, and the header of the next frame. Who reads just these next
    /// has data that stands alone.
    pub fn large_data_bytes(&self) -> Option<usize> {
        match self.reading {
            Reading::Data(part) if part.is_large => {
                Some(part.left as usize + part.padding as usize + HEADER_BYTES)
            }
            _ => None,
        }
    }

    /// Whether a head has begun and not ended: `CONTINUATION` frames are missing.
    pub fn is_amid_head(&self) -> bool {
        self.block.is_some()
    }

    /// Streams that are open (RFC 9113 section 5.1.2).
    pub fn open_streams(&self) -> u32 {
        self.streams.open()
    }

    /// Whether no stream is left, nor data of one.
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0
    }

    /// Whether no new streams are taken, by us or by the peer.
    pub fn is_going_away(&self) -> bool {
        self.is_left || self.leaving != Leaving::Not || self.failed.is_some()
    }

    /// Whether the peer has said that it takes, or opens, no more streams.
    pub fn is_left(&self) -> bool {
        self.is_left
    }

    /// Whether streams that the peer opens from now on are ignored.
    pub fn is_final(&self) -> bool {
        matches!(self.leaving, Leaving::Final(_))
    }

    /// Whether the peer has acknowledged our settings. One that does not for long is to be left with
    /// `SETTINGS_TIMEOUT` (RFC 9113 section 6.5.3).
    pub fn is_acknowledged(&self) -> bool {
        self.is_acknowledged
    }

    /// Whether the peer takes extended CONNECT (RFC 8441 section 3).
    pub fn peer_takes_connect_protocol(&self) -> bool {
        self.peer.connect_protocol
    }

    /// How the streams stand, in the order in which they were opened.
    pub fn statuses(&self) -> impl Iterator<Item = StreamStatus> {
        self.streams.iter().map(|stream| StreamStatus {
            id: stream.id,
            opened: stream.opened,
            blocked: stream.blocked,
        })
    }

    /// Bytes that wait to be written, here or with the caller.
    fn output_bytes(&self) -> usize {
        self.output.len() + self.bytes_apart
    }

    /// Bytes of data that fit into the output beside what is set aside; none if that is less than a frame.
    fn room(&self) -> usize {
        let used = self.output_bytes() + self.queue.granted() * QUANTUM_OUTPUT_BYTES;
        match self.output_bytes_max().saturating_sub(used) {
            0..QUANTUM_OUTPUT_BYTES => 0,
            room => room,
        }
    }

    /// With less than a frame nothing would ever be sent.
    fn output_bytes_max(&self) -> usize {
        self.settings.output_bytes_max.max(QUANTUM_OUTPUT_BYTES)
    }
}
