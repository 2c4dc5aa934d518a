//! A peer made of bytes: frames are written by hand, so that they can be wrong.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::time::Duration;

use spurline_http::{
    Head,
    h2::{Connection, End, ErrorCode, Event, Role, Settings, Violation},
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const HAS_PRIORITY: u8 = 0x20;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Literals without indexing and without Huffman (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for part in [name, value] {
            assert!(part.len() < 127, "{part} needs a longer integer");
            out.push(part.len() as u8);
            out.extend(part.as_bytes());
        }
    }
    out
}

pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// A complete request without a body.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, GET)
}

/// The head of a request with a body.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(stream, 0, POST)
}

pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

pub(crate) fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    frame(SETTINGS, 0, 0, &values.iter().flat_map(bytes).collect::<Vec<u8>>())
}

pub(crate) fn request(method: &str) -> Head {
    let wire = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes();
    let mut head = Head::default();
    spurline_http::h1::read_request(&wire, &Default::default(), &mut head).unwrap().unwrap();
    head
}

pub(crate) fn response(status: u16) -> Head {
    let wire = format!("HTTP/1.1 {status} x\r\nserver: s\r\n\r\n").into_bytes();
    let mut head = Head::default();
    let method = spurline_http::Method(b"GET");
    spurline_http::h1::read_response(&wire, method, &Default::default(), &mut head).unwrap().unwrap();
    head
}

pub(crate) fn trailers() -> Head {
    let mut head = Head::default();
    head.append(b"grpc-status", b"0").unwrap();
    head
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn code(&self) -> ErrorCode {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        ErrorCode(u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()))
    }

    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    bytes = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
        let payload = bytes[9..9 + length].to_vec();
        frames.push(Frame { kind: bytes[3], flags: bytes[4], stream, payload });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// A connection and the bytes it was fed.
pub(crate) struct Fed {
    pub(crate) connection: Connection,
    pub(crate) head: Head,
    pub(crate) now: Duration,
    input: Vec<u8>,
}

impl Fed {
    /// One whose handshake is done, and whose output was read.
    pub(crate) fn new(role: Role, ours: Settings) -> Self {
        let mut fed = Self {
            connection: Connection::new(role, ours),
            head: Head::default(),
            now: Duration::ZERO,
            input: Vec::new(),
        };
        if role == Role::Server {
            fed.feed(PREFACE).unwrap();
        }
        fed.feed(&[settings(&[]), frame(SETTINGS, ACK, 0, &[])].concat()).unwrap();
        fed.output();
        fed
    }

    pub(crate) fn server() -> Self {
        Self::new(Role::Server, Settings::default())
    }

    pub(crate) fn client() -> Self {
        Self::new(Role::Client, Settings::default())
    }

    /// Feeds bytes; returns what happened except for nothing.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Violation> {
        self.input.extend(bytes);
        let mut events = Vec::new();
        let mut at = 0;
        let outcome = loop {
            match self.connection.receive(&self.input[at..], &mut self.head, self.now) {
                Ok((taken, event)) => {
                    at += taken;
                    match event {
                        Event::NeedMore => break Ok(events),
                        Event::Nothing => {}
                        event => events.push(event),
                    }
                }
                Err(violation) => break Err(violation),
            }
        };
        self.input.drain(..at);
        outcome
    }

    /// The frames that were written.
    pub(crate) fn output(&mut self) -> Vec<Frame> {
        let mut bytes = Vec::new();
        self.connection.swap_output(&mut bytes);
        frames(&bytes)
    }

    /// Opens a stream as a client.
    pub(crate) fn open(&mut self, method: &str, end: End) -> spurline_http::h2::StreamId {
        self.connection.open(&request(method), spurline_http::h2::Scheme::Http, end).unwrap()
    }
}
