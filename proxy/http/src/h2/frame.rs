//! Frames as bytes (RFC 9113 sections 4.1 and 6): the header is read and written here, and the parts of a payload that
//! stand around its content. What a frame means is for the connection to say.

use super::{ErrorCode, StreamId, Violation};

/// Bytes of a frame header.
pub(super) const HEADER_BYTES: usize = 9;
/// The largest payload that we take, which is the least that may be announced (RFC 9113 section 6.5.2), and the
/// largest that we send: larger ones would let one stream hold up the others.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;
/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    fn read(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of the payload.
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0: the connection.
    pub(super) stream: StreamId,
}

impl FrameHeader {
    /// `None`: not all of it is here. The reserved bit is ignored (RFC 9113 section 4.1).
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = *input.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l1, l2, l3]),
            kind: Kind::read(kind),
            flags,
            stream: StreamId(u32::from_be_bytes([s1, s2, s3, s4]) & StreamId::MAX.0),
        })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let [_, l1, l2, l3] = self.length.to_be_bytes();
        let [s1, s2, s3, s4] = self.stream.0.to_be_bytes();
        out.extend_from_slice(&[l1, l2, l3, self.kind as u8, self.flags, s1, s2, s3, s4]);
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes the length of the frame whose header starts at `start`, once its payload is written.
pub(super) fn patch_length(out: &mut [u8], start: usize, length: usize) {
    let [.., l1, l2, l3] = length.to_be_bytes();
    if let Some(bytes) = out.get_mut(start..start + 3) {
        bytes.copy_from_slice(&[l1, l2, l3]);
    }
}

pub(super) fn write_control(kind: Kind, flags: u8, stream: StreamId, payload: &[u8], out: &mut Vec<u8>) {
    // Ours are a few bytes long.
    let length = u32::try_from(payload.len()).unwrap_or(0);
    FrameHeader { length, kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

pub(super) fn write_reset(stream: StreamId, code: ErrorCode, out: &mut Vec<u8>) {
    write_control(Kind::RstStream, 0, stream, &code.0.to_be_bytes(), out);
}

pub(super) fn write_window_update(stream: StreamId, increment: u32, out: &mut Vec<u8>) {
    write_control(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes(), out);
}

pub(super) fn write_go_away(last: StreamId, code: ErrorCode, out: &mut Vec<u8>) {
    let [l1, l2, l3, l4] = last.0.to_be_bytes();
    let [c1, c2, c3, c4] = code.0.to_be_bytes();
    write_control(Kind::GoAway, 0, StreamId::CONNECTION, &[l1, l2, l3, l4, c1, c2, c3, c4], out);
}

/// What a `HEADERS` frame carries beside its flags (RFC 9113 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadersPayload<'a> {
    pub(super) fragment: &'a [u8],
    /// The stream it depends on; what else a priority says is deprecated and ignored (RFC 9113 section 5.3.2).
    pub(super) depends_on: Option<StreamId>,
}

pub(super) fn read_headers(frame: FrameHeader, payload: &[u8]) -> Result<HeadersPayload<'_>, Violation> {
    let mut fragment = payload;
    if frame.has(PADDED) {
        let (&padding, rest) = payload.split_first().ok_or(Violation::FrameSize)?;
        let length = rest.len().checked_sub(usize::from(padding)).ok_or(Violation::Padding)?;
        fragment = rest.get(..length).unwrap_or_default();
    }
    let mut depends_on = None;
    if frame.has(PRIORITY) {
        let (priority, rest) = fragment.split_first_chunk::<5>().ok_or(Violation::FrameSize)?;
        (depends_on, fragment) = (Some(dependency(*priority)), rest);
    }
    Ok(HeadersPayload { fragment, depends_on })
}

/// The stream that a priority names.
pub(super) fn dependency([s1, s2, s3, s4, _weight]: [u8; 5]) -> StreamId {
    StreamId(u32::from_be_bytes([s1, s2, s3, s4]) & StreamId::MAX.0)
}

/// The payload of a frame that is one number.
pub(super) fn read_u32(payload: &[u8]) -> Result<u32, Violation> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| Violation::FrameSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        let header =
            FrameHeader { length: 0x01_02_03, kind: Kind::Ping, flags: 0xa5, stream: StreamId(0x7fff_fffe) };
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, [1, 2, 3, 6, 0xa5, 0x7f, 0xff, 0xff, 0xfe]);
        assert_eq!(FrameHeader::read(&out), Some(header));
        assert_eq!(FrameHeader::read(&out[..8]), None);
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let header = FrameHeader::read(&[0, 0, 0, 0, 0, 0x80, 0, 0, 1]).unwrap();
        assert_eq!(header.stream, StreamId(1));
    }

    #[test]
    fn padding_and_priority_are_taken_off_a_header_block() {
        let frame = |flags| FrameHeader { length: 0, kind: Kind::Headers, flags, stream: StreamId(1) };
        let block = |flags, payload| read_headers(frame(flags), payload).map(|read| read.fragment);
        assert_eq!(block(0, b"abc"), Ok(&b"abc"[..]));
        assert_eq!(block(PADDED, b"\x02abc\0\0"), Ok(&b"abc"[..]));
        assert_eq!(block(PADDED, b"\x05abc\0\0"), Ok(&b""[..]));
        assert_eq!(block(PADDED, b"\x06abc\0\0"), Err(Violation::Padding));
        assert_eq!(block(PADDED, b""), Err(Violation::FrameSize));
        assert_eq!(block(PRIORITY, b"\x80\0\0\x03\x10abc"), Ok(&b"abc"[..]));
        assert_eq!(block(PRIORITY, b"\0\0\0\x03"), Err(Violation::FrameSize));
        assert_eq!(block(PADDED | PRIORITY, b"\x01\0\0\0\x03\x10ab\0"), Ok(&b"ab"[..]));
        let read = read_headers(frame(PRIORITY), b"\x80\0\0\x03\x10abc").unwrap();
        assert_eq!(read.depends_on, Some(StreamId(3)));
    }

    #[test]
    fn a_length_is_written_over_the_one_before() {
        let mut out = vec![0xff; 12];
        patch_length(&mut out, 1, 0x00_04_05);
        assert_eq!(out[..5], [0xff, 0, 4, 5, 0xff]);
    }
}
