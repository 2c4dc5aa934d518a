//! What both sides of a connection have in common: frames in and out, header blocks, windows.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::objection;
use crate::client::End;
use crate::eventually::DEADLINE;
use crate::wire::frame::{self, Frame, PAYLOAD_BYTES_MAX};
use crate::wire::hpack::{self, Pair};

const WINDOW_BYTES: i64 = 65_535;

/// What a peer does without being told.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Acknowledge `SETTINGS`.
    pub settings: bool,
    /// Answer `PING`.
    pub pings: bool,
    /// Give back what came of the windows.
    pub windows: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { settings: true, pings: true, windows: true }
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Event {
    Head { stream: u32, fields: Vec<Pair>, end: bool },
    Data { stream: u32, bytes: Vec<u8>, end: bool },
    Reset { stream: u32, code: u32 },
    GoAway { last: u32, code: u32 },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping { data: Vec<u8>, ack: bool },
    Other,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) manners: Manners,
    buffer: Vec<u8>,
    decoder: hpack::Decoder,
    /// A header block that has begun: its stream, whether it ends it, and what came.
    block: Option<(u32, bool, Vec<u8>)>,
    /// What we may send, on the connection and of each stream beyond `initial`.
    window: i64,
    windows: HashMap<u32, i64>,
    initial: i64,
    /// What the peer may send, likewise.
    granted: i64,
    granted_streams: HashMap<u32, i64>,
    granted_initial: i64,
    pub(super) violations: Vec<String>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, manners: Manners, settings: &[(u16, u32)]) -> Self {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(DEADLINE));
        let _ = stream.set_write_timeout(Some(DEADLINE));
        let own = settings.iter().find(|(name, _)| *name == frame::INITIAL_WINDOW_SIZE);
        Self {
            stream,
            manners,
            buffer: Vec::new(),
            decoder: hpack::Decoder::default(),
            block: None,
            window: WINDOW_BYTES,
            windows: HashMap::new(),
            initial: WINDOW_BYTES,
            granted: WINDOW_BYTES,
            granted_streams: HashMap::new(),
            granted_initial: own.map_or(WINDOW_BYTES, |(_, value)| i64::from(*value)),
            violations: Vec::new(),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits no longer than this for something to come.
    pub(super) fn patience(&self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("set a read timeout");
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(super) fn send(&mut self, frame: &Frame) -> std::io::Result<()> {
        if frame.kind == frame::WINDOW_UPDATE {
            let increment = i64::from(frame::u32_of(&frame.payload));
            match frame.stream {
                0 => self.granted += increment,
                stream => *self.granted_streams.entry(stream).or_default() += increment,
            }
        }
        self.write(&frame.bytes())
    }

    pub(super) fn send_head(&mut self, stream: u32, fields: &[Pair], end: bool) -> std::io::Result<()> {
        let flags = if end { frame::END_STREAM } else { 0 };
        let frames = frame::headers(stream, &hpack::encode(fields), flags);
        self.write(&frames.iter().flat_map(Frame::bytes).collect::<Vec<_>>())
    }

    /// How much a stream may carry at this moment.
    pub(super) fn room(&self, stream: u32) -> usize {
        let own = self.initial + self.windows.get(&stream).copied().unwrap_or(0);
        usize::try_from(self.window.min(own)).unwrap_or(0)
    }

    /// Sends what the windows have room for, and returns how much that was. The last of it ends the stream if told to.
    pub(super) fn send_data(&mut self, stream: u32, bytes: &[u8], end: bool) -> std::io::Result<usize> {
        let size = bytes.len().min(self.room(stream));
        let last = end && size == bytes.len();
        let pieces: Vec<&[u8]> =
            if bytes.is_empty() { vec![bytes] } else { bytes[..size].chunks(PAYLOAD_BYTES_MAX).collect() };
        for (at, piece) in pieces.iter().enumerate() {
            let flags = if last && at + 1 == pieces.len() { frame::END_STREAM } else { 0 };
            self.write(&frame::data(stream, piece, flags).bytes())?;
        }
        self.charge(stream, size);
        Ok(size)
    }

    /// Counts what was sent past [`Connection::send_data`].
    pub(super) fn charge(&mut self, stream: u32, size: usize) {
        let size = i64::try_from(size).expect("a size");
        self.window -= size;
        *self.windows.entry(stream).or_default() -= size;
    }

    /// The next thing that came. `End::Timeout` when it did not come in time.
    pub(super) fn next(&mut self) -> Result<Event, End> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer) {
                return Ok(self.take_in(frame));
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Fin),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Timeout);
                }
                Err(_) => return Err(End::Reset),
            }
        }
    }

    /// Reads the preface of a client.
    pub(super) fn read_preface(&mut self) -> Result<(), End> {
        let mut preface = [0; frame::PREFACE.len()];
        self.stream.read_exact(&mut preface).map_err(|_| End::Fin)?;
        if preface != frame::PREFACE {
            self.object(format!("no preface: {:?}", String::from_utf8_lossy(&preface)));
            return Err(End::Reset);
        }
        Ok(())
    }

    pub(super) fn object(&mut self, why: String) {
        self.violations.push(why);
    }

    fn take_in(&mut self, frame: Frame) -> Event {
        if frame.payload.len() > PAYLOAD_BYTES_MAX {
            self.object(format!("a frame of {} bytes", frame.payload.len()));
        }
        let continues = frame.kind == frame::CONTINUATION;
        if self.block.as_ref().map(|block| block.0) != continues.then_some(frame.stream) {
            self.object(format!("a header block is interrupted: {frame:?}"));
        }
        match frame.kind {
            frame::DATA => self.take_data(&frame),
            frame::HEADERS => {
                let end = frame.has(frame::END_STREAM);
                let skip = if frame.has(frame::WITH_PRIORITY) { 5 } else { 0 };
                let block = unpadded(&frame).get(skip..).unwrap_or_default().to_vec();
                self.take_block(&frame, end, block)
            }
            frame::CONTINUATION => {
                let (_, end, mut block) = self.block.take().unwrap_or_default();
                block.extend_from_slice(&frame.payload);
                self.take_block(&frame, end, block)
            }
            frame::RST_STREAM => Event::Reset { stream: frame.stream, code: frame::u32_of(&frame.payload) },
            frame::SETTINGS if frame.has(frame::ACK) => Event::SettingsAck,
            frame::SETTINGS => self.take_settings(&frame),
            frame::PING => {
                let ack = frame.has(frame::ACK);
                if !ack && self.manners.pings {
                    let _ = self.send(&Frame::new(frame::PING, frame::ACK, 0, &frame.payload[..]));
                }
                Event::Ping { data: frame.payload, ack }
            }
            frame::GOAWAY => {
                let code = frame::u32_of(frame.payload.get(4..).unwrap_or_default());
                Event::GoAway { last: frame::u32_of(&frame.payload), code }
            }
            frame::WINDOW_UPDATE => {
                let increment = i64::from(frame::u32_of(&frame.payload));
                match frame.stream {
                    0 => self.window += increment,
                    stream => *self.windows.entry(stream).or_default() += increment,
                }
                Event::Other
            }
            _ => Event::Other,
        }
    }

    fn take_data(&mut self, frame: &Frame) -> Event {
        let size = i64::try_from(frame.payload.len()).expect("a size");
        self.granted -= size;
        let of_stream = self.granted_streams.entry(frame.stream).or_default();
        *of_stream -= size;
        if self.granted < 0 || self.granted_initial + *of_stream < 0 {
            self.object(format!("data beyond the window of stream {}", frame.stream));
        }
        let end = frame.has(frame::END_STREAM);
        let increment = u32::try_from(size).expect("a size");
        if self.manners.windows && increment > 0 {
            let _ = self.send(&frame::window(0, increment));
            if !end {
                let _ = self.send(&frame::window(frame.stream, increment));
            }
        }
        Event::Data { stream: frame.stream, bytes: unpadded(frame).to_vec(), end }
    }

    fn take_block(&mut self, frame: &Frame, end: bool, block: Vec<u8>) -> Event {
        if !frame.has(frame::END_HEADERS) {
            self.block = Some((frame.stream, end, block));
            return Event::Other;
        }
        match self.decoder.decode(&block) {
            Ok(fields) => Event::Head { stream: frame.stream, fields, end },
            Err(why) => {
                self.object(why);
                Event::Other
            }
        }
    }

    fn take_settings(&mut self, frame: &Frame) -> Event {
        let values: Vec<_> = frame
            .payload
            .chunks_exact(6)
            .map(|one| (u16::from_be_bytes([one[0], one[1]]), frame::u32_of(&one[2..])))
            .collect();
        for (_, value) in values.iter().filter(|(name, _)| *name == frame::INITIAL_WINDOW_SIZE) {
            self.initial = i64::from(*value);
        }
        if self.manners.settings {
            let _ = self.send(&Frame::new(frame::SETTINGS, frame::ACK, 0, []));
        }
        Event::Settings(values)
    }

    /// Notes what is wrong with a field section.
    pub(super) fn judge(&mut self, fields: &[Pair], trailers: bool) {
        if let Some(why) = objection(fields, trailers) {
            self.object(why);
        }
    }
}

/// The payload of a frame that may be padded.
fn unpadded(frame: &Frame) -> &[u8] {
    if !frame.has(frame::PADDED) {
        return &frame.payload;
    }
    let end = frame.payload.first().map_or(0, |pad| frame.payload.len().saturating_sub(usize::from(*pad)));
    frame.payload.get(1..end).unwrap_or_default()
}
