//! What the streams of a connection share: the state machine of the protocol, and what has arrived for each stream.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use spurline_http::{
    Error, Head,
    h2::{
        Connection, End, ErrorCode, Event, GoAway, Gone, HeadMeta, ResetBy, Role, Settings, StreamId,
        Violation,
    },
};
use spurline_telemetry::metrics::{By, Counter, Gauge, Shard, Side};

use super::{
    Windows,
    driver::REQUESTS_AT_ONCE,
    inboxes::{Inbox, Inboxes, Place},
    output::Apart,
    windows::Share,
};
use crate::{
    buffer::{self, Buffer},
    heads::Heads,
};

/// One HTTP/2 connection, apart from its socket.
#[derive(Debug)]
pub(crate) struct Session {
    state: RefCell<State>,
    epoch: Instant,
    shard: Rc<Shard>,
    heads: Rc<Heads>,
    share: Share,
    /// Requests of its streams that upstreams have or are to have.
    held: Rc<Cell<u32>>,
    side: Side,
}

/// What [`Session`] guards.
#[derive(Debug)]
pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) inboxes: Inboxes,
    /// Data that goes between what the connection has to send.
    pub(super) apart: VecDeque<Apart>,
    driver: Option<Waker>,
    /// The driver knows that there is something to do.
    is_called: bool,
    /// The socket is gone, or the peer broke the protocol.
    is_lost: bool,
    readiness: Option<Readiness>,
    /// When something was received last.
    heard: Instant,
    /// Who waits for that.
    ready: Option<Waker>,
    /// Streams were given something.
    has_news: bool,
    /// What the next head is read into.
    head: Head,
}

/// Whether a peer speaks HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It has announced its settings.
    Ready,
    /// What it said first is something else.
    Foreign,
    /// It ended the connection before it said anything.
    Lost,
}

/// How a stream was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection is gone.
    Connection,
    /// The peer said that it did not process the request (RFC 9113 section 8.7).
    Refused,
    Reset(ErrorCode),
}

/// A request that a client has sent.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: StreamId,
    pub(crate) place: Place,
    pub(crate) head: Head,
    pub(crate) meta: HeadMeta,
    pub(crate) end: End,
    /// It breaks a limit: it is to be answered, its body is not delivered.
    pub(crate) refusal: Option<Error>,
}

// === impl Session ===

impl Session {
    pub(crate) fn new(
        role: Role,
        settings: Settings,
        (shard, heads, windows): (&Rc<Shard>, &Rc<Heads>, &Rc<Windows>),
    ) -> Rc<Self> {
        let side = match role {
            Role::Client => Side::Upstream,
            Role::Server => Side::Downstream,
        };
        shard.inc(Counter::Http2Connections(side));
        shard.gauge_add(Gauge::Http2ConnectionsActive(side), 1);
        Rc::new(Self {
            state: RefCell::new(State {
                connection: Connection::new(role, settings),
                inboxes: Inboxes::default(),
                apart: VecDeque::new(),
                driver: None,
                is_called: false,
                is_lost: false,
                readiness: None,
                heard: Instant::now(),
                ready: None,
                has_news: false,
                head: Head::default(),
            }),
            epoch: Instant::now(),
            shard: Rc::clone(shard),
            heads: Rc::clone(heads),
            share: windows.share(settings.connection_window_bytes),
            held: Rc::default(),
            side,
        })
    }

    pub(super) fn with<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        action(&mut self.state.borrow_mut())
    }

    /// Changes what is to be sent, and sees to it that it is sent.
    pub(super) fn send<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.borrow_mut();
        let done = action(&mut state);
        if state.connection.has_output() {
            state.call_driver();
        }
        done
    }

    /// Whether a request can be sent now.
    pub(crate) fn can_open(&self) -> bool {
        self.with(|state| {
            state.readiness == Some(Readiness::Ready) && !state.is_lost && state.connection.can_open().is_ok()
        })
    }

    /// Waits until it is known whether the peer speaks HTTP/2. For one task at a time.
    pub(crate) async fn ready(&self) -> Readiness {
        poll_fn(|cx| {
            self.with(|state| match state.readiness {
                Some(readiness) => Poll::Ready(readiness),
                None => {
                    state.ready = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
    }

    pub(super) fn ping(&self) {
        self.send(|state| state.connection.ping());
    }

    pub(crate) fn takes_connect_protocol(&self) -> bool {
        self.with(|state| state.connection.peer_takes_connect_protocol())
    }

    /// Whether no request can be sent any more.
    pub(crate) fn is_over(&self) -> bool {
        self.with(|state| state.is_lost || state.connection.is_going_away())
    }

    /// Streams that somebody serves or waits for.
    pub(crate) fn streams(&self) -> usize {
        self.with(|state| state.inboxes.len())
    }

    /// Whether nothing of a stream is left, not even data that nobody has taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.with(|state| state.connection.is_idle())
    }

    /// Whether the peer has acknowledged our settings.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.with(|state| state.connection.is_acknowledged())
    }

    /// Whether no stream will be opened any more: the peer said so, or those that it opens from now on are ignored.
    pub(crate) fn is_final(&self) -> bool {
        self.with(|state| state.connection.is_final() || state.connection.is_left())
    }

    pub(crate) fn go_away(&self, how: GoAway) {
        self.shard.inc(Counter::Http2GoAways(self.side, By::Proxy));
        self.send(|state| state.connection.go_away(how));
    }

    /// Takes no more requests if nothing has been heard since then: the upstream may be gone without a word.
    pub(crate) fn leave_if_silent(&self, since: Instant) {
        if self.with(|state| state.heard < since) && !self.is_over() {
            self.go_away(GoAway::Now(ErrorCode::NO_ERROR));
        }
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Heads that are kept for their memory.
    pub(super) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// What its streams have of what windows may grow by.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    pub(super) fn held(&self) -> &Rc<Cell<u32>> {
        &self.held
    }

    /// What a peer may send at first on a stream.
    pub(super) fn window_bytes(&self) -> u32 {
        self.with(|state| state.connection.window_bytes())
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Ends every stream: there is no connection any more.
    pub(super) fn lose(&self) {
        self.with(|state| {
            state.is_lost = true;
            state.settle(Readiness::Lost);
            state.inboxes.lose(Loss::Connection, |_| true);
        });
    }

    /// Takes what `input` holds off it, or as much as fills `requests`; returns how much that was.
    ///
    /// # Errors
    /// The peer broke the protocol. What tells it so is in the output.
    pub(super) fn receive(
        &self,
        input: &mut Buffer,
        now: Instant,
        requests: &mut Vec<Opened>,
    ) -> Result<usize, Violation> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.heard = now;
        let now = now.saturating_duration_since(self.epoch);
        let mut head = std::mem::take(&mut state.head);
        let mut used = 0;
        while requests.len() < REQUESTS_AT_ONCE {
            let received = state.connection.receive(input.data(), &mut head, now);
            let (count, event) = received.inspect_err(|violation| self.note_violation(state, *violation))?;
            used += count;
            if let Event::Data { id, range, end } = event {
                state.deliver_data(id, input, range, end);
                continue;
            }
            input.consume(count);
            match event {
                Event::NeedMore => break,
                Event::Nothing => {}
                event => {
                    if let Some(opened) = self.dispatch(state, &event, &mut head) {
                        requests.push(opened);
                    }
                }
            }
        }
        state.head = head;
        Ok(used)
    }

    /// Brings an event other than data to its stream. Returns a request that opens one.
    fn dispatch(&self, state: &mut State, event: &Event, head: &mut Head) -> Option<Opened> {
        match *event {
            Event::Head { id, end, meta } if self.side == Side::Downstream => {
                let place = self.open(state, id, end);
                let head = std::mem::replace(head, self.heads.take());
                return Some(Opened { id, place, head, meta, end, refusal: None });
            }
            Event::Refused { id, error } => {
                let (meta, end) = (HeadMeta::default(), End::Stream);
                let place = self.open(state, id, end);
                return Some(Opened { id, place, head: Head::default(), meta, end, refusal: Some(error) });
            }
            Event::Head { id, end, meta } => {
                let head = std::mem::replace(head, self.heads.take());
                state.deliver(id, |inbox| {
                    inbox.response = Some(super::Response { head, meta });
                    inbox.is_whole |= end == End::Stream;
                });
            }
            Event::Interim { id } => {
                let response = super::Response {
                    head: std::mem::replace(head, self.heads.take()),
                    meta: HeadMeta::default(),
                };
                state.deliver(id, |inbox| inbox.interims.push_back(response));
            }
            Event::Trailers { id } => {
                let trailers = std::mem::replace(head, self.heads.take());
                state.deliver(id, |inbox| {
                    inbox.trailers = Some(trailers);
                    inbox.is_whole = true;
                });
            }
            Event::Reset { id, code, by } => {
                let by = if by == ResetBy::Peer { By::Peer } else { By::Proxy };
                self.shard.inc(Counter::Http2Resets(self.side, by));
                let refused = code == ErrorCode::REFUSED_STREAM && self.side == Side::Upstream;
                let loss = if refused { Loss::Refused } else { Loss::Reset(code) };
                state.deliver(id, |inbox| inbox.lose(loss));
            }
            Event::GoAway { last, .. } => {
                self.shard.inc(Counter::Http2GoAways(self.side, By::Peer));
                // What a client says there is about streams that were pushed to it, and there are none.
                if self.side == Side::Upstream {
                    state.inboxes.lose(Loss::Refused, |id| id > last);
                }
            }
            Event::Settings => {
                state.settle(Readiness::Ready);
            }
            Event::Acknowledged | Event::Pong | Event::Data { .. } | Event::NeedMore | Event::Nothing => {}
        }
        None
    }

    fn open(&self, state: &mut State, id: StreamId, end: End) -> Place {
        self.shard.inc(Counter::Http2Streams(self.side));
        state.lend_output();
        self.shard.gauge_add(Gauge::Http2StreamsActive(self.side), 1);
        state.inboxes.insert(id, end == End::Stream)
    }

    fn note_violation(&self, state: &mut State, violation: Violation) {
        state.settle(Readiness::Foreign);
        self.shard.inc(Counter::Http2ConnectionErrors(self.side));
        if let Violation::Flood(flood) = violation {
            self.shard.inc(Counter::Http2Floods(self.side, super::driver::flood_label(flood)));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shard.gauge_sub(Gauge::Http2ConnectionsActive(self.side), 1);
        // Streams that nobody has begun to serve.
        let left = self.streams() as u64;
        self.shard.gauge_sub(Gauge::Http2StreamsActive(self.side), left);
    }
}

// === impl State ===

impl State {
    /// Says whether the peer speaks HTTP/2. What was said first holds.
    fn settle(&mut self, readiness: Readiness) {
        self.readiness.get_or_insert(readiness);
        if let Some(waiting) = self.ready.take() {
            waiting.wake();
        }
    }

    /// Sees to it that the driver runs.
    fn call_driver(&mut self) {
        if !std::mem::replace(&mut self.is_called, true)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// The driver runs in this task.
    pub(super) fn answer_call(&mut self, cx: &Context<'_>) {
        self.is_called = false;
        if self.driver.as_ref().is_none_or(|driver| !driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }

    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether streams were given something since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Gives the connection memory for what it is going to send, of which it has none while it is idle.
    pub(super) fn lend_output(&mut self) {
        if self.inboxes.is_empty() && !self.connection.has_output() {
            let mut spare = buffer::spare();
            self.connection.swap_output(&mut spare);
        }
    }

    /// Lets the driver know when no stream is left.
    pub(super) fn note_idle(&mut self) {
        if self.inboxes.is_empty() {
            self.call_driver();
        }
    }

    /// Sends as much of `data` as is allowed now, and returns how much. It is written from where it is if all of it goes and
    /// it is most of its buffer: less memory waits than twice what may.
    pub(super) fn send_data(&mut self, id: StreamId, data: &mut Buffer, end: End) -> Result<usize, Gone> {
        let bytes = data.len();
        if data.is_mostly_data()
            && let Some(at) = self.connection.send_data_apart(id, bytes, end)?
        {
            self.apart.push_back(Apart { at, data: std::mem::take(data) });
            return Ok(bytes);
        }
        let sent = self.connection.send_data(id, data.data(), end)?;
        data.consume(sent);
        Ok(sent)
    }

    /// Wakes the streams that may send.
    pub(super) fn wake_writable(&mut self) {
        while let Some(id) = self.connection.next_writable() {
            match self.inboxes.of(id) {
                Some(inbox) => inbox.wake(),
                // Nobody is left who could use its turn.
                None => self.connection.reset(id, ErrorCode::CANCEL),
            }
        }
    }

    fn deliver(&mut self, id: StreamId, put: impl FnOnce(&mut Inbox)) {
        if let Some(inbox) = self.inboxes.of(id) {
            put(inbox);
            inbox.wake();
            self.has_news = true;
        }
    }

    /// Takes data that ends there off the front of `input`.
    fn deliver_data(&mut self, id: StreamId, input: &mut Buffer, range: Range<usize>, end: End) {
        match self.inboxes.of(id) {
            Some(inbox) => {
                inbox.data.receive(input, range);
                inbox.is_whole |= end == End::Stream;
                inbox.wake();
                self.has_news = true;
            }
            None => {
                input.consume(range.end);
                self.connection.consumed(id, range.len());
            }
        }
    }
}
