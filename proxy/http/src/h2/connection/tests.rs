//! Two connections joined back to back: whatever is sent on one comes out of the other, however bytes are cut, and in the
//! end no window has lost a byte.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Head,
    h2::{ErrorCode, Flood, Rate, Scheme},
};

/// One direction of a stream, as whoever relays it knows it.
#[derive(Debug, Default)]
struct Exchange {
    /// Bytes of the body, and how many of it were taken.
    body: usize,
    sent: usize,
    with_trailers: bool,
    has_sent_end: bool,
    /// Not all was taken, so only the connection says when to go on.
    waits: bool,
    received: usize,
    has_received_end: bool,
    held: usize,
    is_reset: bool,
}

struct Endpoint {
    connection: Connection,
    head: Head,
    /// Bytes that arrived and were not read, and those that were written and have not arrived.
    input: Vec<u8>,
    written: Vec<u8>,
    /// Data that was sent apart, and behind how many bytes of the output it goes.
    apart: Vec<(usize, Vec<u8>)>,
    exchanges: BTreeMap<StreamId, Exchange>,
}

/// What the body of a stream is made of: every byte can be told from its neighbours and from those of other streams.
fn byte_at(role: Role, id: StreamId, at: usize) -> u8 {
    let seed = id.get() as usize * 7 + if role == Role::Client { 0 } else { 101 };
    (seed + at * 31 + at / 251) as u8
}

fn head(wire: &str) -> Head {
    let mut head = Head::default();
    let bytes = wire.as_bytes();
    if wire.starts_with("HTTP") {
        crate::h1::read_response(bytes, crate::Method(b"GET"), &Default::default(), &mut head).unwrap();
    } else {
        crate::h1::read_request(bytes, &Default::default(), &mut head).unwrap();
    }
    head
}

impl Endpoint {
    fn new(role: Role, settings: Settings) -> Self {
        Self {
            connection: Connection::new(role, settings),
            head: Head::default(),
            input: Vec::new(),
            written: Vec::new(),
            apart: Vec::new(),
            exchanges: BTreeMap::new(),
        }
    }

    fn open(&mut self, body: usize, with_trailers: bool) {
        let request = head("POST / HTTP/1.1\r\nhost: a\r\n\r\n");
        if let Ok(id) = self.connection.open(&request, Scheme::Http, End::More) {
            self.exchanges.insert(id, Exchange { body, with_trailers, ..Default::default() });
            self.send(id);
        }
    }

    /// Sends what is left of a body, unless it was said to wait.
    fn send(&mut self, id: StreamId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        if exchange.is_reset || exchange.has_sent_end || exchange.waits {
            return;
        }
        let role = self.connection.role;
        let end = if exchange.with_trailers { End::More } else { End::Stream };
        let data: Vec<u8> = (exchange.sent..exchange.body).map(|at| byte_at(role, id, at)).collect();
        let at = match exchange.body % 2 {
            0 => self.connection.send_data_apart(id, data.len(), end).unwrap(),
            _ => None,
        };
        let taken = match at {
            Some(_) => data.len(),
            None => self.connection.send_data(id, &data, end).unwrap(),
        };
        exchange.sent += taken;
        exchange.waits = taken < data.len();
        self.apart.extend(at.map(|at| (at, data)));
        if exchange.sent < exchange.body {
            return;
        }
        if exchange.with_trailers {
            let mut trailers = Head::default();
            trailers.append(b"grpc-status", b"0").unwrap();
            self.connection.send_trailers(id, &trailers).unwrap();
        }
        exchange.has_sent_end = true;
    }

    fn wake(&mut self) {
        while let Some(id) = self.connection.next_writable() {
            if let Some(exchange) = self.exchanges.get_mut(&id) {
                exchange.waits = false;
            }
            self.send(id);
        }
    }

    fn respond(&mut self, id: StreamId) {
        let body = id.get() as usize * 7919 % 100_000;
        if id.get().is_multiple_of(3) {
            self.connection.send_head(id, &head("HTTP/1.1 103 x\r\n\r\n"), End::More).unwrap();
        }
        self.connection.send_head(id, &head("HTTP/1.1 200 OK\r\n\r\n"), End::More).unwrap();
        let with_trailers = id.get() % 5 < 2;
        self.exchanges.insert(id, Exchange { body, with_trailers, ..Default::default() });
        self.send(id);
    }

    /// Reads what arrived.
    fn read(&mut self) {
        let mut at = 0;
        loop {
            let rest = &self.input[at..];
            let (taken, event) = self.connection.receive(rest, &mut self.head, Duration::ZERO).unwrap();
            let base = at;
            at += taken;
            let end_of = |exchanges: &mut BTreeMap<StreamId, Exchange>, id, end| {
                if end == End::Stream
                    && let Some(exchange) = exchanges.get_mut(&id)
                {
                    exchange.has_received_end = true;
                }
            };
            match event {
                Event::NeedMore => break,
                Event::Head { id, end, .. } => {
                    if self.connection.role == Role::Server {
                        self.respond(id);
                    }
                    end_of(&mut self.exchanges, id, end);
                }
                Event::Data { id, range, end } => {
                    let peer = if self.connection.role == Role::Client { Role::Server } else { Role::Client };
                    let exchange = self.exchanges.get_mut(&id).unwrap();
                    for byte in &self.input[base + range.start..base + range.end] {
                        assert_eq!(*byte, byte_at(peer, id, exchange.received), "{id:?}");
                        exchange.received += 1;
                    }
                    exchange.held += range.len();
                    end_of(&mut self.exchanges, id, end);
                }
                Event::Trailers { id } => end_of(&mut self.exchanges, id, End::Stream),
                Event::Reset { id, code, by } => {
                    // Streams may be opened before the client knows how many the server takes.
                    let is_refused = code == ErrorCode::REFUSED_STREAM;
                    assert!(is_refused || (code, by) == (ErrorCode::CANCEL, ResetBy::Peer), "{code} {by:?}");
                    self.exchanges.entry(id).or_default().is_reset = true;
                }
                Event::GoAway { last, .. } => {
                    let is_gone = |id: &StreamId| *id > last && self.connection.role == Role::Client;
                    for (_, exchange) in self.exchanges.iter_mut().filter(|(id, _)| is_gone(id)) {
                        exchange.is_reset = true;
                    }
                }
                Event::Refused { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        self.input.drain(..at);
        self.wake();
    }

    fn consume(&mut self, pick: usize, bytes: usize) {
        let mut holding = self.exchanges.iter_mut().filter(|(_, exchange)| exchange.held > 0);
        let Some((id, exchange)) = holding.nth(pick) else { return };
        let bytes = bytes.min(exchange.held);
        exchange.held -= bytes;
        self.connection.consumed(*id, bytes);
    }

    fn reset(&mut self, pick: usize) {
        let Some((id, exchange)) = self.exchanges.iter_mut().nth(pick) else { return };
        let is_over = exchange.has_sent_end && exchange.has_received_end;
        exchange.is_reset |= !is_over;
        exchange.held = 0;
        self.connection.reset(*id, ErrorCode::CANCEL);
    }
}

/// Moves bytes from one to the other; output is only taken once all before is written.
fn transfer(from: &mut Endpoint, to: &mut Endpoint, bytes: usize) {
    if from.written.is_empty() {
        from.connection.swap_output(&mut from.written);
        for (at, data) in from.apart.drain(..).rev() {
            from.written.splice(at..at, data);
        }
        from.wake();
    }
    let bytes = bytes.min(from.written.len());
    to.input.extend(from.written.drain(..bytes));
    to.read();
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Open { body: usize, with_trailers: bool },
    ToServer(usize),
    ToClient(usize),
    ConsumeAtServer(usize, usize),
    ConsumeAtClient(usize, usize),
    ResetByServer(usize),
    ResetByClient(usize),
    Ping,
    GoAway,
}

fn action() -> impl Strategy<Value = Action> {
    let some = || prop_oneof![1..40_usize, 1..100_000_usize];
    prop_oneof![
        8 => (0..100_000_usize, any::<bool>())
            .prop_map(|(body, with_trailers)| Action::Open { body, with_trailers }),
        20 => some().prop_map(Action::ToServer),
        20 => some().prop_map(Action::ToClient),
        10 => (0..8_usize, some()).prop_map(|(pick, bytes)| Action::ConsumeAtServer(pick, bytes)),
        10 => (0..8_usize, some()).prop_map(|(pick, bytes)| Action::ConsumeAtClient(pick, bytes)),
        1 => (0..20_usize).prop_map(Action::ResetByServer),
        1 => (0..20_usize).prop_map(Action::ResetByClient),
        1 => Just(Action::Ping),
        1 => prop_oneof![9 => Just(Action::Ping), 1 => Just(Action::GoAway)],
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let window = prop_oneof![Just(64 * 1024), 500..70_000_u32, Just(1 << 20)];
    (window, prop_oneof![Just(0), 65_535..200_000_u32], 1..30_u32, 0..100_000_usize).prop_map(
        |(stream_window_bytes, connection_window_bytes, streams_max, output_bytes_max)| Settings {
            stream_window_bytes,
            connection_window_bytes,
            streams_max,
            output_bytes_max,
            ..Default::default()
        },
    )
}

fn act(client: &mut Endpoint, server: &mut Endpoint, action: Action) {
    match action {
        Action::Open { body, with_trailers } => client.open(body, with_trailers),
        Action::ToServer(bytes) => transfer(client, server, bytes),
        Action::ToClient(bytes) => transfer(server, client, bytes),
        Action::ConsumeAtServer(pick, bytes) => server.consume(pick, bytes),
        Action::ConsumeAtClient(pick, bytes) => client.consume(pick, bytes),
        Action::ResetByServer(pick) => server.reset(pick),
        Action::ResetByClient(pick) => client.reset(pick),
        Action::Ping => client.connection.ping(),
        Action::GoAway => server.connection.go_away(GoAway::Graceful),
    }
}

/// Lets everything that is under way arrive, and everything that is held be consumed, until nothing moves.
fn settle(client: &mut Endpoint, server: &mut Endpoint) {
    for _ in 0..100_000 {
        transfer(client, server, usize::MAX);
        transfer(server, client, usize::MAX);
        for end in [&mut *client, &mut *server] {
            for (id, exchange) in &mut end.exchanges {
                end.connection.consumed(*id, std::mem::take(&mut exchange.held));
            }
        }
        if !client.connection.has_output() && !server.connection.has_output() {
            return;
        }
    }
    panic!("it never settles");
}

/// Every body that nobody reset is whole, and nothing is left of it.
fn check_all_is_whole(one: &Endpoint, other: &Endpoint) {
    for (id, exchange) in &one.exchanges {
        let Some(theirs) = other.exchanges.get(id) else {
            assert!(exchange.is_reset, "{id:?} is not known to the other");
            continue;
        };
        if exchange.is_reset || theirs.is_reset {
            continue;
        }
        assert!(exchange.has_sent_end && theirs.has_received_end, "{id:?}: {exchange:?} {theirs:?}");
        assert_eq!(theirs.received, exchange.body, "{id:?}");
    }
    assert!(one.connection.is_idle(), "{:?}", one.connection.statuses().collect::<Vec<_>>());
    assert_eq!(one.connection.receive_window.outstanding(), 0, "given back");
    let agreed = other.connection.send_window.available();
    assert_eq!(one.connection.receive_window.left(), agreed, "both know the same window");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..Default::default() })]

    #[test]
    fn nothing_is_lost_reordered_or_leaked(
        (ours, theirs) in (settings(), settings()),
        actions in prop::collection::vec(action(), 0..300),
    ) {
        let mut client = Endpoint::new(Role::Client, ours);
        let mut server = Endpoint::new(Role::Server, theirs);
        for action in actions {
            act(&mut client, &mut server, action);
            for end in [&client, &server] {
                prop_assert!(end.connection.output_bytes() < end.connection.settings.output_bytes_max + 64 * 1024);
            }
        }
        settle(&mut client, &mut server);
        check_all_is_whole(&client, &server);
        check_all_is_whole(&server, &client);
    }
}

#[test]
fn a_window_of_one_byte_is_slow_and_nothing_else() {
    let tiny = Settings {
        stream_window_bytes: 1,
        connection_window_bytes: 0,
        window_updates: crate::h2::Rate { burst: 20_000, per_second: 0 },
        ..Default::default()
    };
    let mut client = Endpoint::new(Role::Client, tiny);
    let mut server = Endpoint::new(Role::Server, tiny);
    settle(&mut client, &mut server);
    client.open(2000, true);
    settle(&mut client, &mut server);
    check_all_is_whole(&client, &server);
    check_all_is_whole(&server, &client);
}

#[test]
fn the_round_trip_of_a_graceful_end_loses_no_request() {
    let mut client = Endpoint::new(Role::Client, Settings::default());
    let mut server = Endpoint::new(Role::Server, Settings::default());
    settle(&mut client, &mut server);
    client.open(10, false);
    server.connection.go_away(GoAway::Graceful);
    client.open(10, true);
    settle(&mut client, &mut server);
    check_all_is_whole(&client, &server);
    assert!(client.exchanges.values().all(|exchange| !exchange.is_reset && exchange.has_received_end));
    assert_eq!(server.connection.leaving, Leaving::Final(StreamId(3)));
}

#[test]
fn a_connection_that_does_nothing_is_small() {
    let bytes = size_of::<Connection>();
    assert!(bytes <= 2048, "{bytes}");
}

#[test]
fn a_failed_connection_stays_failed_and_says_so_once() {
    let rate = Rate { burst: 0, per_second: 0 };
    let mut server = Endpoint::new(Role::Server, Settings { settings_frames: rate, ..Default::default() });
    let mut client = Endpoint::new(Role::Client, Settings::default());
    client.connection.swap_output(&mut client.written);
    let mut at = 0;
    let mut outcomes = Vec::new();
    while outcomes.len() < 3 {
        let outcome = server.connection.receive(&client.written[at..], &mut server.head, Duration::ZERO);
        at += outcome.as_ref().map_or(0, |(taken, _)| *taken);
        outcomes.push(outcome.map(|_| ()));
    }
    assert_eq!(
        outcomes,
        [Ok(()), Err(Violation::Flood(Flood::Settings)), Err(Violation::Flood(Flood::Settings))]
    );
    let mut written = Vec::new();
    server.connection.swap_output(&mut written);
    let go_aways = written.windows(9).filter(|frame| frame[..4] == [0, 0, 8, 7]).count();
    assert_eq!(go_aways, 1);
}
