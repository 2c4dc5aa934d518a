//! Whatever a peer sends: nothing panics, nothing grows without bound, and how the bytes are cut makes no difference.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what stumbles is a test that fails"
)]

#[path = "h2/wire.rs"]
mod wire;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use spurline_http::{
    Head,
    h2::{Connection, End, ErrorCode, Event, Role, Scheme, Settings, StreamId, Violation},
};
use wire::*;

/// What happened, with data put together again.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<String>,
    data: BTreeMap<StreamId, Vec<u8>>,
    violation: Option<Violation>,
    /// What was written but windows, which are given back sooner when data comes in pieces.
    written: Vec<Frame>,
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
                connection.open(&request("POST"), Scheme::Http, End::More).unwrap();
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
                let _ = self.connection.send_head(id, &response(200), End::More);
                let _ = self.connection.send_data(id, &[0; 100], End::More);
                self.seen.events.push(format!("{event:?} {:?}", self.head.pairs().collect::<Vec<_>>()));
                (end == End::Stream).then_some(id)
            }
            Event::Refused { id, .. } => {
                let _ = self.connection.send_head(id, &response(431), End::Stream);
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
        self.seen.written.retain(|frame| frame.kind != WINDOW_UPDATE);
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

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![
        Just(GET.to_vec()),
        Just(POST.to_vec()),
        Just([POST, &[("content-length", "7")]].concat()),
        Just(vec![(":status", "200")]),
        Just(vec![(":status", "103")]),
        Just(vec![("t", "u")]),
    ];
    prop_oneof![
        4 => fields.prop_map(|fields| block(&fields)),
        2 => prop::collection::vec(any::<u8>(), 0..12),
        1 => Just(Vec::new()),
        1 => any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
        1 => any::<u64>().prop_map(|number| number.to_be_bytes().to_vec()),
        1 => (0..10_u16, prop_oneof![any::<u32>(), 0..100_000_u32])
            .prop_map(|(id, value)| settings(&[(id, value)])[9..].to_vec()),
        1 => (0..20_000_usize).prop_map(|bytes| vec![0; bytes]),
    ]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(DATA), Just(HEADERS), 0..11_u8];
    let flags = prop_oneof![Just(END_HEADERS), Just(END_HEADERS | END_STREAM), Just(0), any::<u8>()];
    let stream = prop_oneof![4 => 0..14_u32, 1 => any::<u32>()];
    let id = || (0..3_u32).prop_map(|id| 2 * id + 1);
    let fitting = prop_oneof![
        (id(), any::<bool>()).prop_map(|(id, ends)| data(id, u8::from(ends), b"content")),
        (id(), any::<u8>(), 0..3000_usize).prop_map(|(id, padding, bytes)| {
            data(id, PADDED, &[vec![padding], vec![7; bytes], vec![0; padding.into()]].concat())
        }),
        id().prop_map(|id| headers(id, END_STREAM, &[("t", "u")])),
        id().prop_map(|id| headers(id, 0, &[(":status", "200")])),
        id().prop_map(|id| frame(HEADERS, 0, id, &block(&[(":status", "103")]))
            .into_iter()
            .chain(frame(CONTINUATION, END_HEADERS, id, &[]))
            .collect()),
        id().prop_map(|id| reset(id, ErrorCode::CANCEL)),
        (id(), 0..100_000_u32).prop_map(|(id, increment)| window_update(id, increment)),
        Just(frame(PING, 0, 0, b"12345678")),
        any::<u16>().prop_map(|window| settings(&[(4, window.into())])),
    ];
    prop_oneof![
        20 => fitting,
        1 => (kind, flags, stream, payload())
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn preface(role: Role) -> Vec<u8> {
    match role {
        Role::Client => settings(&[]),
        Role::Server => [PREFACE, &settings(&[]), &post(1), &post(3), &post(5)].concat(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..Default::default() })]

    #[test]
    fn any_frames_are_read_the_same_however_they_are_cut(
        role in role(),
        frames in prop::collection::vec(any_frame(), 0..40),
        pieces in prop::collection::vec(1..200_usize, 1..5),
    ) {
        let bytes = [preface(role), frames.concat()].concat();
        let whole = run(role, &bytes, &[9 + 16_384]);
        let cut = run(role, &bytes, &pieces);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        role in role(),
        starts_well in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let start = if starts_well { preface(role) } else { Vec::new() };
        let bytes = [start, bytes].concat();
        prop_assert_eq!(run(role, &bytes, &[bytes.len().max(1)]), run(role, &bytes, &[1]));
    }
}
