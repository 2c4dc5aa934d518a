//! Frames of HTTP/2 (RFC 9113 section 4), as they are said and not as they should be.

/// What opens the client's side of a connection.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload where nothing larger was announced.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Of `DATA` and `HEADERS`.
pub const END_STREAM: u8 = 1;
/// Of `SETTINGS` and `PING`.
pub const ACK: u8 = 1;
/// Of `HEADERS` and `CONTINUATION`.
pub const END_HEADERS: u8 = 4;
/// Of `DATA` and `HEADERS`.
pub const PADDED: u8 = 8;
/// Of `HEADERS`.
pub const WITH_PRIORITY: u8 = 0x20;

pub const HEADER_TABLE_SIZE: u16 = 1;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of any kind.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// The frame on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a length").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes one frame off the start of a buffer, when it is all there.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Self> {
        let head = buffer.first_chunk::<9>()?;
        let length = u32_of(&[0, head[0], head[1], head[2]]) as usize;
        let (kind, flags, stream) = (head[3], head[4], u32_of(&head[5..]) & 0x7fff_ffff);
        let payload = buffer.get(9..9 + length)?.to_vec();
        buffer.drain(..9 + length);
        Some(Self { kind, flags, stream, payload })
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// The big-endian number in the first four octets, 0 without them.
pub fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

/// `SETTINGS` with these values.
pub fn settings(values: &[(u16, u32)]) -> Frame {
    let one = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    Frame::new(SETTINGS, 0, 0, values.iter().flat_map(one).collect::<Vec<_>>())
}

/// `RST_STREAM`.
pub fn reset(stream: u32, code: u32) -> Frame {
    Frame::new(RST_STREAM, 0, stream, code.to_be_bytes())
}

/// `WINDOW_UPDATE`.
pub fn window(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

/// `PING` that wants an answer.
pub fn ping(data: [u8; 8]) -> Frame {
    Frame::new(PING, 0, 0, data)
}

/// `GOAWAY`.
pub fn goaway(last: u32, code: u32) -> Frame {
    Frame::new(GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// `DATA`.
pub fn data(stream: u32, bytes: &[u8], flags: u8) -> Frame {
    Frame::new(DATA, flags, stream, bytes)
}

/// A header block in one frame, or in more where it does not fit.
pub fn headers(stream: u32, block: &[u8], flags: u8) -> Vec<Frame> {
    let pieces: Vec<_> = block.chunks(PAYLOAD_BYTES_MAX).collect();
    let Some((last, before)) = pieces.split_last() else {
        return vec![Frame::new(HEADERS, flags | END_HEADERS, stream, [])];
    };
    let mut frames: Vec<_> = before.iter().map(|piece| Frame::new(CONTINUATION, 0, stream, *piece)).collect();
    frames.push(Frame::new(CONTINUATION, END_HEADERS, stream, *last));
    frames[0].kind = HEADERS;
    frames[0].flags |= flags;
    frames
}
