//! Our side: the connection, driven as a relay would drive it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use fastrand::Rng;
use spurline_http::{
    Head, Limits, Name, Start, h1,
    h2::{Connection, End, ErrorCode, Event, GoAway, ResetBy, Role, Scheme, Settings, StreamId},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use crate::message::{Fate, Fields, Message};

/// One request with its response.
struct Exchange {
    number: u64,
    received: Message,
    has_ended: bool,
    /// What is left to be sent; `None` before the head.
    sending: Option<Message>,
    is_answered: bool,
    is_reset: bool,
    sent: usize,
    /// Bytes that were received and not yet passed on.
    held: usize,
}

pub(crate) struct Ours {
    connection: Connection,
    role: Role,
    rng: Rng,
    head: Head,
    exchanges: BTreeMap<StreamId, Exchange>,
    /// Requests that have no stream yet.
    waiting: VecDeque<u64>,
    input: Vec<u8>,
    written: Vec<u8>,
    written_at: usize,
    /// The peer has said how many streams there may be.
    is_told: bool,
    is_left: bool,
    start: Instant,
}

// === impl Ours ===

impl Ours {
    pub(crate) fn new(role: Role, settings: Settings, rng: Rng) -> Self {
        Self {
            connection: Connection::new(role, settings),
            role,
            rng,
            head: Head::default(),
            exchanges: BTreeMap::new(),
            waiting: VecDeque::new(),
            input: Vec::new(),
            written: Vec::new(),
            written_at: 0,
            is_told: false,
            is_left: false,
            start: Instant::now(),
        }
    }

    pub(crate) fn ask(&mut self, numbers: impl Iterator<Item = u64>) {
        self.waiting.extend(numbers);
    }

    /// Runs until the peer closes, or all that was asked is answered.
    pub(crate) async fn run(mut self, io: DuplexStream) -> Self {
        let (mut reader, mut writer) = tokio::io::split(io);
        loop {
            self.open();
            self.pass_on();
            self.send_what_fits();
            if self.role == Role::Client && !self.is_left && self.is_answered() {
                self.is_left = true;
                self.connection.go_away(GoAway::Now(ErrorCode::NO_ERROR));
            }
            if self.written_at == self.written.len() && self.connection.has_output() {
                self.connection.swap_output(&mut self.written);
                self.written_at = 0;
                continue;
            }
            if self.is_left && self.written_at == self.written.len() {
                writer.shutdown().await.expect("the pipe is there");
            }
            if !self.step(&mut reader, &mut writer).await {
                return self;
            }
        }
    }

    /// Reads or writes a piece; false once the peer has closed.
    async fn step(
        &mut self,
        reader: &mut ReadHalf<DuplexStream>,
        writer: &mut WriteHalf<DuplexStream>,
    ) -> bool {
        let piece = if self.rng.bool() { self.rng.usize(1..50) } else { self.rng.usize(50..40_000) };
        let mut chunk = vec![0; piece];
        let rest = &self.written[self.written_at..];
        let rest = &rest[..rest.len().min(piece)];
        let holds_data = self.exchanges.values().any(|exchange| exchange.held > 0);
        tokio::select! {
            count = writer.write(rest), if !rest.is_empty() => {
                // Whoever has all it asked for leaves, and may have left something to be read.
                self.written_at += count.unwrap_or(rest.len());
            }
            count = reader.read(&mut chunk), if self.connection.wants_input() => {
                let count = count.expect("the pipe is there");
                self.input.extend(&chunk[..count]);
                self.receive();
                return count > 0;
            }
            () = tokio::task::yield_now(), if holds_data => {}
        }
        true
    }

    fn is_answered(&self) -> bool {
        self.waiting.is_empty() && self.exchanges.values().all(Exchange::is_over)
    }

    fn receive(&mut self) {
        let mut at = 0;
        loop {
            let rest = &self.input[at..];
            let (taken, event) = self
                .connection
                .receive(rest, &mut self.head, self.start.elapsed())
                .unwrap_or_else(|violation| {
                    panic!(
                        "a peer that errs in nothing is blamed: {violation:?} {:?}",
                        &rest[..rest.len().min(9)]
                    )
                });
            let base = at;
            at += taken;
            if event == Event::NeedMore {
                break;
            }
            self.react(event, base);
        }
        self.input.drain(..at);
    }

    fn react(&mut self, event: Event, base: usize) {
        match event {
            Event::Head { id, end, .. } => {
                if self.role == Role::Server {
                    let number = Message::number(std::str::from_utf8(self.head.target()).unwrap());
                    assert!(self.head.method().is("POST"));
                    assert_eq!(self.head.value(Name::Host), Some(&b"a.test:80"[..]));
                    self.exchanges.insert(id, Exchange::new(number));
                }
                let fields = fields(&self.head);
                let exchange = self.exchanges.get_mut(&id).expect("it was opened");
                exchange.received.fields = fields;
                exchange.received.status = self.head.status();
                if self.role == Role::Server && self.rng.bool() {
                    self.answer(id);
                }
                self.ended(id, end);
            }
            Event::Data { id, range, end } => {
                let data = &self.input[base + range.start..base + range.end];
                let exchange = self.exchanges.get_mut(&id).expect("it was opened");
                exchange.received.body.extend(data);
                exchange.held += data.len();
                self.ended(id, end);
            }
            Event::Trailers { id } => {
                let trailers = fields(&self.head);
                self.exchanges.get_mut(&id).expect("it was opened").received.trailers = trailers;
                self.ended(id, End::Stream);
            }
            Event::Settings => self.is_told = true,
            Event::Reset { id, by: ResetBy::Peer, .. } => {
                // Its number is not known where it was reset before we read it.
                let Some(exchange) = self.exchanges.get_mut(&id) else { return };
                assert_ne!(Fate::of(exchange.number), Fate::Whole, "{} is reset", exchange.number);
                exchange.reset();
            }
            Event::Nothing | Event::Acknowledged | Event::GoAway { .. } => {}
            event => panic!("{event:?} was not to be expected"),
        }
    }

    fn ended(&mut self, id: StreamId, end: End) {
        if end == End::More {
            return;
        }
        let exchange = self.exchanges.get_mut(&id).expect("it was opened");
        assert!(!std::mem::replace(&mut exchange.has_ended, true), "it ends twice");
        if self.role == Role::Server && !exchange.is_answered {
            self.answer(id);
        }
    }

    /// Sends the head of a response, with an interim one before it at times.
    fn answer(&mut self, id: StreamId) {
        let exchange = self.exchanges.get_mut(&id).expect("it was opened");
        let response = Message::response(exchange.number);
        let mut head = Head::default();
        if self.rng.u8(..4) == 0 {
            head.start_response(103);
            self.connection.send_head(id, &head, End::More).expect("the stream is open");
        }
        head.start_response(response.status);
        append(&mut head, &response.fields);
        let end = end_of_head(&response);
        self.connection.send_head(id, &head, end).expect("the stream is open");
        exchange.sending = (end == End::More).then_some(response);
        exchange.is_answered = true;
        self.send(id);
    }

    /// Opens as many streams as there may be. Not before that is known: the crate takes trailers on a stream that it has
    /// just refused for an error of the connection.
    fn open(&mut self) {
        while self.is_told && self.connection.can_open().is_ok() {
            let Some(number) = self.waiting.pop_front() else { return };
            let request = Message::request(number);
            let line = format!("POST {} HTTP/1.1\r\nhost: a.test:80\r\n\r\n", Message::path(number));
            let mut head = Head::default();
            let read = h1::read_request(line.as_bytes(), &Limits::default(), &mut head);
            assert!(matches!(read, Ok(Some(_))) && head.start() == Start::Request);
            append(&mut head, &request.fields);
            let end = end_of_head(&request);
            let id = self.connection.open(&head, Scheme::Http, end).expect("it can be opened");
            let mut exchange = Exchange::new(number);
            exchange.sending = (end == End::More).then_some(request);
            self.exchanges.insert(id, exchange);
            self.send(id);
        }
    }

    fn send_what_fits(&mut self) {
        while let Some(id) = self.connection.next_writable() {
            self.send(id);
        }
    }

    /// Sends as much of a message as is taken.
    fn send(&mut self, id: StreamId) {
        let exchange = self.exchanges.get_mut(&id).expect("it was opened");
        let Some(message) = &mut exchange.sending else { return };
        let end = if message.trailers.is_empty() { End::Stream } else { End::More };
        let taken = self.connection.send_data(id, &message.body, end).expect("the stream is open");
        message.body.drain(..taken);
        exchange.sent += taken;
        let fate = Fate::of(exchange.number);
        let patience = if self.role == Role::Client { fate.of_client() } else { fate.of_server() };
        if patience.is_some_and(|bytes| bytes < exchange.sent) {
            self.connection.reset(id, ErrorCode::CANCEL);
            return exchange.reset();
        }
        if !message.body.is_empty() {
            return;
        }
        if end == End::More {
            let mut trailers = Head::default();
            append(&mut trailers, &message.trailers);
            self.connection.send_trailers(id, &trailers).expect("the stream is open");
        }
        exchange.sending = None;
    }

    /// Passes on some of the data that is held.
    fn pass_on(&mut self) {
        for (id, exchange) in &mut self.exchanges {
            if exchange.held > 0 && self.rng.u8(..4) > 0 {
                let bytes = if self.rng.bool() { exchange.held } else { self.rng.usize(1..=exchange.held) };
                exchange.held -= bytes;
                self.connection.consumed(*id, bytes);
            }
        }
    }

    /// Every message that nobody gave up is what it was meant to be, and nothing is left. Returns how many these are.
    pub(crate) fn check_all(mut self, numbers: impl Iterator<Item = u64>) -> usize {
        for (id, exchange) in &mut self.exchanges {
            self.connection.consumed(*id, std::mem::take(&mut exchange.held));
        }
        assert!(self.connection.is_idle(), "{:?}", self.connection.statuses().collect::<Vec<_>>());
        let whole: BTreeMap<u64, &Exchange> =
            self.exchanges.values().filter(|one| !one.is_reset).map(|one| (one.number, one)).collect();
        for number in numbers.filter(|number| Fate::of(*number) == Fate::Whole) {
            assert!(whole.contains_key(&number), "{number} is missing");
        }
        for (number, exchange) in &whole {
            let expected = match self.role {
                Role::Client => Message::response(*number),
                Role::Server => Message::request(*number),
            };
            assert!(exchange.is_over(), "{number} is cut");
            exchange.received.assert_is(expected, &format!("{number}"));
        }
        whole.len()
    }
}

// === impl Exchange ===

impl Exchange {
    fn new(number: u64) -> Self {
        Self {
            number,
            received: Message::default(),
            has_ended: false,
            sending: None,
            is_answered: false,
            is_reset: false,
            sent: 0,
            held: 0,
        }
    }

    /// Nothing more is said about it.
    fn reset(&mut self) {
        (self.is_reset, self.sending, self.held) = (true, None, 0);
    }

    fn is_over(&self) -> bool {
        self.is_reset || (self.has_ended && self.sending.is_none())
    }
}

fn end_of_head(message: &Message) -> End {
    if message.body.is_empty() && message.trailers.is_empty() { End::Stream } else { End::More }
}

fn append(head: &mut Head, fields: &Fields) {
    for (name, value) in fields {
        head.append(name.as_bytes(), value).expect("it is a field");
    }
}

/// All fields but the authority.
fn fields(head: &Head) -> Fields {
    let pairs = head.pairs().filter(|(name, _)| !name.is_empty() && *name != b"host");
    pairs.map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec())).collect()
}
