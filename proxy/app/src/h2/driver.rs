//! What moves the bytes of a session's socket.

use std::{
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use spurline_http::h2::{self, Connection};
use spurline_net::Transport;
use spurline_telemetry::metrics::{self, Side};

use super::{Opened, Session, output::Output, session::State};
use crate::buffer::{self, Amount, Buffer};

/// A session's socket, with the bytes that are on their way.
#[derive(Debug)]
pub(crate) struct Driver {
    session: Rc<Session>,
    transport: Transport,
    input: Buffer,
    output: Output,
    progress: Progress,
    /// Writing was put off for what the streams may have to add.
    is_deferred: bool,
    /// Since when a frame or a head has been incomplete.
    incomplete: Option<Instant>,
    /// Since when the peer has taken nothing of what is to be written.
    stalled: Option<Instant>,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on when the socket or a stream has something.
    Going,
    /// The peer broke the protocol, and is told so by what is still to be written.
    Broken,
    /// The same, by using up a budget.
    Flooded,
    /// The peer has ended the connection.
    Ended,
}

/// Requests that are taken from a connection before others have their turn.
pub(super) const REQUESTS_AT_ONCE: usize = 32;

// === impl Driver ===

impl Driver {
    /// `input` is what has been read already.
    pub(crate) fn new(session: Rc<Session>, transport: Transport, input: Buffer) -> Self {
        Self {
            session,
            transport,
            input,
            output: Output::default(),
            progress: Progress::Going,
            is_deferred: false,
            incomplete: None,
            stalled: None,
        }
    }

    pub(crate) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// When something was received last.
    pub(crate) fn heard(&self) -> Instant {
        self.session.with(|state| state.heard())
    }

    /// Since when a frame or a head has been incomplete.
    pub(crate) fn incomplete(&self) -> Option<Instant> {
        self.incomplete
    }

    /// Since when the peer has taken nothing of what is to be written.
    pub(crate) fn stalled(&self) -> Option<Instant> {
        self.stalled
    }

    /// Whether all that is to be sent has been handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
            && !self.transport.has_unsent()
            && !self.session.with(|state| state.connection.has_output())
    }

    /// Ends all streams. What there is for the peer is put with the rest of what is to be written.
    pub(crate) fn give_up(&mut self) {
        self.session.lose();
        let mut last = Output::default();
        self.session.with(|state| last.take(state));
        self.output.append(last);
    }

    /// The socket, and what is still to be written to it.
    pub(crate) fn into_parts(self) -> (Transport, Buffer) {
        (self.transport, self.output.into_buffer())
    }

    /// Moves what can be moved. Requests that arrive are put into `requests`.
    ///
    /// # Errors
    /// The socket failed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, requests: &mut Vec<Opened>) -> io::Result<Progress> {
        self.session.with(|state| state.answer_call(cx));
        loop {
            let read = self.read(cx, requests)?;
            if self.progress == Progress::Flooded && self.session.side() == Side::Downstream {
                // A client is told later.
                return Ok(self.progress);
            }
            if requests.len() >= REQUESTS_AT_ONCE {
                // The others have their turn before the rest of what was read.
                cx.waker().wake_by_ref();
                return Ok(self.progress);
            }
            let has_news = self.session.with(State::take_news) || !requests.is_empty();
            if has_news && !std::mem::replace(&mut self.is_deferred, true) && !self.is_closing() {
                // What the streams make of it goes out together with what is there already.
                cx.waker().wake_by_ref();
                return Ok(Progress::Going);
            }
            self.is_deferred = false;
            let written = self.write(cx)?;
            if !read && !written {
                break;
            }
        }
        if self.is_flushed() && self.session.streams() == 0 {
            // An idle connection holds no memory for what it might send.
            self.output = Output::default();
            buffer::recycle(self.session.with(|state| {
                state.apart = VecDeque::new();
                let mut spare = Vec::new();
                state.connection.swap_output(&mut spare);
                spare
            }));
        }
        Ok(self.progress)
    }

    fn is_closing(&self) -> bool {
        self.progress != Progress::Going
    }

    /// Reads until the socket has no more, or the peer takes too little of what is sent. Whether anything was read.
    fn read(&mut self, cx: &mut Context<'_>, requests: &mut Vec<Opened>) -> io::Result<bool> {
        let mut any = false;
        while !self.is_closing() {
            if !self.input.is_empty() {
                any |= self.receive(requests);
            }
            if requests.len() >= REQUESTS_AT_ONCE {
                break;
            }
            if self.is_closing() || !self.session.with(|state| state.connection.wants_input()) {
                break;
            }
            if self.input.is_full() {
                self.input.grow(Connection::INPUT_BYTES_MIN);
            }
            match self.fill(cx) {
                Poll::Ready(Ok(0)) => {
                    self.progress = Progress::Ended;
                    self.session.lose();
                }
                Poll::Ready(Ok(_)) => any = true,
                Poll::Ready(Err(error)) => {
                    self.session.lose();
                    return Err(error);
                }
                Poll::Pending => break,
            }
        }
        Ok(any)
    }

    /// Reads once. What is left of a large frame of data is read by itself, so that it need not be copied.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { session, transport, input, .. } = self;
        match session.with(|state| state.connection.large_data_bytes()) {
            Some(bytes) if input.is_empty() => input.poll_fill_up_to(cx, transport, bytes),
            _ => input.poll_fill(cx, transport, &mut Amount::Usual),
        }
    }

    /// Takes in what has been read. Whether any of it could be used.
    fn receive(&mut self, requests: &mut Vec<Opened>) -> bool {
        let now = Instant::now();
        let was_amid_head = self.session.with(|state| state.connection.is_amid_head());
        match self.session.receive(&mut self.input, now, requests) {
            Ok(used) => {
                let is_amid =
                    !self.input.is_empty() || self.session.with(|state| state.connection.is_amid_head());
                // What is incomplete now began now if something was completed before it.
                let earlier = self.incomplete.filter(|_| used == 0 || was_amid_head);
                self.incomplete = is_amid.then(|| earlier.unwrap_or(now));
                self.session.with(State::wake_writable);
                used > 0
            }
            Err(violation) => {
                tracing::debug!(%violation, "HTTP/2 connection broken by its peer");
                self.input.clear();
                self.progress = match violation {
                    h2::Violation::Flood(_) => Progress::Flooded,
                    _ => Progress::Broken,
                };
                self.give_up();
                true
            }
        }
    }

    /// Writes as much as the socket takes. Whether anything was written.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.output.is_empty() && self.session.with(|state| state.connection.has_output()) {
            self.session.with(|state| {
                self.output.take(state);
                state.wake_writable();
            });
        }
        if self.output.is_empty() && !self.transport.has_unsent() {
            return Ok(false);
        }
        match self.output.poll_flush(cx, &mut self.transport) {
            Poll::Ready(Ok(_)) => {
                self.stalled = None;
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                self.session.lose();
                Err(error)
            }
            Poll::Pending => {
                self.stalled.get_or_insert_with(Instant::now);
                Ok(false)
            }
        }
    }
}

pub(super) fn flood_label(flood: h2::Flood) -> metrics::Flood {
    match flood {
        h2::Flood::Answers => metrics::Flood::Answers,
        h2::Flood::Continuations => metrics::Flood::Continuations,
        h2::Flood::EmptyFrames => metrics::Flood::EmptyFrames,
        h2::Flood::ForcedResets => metrics::Flood::ForcedResets,
        h2::Flood::HeaderBytes => metrics::Flood::HeaderBytes,
        h2::Flood::Ignored => metrics::Flood::Ignored,
        h2::Flood::Pings => metrics::Flood::Pings,
        h2::Flood::Resets => metrics::Flood::Resets,
        h2::Flood::Settings => metrics::Flood::Settings,
        h2::Flood::WindowUpdates => metrics::Flood::WindowUpdates,
    }
}
