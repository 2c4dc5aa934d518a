//! What the caller sends (RFC 9113 sections 5.2, 6.1, 6.2 and 8.1).

use super::{Connection, End, Gone, OpenError, Role, WINDOW_UPDATES_EARNED, queue::QUANTUM_BYTES};
use crate::{
    Head,
    h2::{
        Scheme, StreamId,
        frame::{self, FrameHeader, HEADER_BYTES, Kind},
        hpack::Encoder,
        stream::{Progress, Turn},
    },
};

/// A window that is smaller, while there is more to send, cuts it to scraps.
const SCRAP_BYTES: usize = 128;

/// How much a stream may send.
struct Allowance {
    now: usize,
    /// As far as the windows go, whoever else wants to send.
    windows: usize,
}

impl Connection {
    /// Whether a stream can be opened now: what [`Connection::open`] would say, with nothing sent.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn can_open(&self) -> Result<(), OpenError> {
        if self.is_going_away() || self.role == Role::Server {
            return Err(OpenError::GoingAway);
        }
        if self.next > StreamId::MAX || self.opened >= self.settings.streams_total_max {
            return Err(OpenError::Exhausted);
        }
        // Those that have ended and are held in part still take their part of our window.
        let is_full = self.streams.len() >= self.settings.streams_max as usize;
        if is_full || self.streams.open() >= self.peer.streams_max {
            return Err(OpenError::TooManyStreams);
        }
        if self.output_bytes() >= self.output_bytes_max() {
            return Err(OpenError::OutputFull);
        }
        Ok(())
    }

    /// Opens a stream with a request whose hop-by-hop fields are gone. A client only.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was sent then.
    pub fn open(&mut self, head: &Head, scheme: Scheme, end: End) -> Result<StreamId, OpenError> {
        self.can_open()?;
        let id = self.next;
        self.next = StreamId(id.get() + 2);
        self.insert_stream(id, Progress::Head, Progress::Body);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.is_head_request = head.method().is("HEAD");
        }
        self.write_head(id, end, |encoder, output| encoder.encode_request(head, scheme, output));
        Ok(id)
    }

    /// Answers a request: any number of interim responses (1xx, with [`End::More`]), then the final one. A server only.
    ///
    /// # Errors
    /// [`Gone`], also after a final head.
    pub fn send_head(&mut self, id: StreamId, head: &Head, end: End) -> Result<(), Gone> {
        let stream =
            self.streams.get_mut(id).filter(|stream| stream.sending == Progress::Head).ok_or(Gone)?;
        if head.status() >= 200 {
            stream.sending = Progress::Body;
        }
        self.write_head(id, end, |encoder, output| encoder.encode_response(head, output));
        Ok(())
    }

    /// Sends data, as much as the windows of the peer, the room of the output and the other streams allow now, and
    /// returns how much of it was taken. The rest is to be given again when [`Connection::next_writable`] says so. The end is
    /// only sent once all data was taken; without data it always is.
    ///
    /// # Errors
    /// [`Gone`], also before the head and after the end.
    pub fn send_data(&mut self, id: StreamId, data: &[u8], end: End) -> Result<usize, Gone> {
        let allowance = self.allowance(id)?;
        if data.is_empty() {
            if end == End::Stream {
                self.write_data(id, data, end);
                self.earn(0, 0, 0);
            }
            return Ok(0);
        }
        let taken = data.len().min(allowance.now);
        self.take_turn(id);
        let sent = data.get(..taken).unwrap_or_default();
        self.write_data(id, sent, if taken == data.len() { end } else { End::More });
        if taken > 0 {
            self.earn(taken, allowance.windows, data.len() - taken);
        }
        self.wait_for_turn(id, data.len() - taken, taken);
        Ok(taken)
    }

    /// Sends data that stays with the caller: only the header of its frame is put into the output, behind as many bytes as
    /// are returned, and what is written behind these is to be the data. `None`: it is not to be sent now, or not all of it,
    /// or not in one frame; then nothing has been done, and [`Connection::send_data`] says what can be.
    ///
    /// # Errors
    /// As of `send_data`.
    pub fn send_data_apart(&mut self, id: StreamId, bytes: usize, end: End) -> Result<Option<usize>, Gone> {
        let allowance = self.allowance(id)?;
        if bytes == 0 || bytes > allowance.now.min(self.peer.payload_bytes_max) {
            return Ok(None);
        }
        self.take_turn(id);
        self.take_windows(id, bytes);
        let flags = if end == End::Stream { frame::END_STREAM } else { 0 };
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        FrameHeader { length, kind: Kind::Data, flags, stream: id }.write(&mut self.output);
        self.bytes_apart += bytes;
        self.earn(bytes, allowance.windows, 0);
        self.wait_for_turn(id, 0, bytes);
        let at = self.output.len();
        if end == End::Stream {
            self.end_sending(id);
        }
        Ok(Some(at))
    }

    fn allowance(&self, id: StreamId) -> Result<Allowance, Gone> {
        let stream = self.streams.get(id).filter(|stream| stream.sending == Progress::Body).ok_or(Gone)?;
        let granted = self.queue.granted();
        let (fair, others) = match stream.turn {
            Turn::Waiting => (0, granted),
            Turn::Granted(round) if self.queue.holds(round) => (QUANTUM_BYTES, granted - 1),
            _ if self.queue.is_empty() => (self.room(), granted),
            _ => (self.room().min(QUANTUM_BYTES), granted),
        };
        let shared = self.send_window.available();
        let windows = stream.send_window.available().min(shared);
        let now = windows.min(shared.saturating_sub(others * QUANTUM_BYTES)).min(fair);
        Ok(Allowance { now, windows })
    }

    /// What was set aside for a stream is used.
    fn take_turn(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id)
            && let Turn::Granted(round) = stream.turn
        {
            self.queue.release(round);
            stream.turn = Turn::None;
        }
    }

    /// Sends trailers, which end the stream, after all data.
    ///
    /// # Errors
    /// [`Gone`], also before the head and after the end.
    pub fn send_trailers(&mut self, id: StreamId, trailers: &Head) -> Result<(), Gone> {
        self.streams.get(id).filter(|stream| stream.sending == Progress::Body).ok_or(Gone)?;
        self.write_head(id, End::Stream, |encoder, output| encoder.encode_trailers(trailers, output));
        Ok(())
    }

    /// Asks the peer for a sign of life, which is [`Event::Pong`](super::Event::Pong). A second one takes the place of the
    /// first.
    pub fn ping(&mut self) {
        // Nobody but the peer sees it, and it may know how often it was asked.
        let ping = self.now.as_micros() as u64;
        self.ping = Some(ping);
        frame::write_control(Kind::Ping, 0, StreamId::CONNECTION, &ping.to_be_bytes(), &mut self.output);
    }

    /// Writes frames of data that the windows allow; an empty one only where it says the end.
    fn write_data(&mut self, id: StreamId, data: &[u8], end: End) {
        self.take_windows(id, data.len());
        let mut rest = data;
        while !rest.is_empty() || (data.is_empty() && end == End::Stream) {
            let (part, after) = rest.split_at_checked(self.peer.payload_bytes_max).unwrap_or((rest, &[]));
            rest = after;
            let flags = if rest.is_empty() && end == End::Stream { frame::END_STREAM } else { 0 };
            frame::write_control(Kind::Data, flags, id, part, &mut self.output);
            if data.is_empty() {
                break;
            }
        }
        if end == End::Stream {
            self.end_sending(id);
        }
    }

    fn take_windows(&mut self, id: StreamId, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send_window.take(bytes);
            self.send_window.take(bytes);
        }
    }

    /// Data that was sent lets the peer send frames of its own. It does not where a window cut it to scraps: the peer could go
    /// on opening windows of a byte for ever, and have us write a frame for each (CVE-2019-9511).
    fn earn(&mut self, sent: usize, allowed: usize, left: usize) {
        if left > 0 && sent == allowed && sent < SCRAP_BYTES {
            return;
        }
        let frames = u32::try_from(sent.div_ceil(self.peer.payload_bytes_max).max(1)).unwrap_or(1);
        self.budgets.pings.earn(frames);
        let updates = frames * WINDOW_UPDATES_EARNED + u32::try_from(sent / 256).unwrap_or(0);
        self.budgets.window_updates.earn(updates);
    }

    /// Notes what became of data of which `left` bytes were not taken.
    fn wait_for_turn(&mut self, id: StreamId, left: usize, taken: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if taken > 0 || left == 0 {
            stream.blocked = None;
        }
        if left == 0 {
            stream.turn = Turn::None;
            return;
        }
        stream.blocked.get_or_insert(self.now);
        if stream.turn == Turn::Waiting {
            return;
        }
        stream.turn = Turn::WindowEmpty;
        if stream.send_window.available() > 0 {
            stream.turn = Turn::Waiting;
            self.queue.push(id);
        }
    }

    /// Writes a header block in as many frames as it takes.
    fn write_head(&mut self, id: StreamId, end: End, encode: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let start = self.output.len();
        let end_flag = if end == End::Stream { frame::END_STREAM } else { 0 };
        let header =
            FrameHeader { length: 0, kind: Kind::Headers, flags: end_flag | frame::END_HEADERS, stream: id };
        header.write(&mut self.output);
        encode(&mut self.encoder, &mut self.output);
        let length = self.output.len() - start - HEADER_BYTES;
        if length <= self.peer.payload_bytes_max {
            frame::patch_length(&mut self.output, start, length);
        } else {
            self.split_block(start, id, end_flag);
        }
        self.budgets.pings.earn(1);
        if end == End::Stream {
            self.end_sending(id);
        }
    }

    /// Splits the one frame at `start`, which is too long, into `HEADERS` and `CONTINUATION`.
    fn split_block(&mut self, start: usize, id: StreamId, end_flag: u8) {
        let block = self.output.split_off(start + HEADER_BYTES);
        self.output.truncate(start);
        let mut chunks = block.chunks(self.peer.payload_bytes_max).peekable();
        let (mut kind, mut flags) = (Kind::Headers, end_flag);
        while let Some(chunk) = chunks.next() {
            if chunks.peek().is_none() {
                flags |= frame::END_HEADERS;
            }
            frame::write_control(kind, flags, id, chunk, &mut self.output);
            (kind, flags) = (Kind::Continuation, 0);
        }
    }
}
