//! What must hold for [`Connection`], whatever a peer sends: nothing panics, nothing grows without bound, and how the
//! bytes are cut makes no difference.

use std::{collections::BTreeMap, time::Duration};

use spurline_http::{
    Head, Limits, Method, h1,
    h2::{Connection, End, ErrorCode, Event, Role, Scheme, Settings, StreamId, Violation},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const WINDOW_UPDATE: u8 = 8;

/// The first byte says who we are and whether the peer starts well, the second in which pieces the rest arrives.
pub fn h2_connection(data: &[u8]) {
    let [who, piece, bytes @ ..] = data else { return };
    let role = if who & 1 == 0 { Role::Server } else { Role::Client };
    let start = if who & 2 == 0 { start(role) } else { Vec::new() };
    check(role, &[&start, bytes].concat(), &[usize::from(*piece) + 1]);
}

/// The same for bytes that are frames: each is four bytes which say type, flags, stream and length, and its payload.
pub fn h2_frames(data: &[u8]) {
    let [who, piece, rest @ ..] = data else { return };
    let role = if who & 1 == 0 { Role::Server } else { Role::Client };
    let mut bytes = start(role);
    let mut rest = rest;
    while let [kind, flags, stream, length, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        bytes.extend([0, 0, payload.len() as u8, kind % 11, *flags, 0, 0, 0, stream % 16]);
        bytes.extend(payload);
    }
    check(role, &bytes, &[usize::from(*piece) + 1]);
}

/// What a peer sends first.
pub fn start(role: Role) -> Vec<u8> {
    match role {
        Role::Client => EMPTY_SETTINGS.to_vec(),
        Role::Server => [PREFACE, EMPTY_SETTINGS].concat(),
    }
}

/// Feeds bytes whole and in pieces, which must have the same outcome.
pub fn check(role: Role, bytes: &[u8], pieces: &[usize]) {
    assert_eq!(run(role, bytes, &[Connection::INPUT_BYTES_MIN]), run(role, bytes, pieces));
}

fn request() -> Head {
    let mut head = Head::default();
    let read = h1::read_request(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", &Limits::default(), &mut head);
    assert!(matches!(read, Ok(Some(_))));
    head
}

fn response(wire: &[u8]) -> Head {
    let mut head = Head::default();
    let read = h1::read_response(wire, Method(b"GET"), &Limits::default(), &mut head);
    assert!(matches!(read, Ok(Some(_))));
    head
}

fn trailers() -> Head {
    let mut head = Head::default();
    head.append(b"grpc-status", b"0").expect("it is a field");
    head
}

/// The frames of what was written.
fn frames(output: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = output.strip_prefix(PREFACE).unwrap_or(output);
    let mut frames = Vec::new();
    while let [l1, l2, l3, ..] = rest {
        let length = u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
        let (frame, after) = rest.split_at(9 + length);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

/// What happened, with data put together again.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<String>,
    data: BTreeMap<StreamId, Vec<u8>>,
    violation: Option<Violation>,
    /// What was written but windows, which are given back sooner when data comes in pieces.
    written: Vec<Vec<u8>>,
}

/// Reacts to events as a relay would: reads and answers every message, and is done with a stream when both ended.
struct Relay {
    connection: Connection,
    head: Head,
    seen: Seen,
}

impl Relay {
    fn new(role: Role) -> Self {
        let ours = Settings { streams_max: 5, ..Default::default() };
        let mut connection = Connection::new(role, ours);
        if role == Role::Client {
            for _ in 0..3 {
                connection.open(&request(), Scheme::Http, End::More).expect("there is room");
            }
        }
        Self { connection, head: Head::default(), seen: Seen::default() }
    }

    /// Reads what there is of `input`, and returns how much of it that was.
    fn read(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while self.seen.violation.is_none() {
            match self.connection.receive(&input[at..], &mut self.head, Duration::ZERO) {
                Ok((taken, event)) => {
                    assert!(taken <= input.len() - at, "more than there is");
                    let base = at;
                    at += taken;
                    if event == Event::NeedMore {
                        break;
                    }
                    assert!(taken > 0, "no step ahead: {event:?}");
                    self.react(event, &input[base..]);
                }
                Err(violation) => self.seen.violation = Some(violation),
            }
        }
        at
    }

    fn react(&mut self, event: Event, input: &[u8]) {
        let end = match event {
            Event::Nothing => return,
            Event::Data { id, range, end } => {
                self.seen.data.entry(id).or_default().extend(&input[range.clone()]);
                self.connection.consumed(id, range.len());
                (end == End::Stream).then_some(id)
            }
            Event::Head { id, end, .. } => {
                let _ = self.connection.send_head(id, &response(b"HTTP/1.1 200 x\r\n\r\n"), End::More);
                let _ = self.connection.send_data(id, &[0; 100], End::More);
                self.seen.events.push(format!("{event:?} {:?}", self.head.pairs().collect::<Vec<_>>()));
                (end == End::Stream).then_some(id)
            }
            Event::Refused { id, .. } => {
                let _ = self.connection.send_head(id, &response(b"HTTP/1.1 431 x\r\n\r\n"), End::Stream);
                self.connection.reset(id, ErrorCode::NO_ERROR);
                self.seen.events.push(format!("{event:?}"));
                None
            }
            Event::Trailers { id } => Some(id),
            event => {
                self.seen.events.push(format!("{event:?}"));
                None
            }
        };
        if let Some(id) = end {
            self.seen.events.push(format!("end of {id:?}"));
            let _ = self.connection.send_data(id, &[1; 10], End::More);
            let _ = self.connection.send_trailers(id, &trailers());
        }
    }

    fn finish(mut self) -> Seen {
        while let Some(id) = self.connection.next_writable() {
            let _ = self.connection.send_data(id, b"more", End::More);
        }
        let mut output = Vec::new();
        self.connection.swap_output(&mut output);
        assert!(output.len() < 128 * 1024, "{}", output.len());
        self.seen.written = frames(&output);
        self.seen.written.retain(|frame| frame.get(3) != Some(&WINDOW_UPDATE));
        self.seen
    }
}

/// Feeds `bytes` in pieces of these sizes, over and over.
fn run(role: Role, bytes: &[u8], pieces: &[usize]) -> Seen {
    let mut relay = Relay::new(role);
    let (mut input, mut at) = (Vec::new(), 0);
    for piece in pieces.iter().cycle() {
        let end = (at + piece).min(bytes.len());
        input.extend(&bytes[at..end]);
        at = end;
        let taken = relay.read(&input);
        input.drain(..taken);
        if at == bytes.len() || relay.seen.violation.is_some() {
            break;
        }
        assert!(input.len() < Connection::INPUT_BYTES_MIN, "it would wait for more than it says it needs");
    }
    assert!(relay.connection.open_streams() <= 5);
    relay.finish()
}
