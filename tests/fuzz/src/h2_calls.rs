//! What must hold for [`Connection`], whatever a peer sends and whatever its caller does in between: what is written is
//! HTTP/2 that a strict peer takes, within its windows, and nothing is left in the end.

use std::{collections::BTreeMap, time::Duration};

use spurline_http::{
    Head, Limits, h1,
    h2::{Connection, End, ErrorCode, Event, GoAway, Role, Scheme, Settings, StreamId, Violation},
};

#[path = "h2_calls/judge.rs"]
pub mod judge;
#[path = "h2_calls/peer.rs"]
pub mod peer;

use judge::Judge;
use peer::Peer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte says who we are, the second under which settings; each that follows is what the peer or the caller does
/// next, with its arguments behind.
pub fn h2_calls(data: &[u8]) {
    let [who, settings, steps @ ..] = data else { return };
    let role = if who & 1 == 0 { Role::Server } else { Role::Client };
    let ours = Settings {
        streams_max: 1 + u32::from(settings & 7),
        stream_window_bytes: [1, 100, 70_000, 1 << 20][usize::from(settings >> 3 & 3)],
        connection_window_bytes: [0, 200_000][usize::from(settings >> 5 & 1)],
        output_bytes_max: [0, 100_000][usize::from(settings >> 6 & 1)],
        ..Default::default()
    };
    let mut pair = Pair::new(role, ours);
    let mut steps = Steps(steps);
    while let Some(step) = steps.next() {
        if pair.violation.is_some() {
            break;
        }
        // Most of what is arbitrary ends the connection, so it is rare.
        match if step == 0 { 0 } else { 1 + step % 15 } {
            0 => {
                pair.is_wild = true;
                pair.feed(&peer::any_frame(&mut steps));
            }
            kind @ 1..7 => pair.feed_frame(kind, &mut steps),
            call => pair.call(call, &mut steps),
        }
    }
    pair.finish();
}

/// The bytes that are left to decide by; zeros are behind them.
pub struct Steps<'a>(&'a [u8]);

/// A connection with its peer and its caller.
struct Pair {
    role: Role,
    connection: Connection,
    judge: Judge,
    peer: Peer,
    head: Head,
    /// The streams that the caller has heard of, and how many bytes of each it holds.
    streams: BTreeMap<StreamId, usize>,
    now: Duration,
    /// The peer has sent what no peer may.
    is_wild: bool,
    violation: Option<Violation>,
}

// === impl Steps ===

impl Steps<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// Small or large.
    fn size(&mut self) -> usize {
        let byte = usize::from(self.byte());
        byte * byte * if byte & 1 == 0 { 1 } else { byte }
    }

    fn end(&mut self) -> End {
        if self.byte() & 1 == 0 { End::More } else { End::Stream }
    }
}

fn request(method: &str) -> Head {
    let mut head = Head::default();
    let line = format!("{method} / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n");
    let read = h1::read_request(line.as_bytes(), &Limits::default(), &mut head);
    assert!(matches!(read, Ok(Some(_))));
    head
}

/// A head of this status, or trailers, with a field that may not fit into one frame.
fn fields(status: Option<u16>, bytes: usize) -> Head {
    let mut head = Head::default();
    if let Some(status) = status {
        head.start_response(status);
    }
    head.append(b"x-field", &vec![b'v'; bytes]).expect("it is a field");
    head
}

// === impl Pair ===

impl Pair {
    fn new(role: Role, ours: Settings) -> Self {
        let mut pair = Self {
            role,
            connection: Connection::new(role, ours),
            judge: Judge::new(role, &ours),
            peer: Peer::new(role),
            head: Head::default(),
            streams: BTreeMap::new(),
            now: Duration::ZERO,
            is_wild: false,
            violation: None,
        };
        if role == Role::Server {
            pair.receive(PREFACE);
        }
        pair.feed(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        pair
    }

    /// Lets the peer do what it may do.
    fn feed_frame(&mut self, kind: u8, steps: &mut Steps<'_>) {
        self.write();
        if let Some(frame) = self.peer.frame(kind, &self.judge, steps) {
            self.feed(&frame);
        }
    }

    /// Gives the connection one whole frame.
    fn feed(&mut self, frame: &[u8]) {
        // What was written before the peer closed something may still be on it.
        self.write();
        self.receive(frame);
        if self.violation.is_none() {
            self.judge.received(frame);
        }
    }

    fn receive(&mut self, input: &[u8]) {
        let mut at = 0;
        while at < input.len() {
            let (taken, event) = match self.connection.receive(&input[at..], &mut self.head, self.now) {
                Ok(read) => read,
                Err(violation) => {
                    self.violation = Some(violation);
                    return;
                }
            };
            assert!(taken > 0, "{event:?} is no step ahead");
            self.take(event);
            at += taken;
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Head { id, .. } | Event::Refused { id, .. } => {
                self.streams.entry(id).or_default();
            }
            Event::Data { id, range, .. } => {
                *self.streams.get_mut(&id).expect("there was a head") += range.len();
            }
            Event::Reset { id, .. } => {
                self.streams.remove(&id);
            }
            Event::GoAway { last, .. } if self.role == Role::Client => {
                self.streams.retain(|id, _| *id <= last);
            }
            _ => {}
        }
    }

    /// What the caller does. Streams that are gone are none to do anything with, which it need not know.
    fn call(&mut self, call: u8, steps: &mut Steps<'_>) {
        let pick = usize::from(steps.byte());
        let stream = self.streams.keys().nth(pick % self.streams.len().max(1)).copied();
        match (call, stream) {
            (7, _) => {
                let head = request(if pick & 1 == 0 { "POST" } else { "HEAD" });
                let can = self.connection.can_open();
                let opened = self.connection.open(&head, Scheme::Http, steps.end());
                assert_eq!(can, opened.map(|_| ()));
                self.streams.extend(opened.ok().map(|id| (id, 0)));
            }
            (8, Some(id)) => {
                let (head, end) = match steps.byte() % 3 {
                    0 => (fields(Some(103), 10), End::More),
                    1 => (fields(Some(200), 20_000), steps.end()),
                    _ => (fields(Some(200), 10), steps.end()),
                };
                let _ = self.connection.send_head(id, &head, end);
            }
            (9, Some(id)) => {
                let (bytes, end) = (steps.size().min(300_000), steps.end());
                if let Ok(taken) = self.connection.send_data(id, &vec![7; bytes], end) {
                    assert!(taken <= bytes);
                }
            }
            (10, Some(id)) => {
                let _ = self.connection.send_trailers(id, &fields(None, 10));
            }
            (11, Some(id)) => {
                self.connection.reset(id, ErrorCode::CANCEL);
                self.streams.remove(&id);
            }
            (12, Some(id)) => {
                let held = self.streams.get_mut(&id).expect("it was picked");
                let bytes = (*held).min(steps.size());
                *held -= bytes;
                self.connection.consumed(id, bytes);
            }
            (13, _) => match pick % 8 {
                0 => self.connection.go_away(GoAway::Now(ErrorCode::NO_ERROR)),
                1 => self.connection.go_away(GoAway::Graceful),
                2..5 => self.connection.ping(),
                _ => self.now += Duration::from_millis(100),
            },
            (14, _) => self.write(),
            (15, _) => {
                while let Some(id) = self.connection.next_writable() {
                    let _ = self.connection.send_data(id, &[7; 1000], End::More);
                }
            }
            _ => {}
        }
    }

    /// Lets the judge have what is written.
    fn write(&mut self) {
        let mut written = Vec::new();
        self.connection.swap_output(&mut written);
        assert!(written.len() < 1 << 20, "{} bytes were waiting", written.len());
        self.judge.written(&written, &mut self.peer);
    }

    /// Leaves all streams, after which nothing must be left of them.
    fn finish(mut self) {
        assert!(self.connection.open_streams() <= 8);
        self.write();
        if let Some(violation) = self.violation {
            let is_much = matches!(violation, Violation::Flood(_) | Violation::WindowOverflow);
            assert!(self.is_wild || is_much, "a peer that errs in nothing is blamed: {violation:?}");
            return self.judge.assert_failed();
        }
        let statuses: Vec<StreamId> = self.connection.statuses().map(|status| status.id).collect();
        for id in statuses {
            self.connection.reset(id, ErrorCode::CANCEL);
        }
        self.write();
        assert!(self.connection.is_idle());
        assert_eq!(self.connection.open_streams(), 0);
        self.judge.assert_all_is_answered();
    }
}
