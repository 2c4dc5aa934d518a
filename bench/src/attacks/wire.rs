//! HTTP/2 written by hand (RFC 9113): frames that no library would send, on a socket that never waits longer than it is
//! told to. What comes back is read only as far as an attacker cares.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;

pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;

pub(super) const CANCEL: u32 = 0x8;
pub(super) const FRAME_BYTES_MAX: usize = 16_384;
pub(super) const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// What a stream and a connection may send before they are told (section 6.9.2).
pub(super) const WINDOW_BYTES_FIRST: i64 = 65_535;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to stand back from a socket that takes or has nothing.
const TURN: Duration = Duration::from_millis(1);

/// The other side has ended the connection.
#[derive(Debug)]
pub(super) struct Closed;

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    out: Vec<u8>,
    received: Vec<u8>,
    next_stream: u32,
    pub(super) sent_bytes: u64,
    pub(super) seen: Seen,
}

/// What the other side has said.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The code of its first GOAWAY.
    pub(super) goaway: Option<u32>,
    pub(super) resets: u64,
    /// Bytes of DATA frames, by stream; ended streams stay until they are taken.
    pub(super) data_bytes: BTreeMap<u32, u64>,
    pub(super) ended: Vec<u32>,
    pub(super) connection_credit: i64,
    pub(super) stream_credit: BTreeMap<u32, i64>,
    /// What streams start with, as its last SETTINGS said.
    pub(super) initial_window: Option<i64>,
}

impl Wire {
    /// Connects and writes preface and settings.
    pub(super) fn connect(target: SocketAddr, settings: &[(u16, u32)]) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        // Gone without a trace when dropped: ports must not run out before the time does.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let (out, received) = (PREFACE.to_vec(), Vec::new());
        let seen = Seen::default();
        let mut wire = Self { stream, out, received, next_stream: 1, sent_bytes: 0, seen };
        wire.settings(settings);
        Ok(wire)
    }

    /// Puts a frame into the output.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.out.extend_from_slice(length.get(1..).unwrap_or_default());
        self.out.extend_from_slice(&[kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
        self.out.extend_from_slice(payload);
    }

    /// Opens a stream and returns its number.
    pub(super) fn open(&mut self, flags: u8, block: &[u8]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.frame(HEADERS, flags, stream, block);
        stream
    }

    pub(super) fn settings(&mut self, settings: &[(u16, u32)]) {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| {
                [name.to_be_bytes().as_slice(), value.to_be_bytes().as_slice()].concat()
            })
            .collect();
        self.frame(SETTINGS, 0, 0, &payload);
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    pub(super) fn window_update(&mut self, stream: u32, bytes: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// Writes all of the output, however long that takes, but not beyond `end`. Reads in between if `reads`.
    pub(super) fn flush(&mut self, end: Instant, reads: bool) -> Result<(), Closed> {
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => {
                    written += count;
                    self.sent_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= end {
                        break;
                    }
                    if reads {
                        self.read()?;
                    }
                    std::thread::sleep(TURN);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // Why, if it said so.
                    let _ = self.read();
                    return Err(Closed);
                }
            }
        }
        self.out.clear();
        if reads { self.read() } else { Ok(()) }
    }

    /// Takes what has come. Settings are acknowledged with the next flush.
    pub(super) fn read(&mut self) -> Result<(), Closed> {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Closed),
                Ok(count) => self.received.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Closed),
            }
            self.take_frames();
        }
    }

    fn take_frames(&mut self) {
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<9>() {
            let [l0, l1, l2, kind, flags, stream @ ..] = *header;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            self.take(kind, flags, u32::from_be_bytes(stream) & WINDOW_BYTES_MAX, payload);
            rest = after;
        }
        self.received = rest.to_vec();
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = |at: usize| {
            let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        let seen = &mut self.seen;
        match kind {
            DATA => *seen.data_bytes.entry(stream).or_default() += payload.len() as u64,
            RST_STREAM => seen.resets += 1,
            GOAWAY => seen.goaway = seen.goaway.or_else(|| Some(number(4))),
            WINDOW_UPDATE if stream == 0 => seen.connection_credit += i64::from(number(0)),
            WINDOW_UPDATE => *seen.stream_credit.entry(stream).or_default() += i64::from(number(0)),
            SETTINGS if flags & ACK == 0 => {
                for (at, entry) in payload.chunks_exact(6).enumerate() {
                    if entry.starts_with(&INITIAL_WINDOW_SIZE.to_be_bytes()) {
                        seen.initial_window = Some(i64::from(number(6 * at + 2)));
                    }
                }
                self.frame(SETTINGS, ACK, 0, &[]);
            }
            _ => {}
        }
        if (kind == DATA || kind == HEADERS) && flags & END_STREAM != 0 {
            self.seen.ended.push(stream);
        }
    }
}

/// Header blocks (RFC 7541), written without Huffman codes.
pub(super) mod hpack {
    /// `:method` of the static table.
    #[derive(Clone, Copy)]
    pub(in crate::attacks) enum Method {
        Get = 0x82,
        Post = 0x83,
    }

    /// A request to `path`, without a field beyond those it must have.
    pub(in crate::attacks) fn request(method: Method, path: &str) -> Vec<u8> {
        let mut block = vec![method as u8, 0x86, 0x04];
        text(&mut block, path.as_bytes());
        block.push(0x01);
        text(&mut block, b"bench.test");
        block
    }

    /// A field that the dynamic table then holds as its first entry, index 62.
    pub(in crate::attacks) fn remembered(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        block.push(0x40);
        text(block, name);
        text(block, value);
    }

    /// A field that nobody is to remember.
    pub(in crate::attacks) fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        block.push(0x00);
        text(block, name);
        text(block, value);
    }

    /// One byte that stands for the newest entry of the dynamic table.
    pub(in crate::attacks) const NEWEST: u8 = 0x80 | 62;

    /// A length with a prefix of seven bits, and the bytes.
    fn text(block: &mut Vec<u8>, text: &[u8]) {
        let mut length = text.len();
        if length < 0x7f {
            block.push(length as u8);
        } else {
            block.push(0x7f);
            length -= 0x7f;
            while length >= 0x80 {
                block.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::hpack;

    #[test]
    fn a_long_value_has_its_length_in_several_bytes() {
        let mut block = Vec::new();
        hpack::literal(&mut block, b"a", &[b'v'; 4000]);
        // RFC 7541 section 5.1: 4000 - 127 = 3873 = 30 * 128 + 33.
        assert_eq!(block.get(..6).unwrap(), [0x00, 0x01, b'a', 0x7f, 33 | 0x80, 30]);
        assert_eq!(block.len(), 6 + 4000);
    }
}
