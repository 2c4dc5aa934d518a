//! One stream, for the task that serves it.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use spurline_http::{
    Head,
    h2::{End, ErrorCode, HeadMeta, OpenError, Scheme, StreamId},
};
use spurline_telemetry::metrics::{By, Counter, Gauge, Side};

use super::{Loss, Session, inboxes::Place, windows::Window};
use crate::buffer::Buffer;

/// A response, final or interim.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) meta: HeadMeta,
}

/// One stream of a session. Dropping it ends the stream, whatever is missing.
#[derive(Debug)]
pub(crate) struct Stream {
    session: Rc<Session>,
    id: StreamId,
    place: Place,
    /// What is sent once all data is.
    ending: Option<Ending>,
    /// All that is to be sent was.
    has_ended: bool,
    /// Says why the stream ends before everything was sent.
    abort: ErrorCode,
    /// What the peer may send before it was passed on.
    window: Window,
    /// Bytes of data that were taken and not passed on yet.
    taken: usize,
}

/// A request that an upstream has or is to have, counted for the connection that it came on.
#[derive(Debug)]
pub(crate) struct Held(Rc<Cell<u32>>);

#[derive(Debug)]
enum Ending {
    Data,
    Trailers(Box<Head>),
}

// === impl Stream ===

impl Stream {
    /// The stream of a request that was received.
    pub(super) fn accepted(session: Rc<Session>, (id, place): (StreamId, Place)) -> Self {
        Self::new(session, (id, place), ErrorCode::INTERNAL_ERROR)
    }

    /// Sends a request on a stream of its own.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(crate) fn open(
        session: &Rc<Session>,
        head: &Head,
        scheme: Scheme,
        end: End,
    ) -> Result<Self, OpenError> {
        let opened = session.send(|state| {
            if state.is_lost() {
                return Err(OpenError::GoingAway);
            }
            state.lend_output();
            let id = state.connection.open(head, scheme, end)?;
            Ok((id, state.inboxes.insert(id, false)))
        })?;
        session.shard().inc(Counter::Http2Streams(Side::Upstream));
        session.shard().gauge_add(Gauge::Http2StreamsActive(Side::Upstream), 1);
        let mut stream = Self::new(Rc::clone(session), opened, ErrorCode::CANCEL);
        stream.has_ended = end == End::Stream;
        Ok(stream)
    }

    fn new(session: Rc<Session>, (id, place): (StreamId, Place), abort: ErrorCode) -> Self {
        let window = Window::new(session.window_bytes());
        Self { session, id, place, ending: None, has_ended: false, abort, window, taken: 0 }
    }

    /// Takes a response that has arrived.
    pub(crate) fn take_response(&mut self) -> Option<Response> {
        self.session.with(|state| {
            let inbox = state.inboxes.at(self.place)?;
            inbox.interims.pop_front().or_else(|| inbox.response.take())
        })
    }

    /// Whether everything has arrived and was taken, but for the trailers, which are put into `trailers`. `None`: not
    /// yet. `Some(true)`: there were trailers.
    pub(crate) fn take_end(&mut self, trailers: &mut Head) -> Option<bool> {
        self.session.with(|state| {
            let inbox = state.inboxes.at(self.place)?;
            if !inbox.is_whole || !inbox.data.is_empty() || inbox.response.is_some() {
                return None;
            }
            Some(inbox.trailers.take().map(|found| *trailers = found).is_some())
        })
    }

    /// Whether nothing more than the response's head is to come.
    pub(crate) fn is_whole(&self) -> bool {
        self.session.with(|state| {
            state
                .inboxes
                .at(self.place)
                .is_some_and(|inbox| inbox.is_whole && inbox.data.is_empty() && inbox.trailers.is_none())
        })
    }

    /// How the stream was lost, if it was.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.session.with(|state| state.inboxes.at(self.place)?.loss)
    }

    /// Whether the stream was lost, though nothing is read of it or written to it.
    pub(crate) fn poll_lost(&mut self, cx: &Context<'_>) -> bool {
        self.session.with(|state| {
            let Some(inbox) = state.inboxes.at(self.place) else { return true };
            inbox.watch(cx);
            inbox.loss.is_some()
        })
    }

    /// Moves data that has arrived into `input`, which must be empty: a buffer of it, and there may be more. Never 0: an end is told by [`Stream::take_end`].
    ///
    /// It also says that what was taken before has been passed on, so that the peer may send as much again: what is
    /// waiting here and at the caller is together never more than the stream's window.
    ///
    /// # Errors
    /// The stream was lost before everything had arrived.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, input: &mut Buffer) -> Poll<io::Result<usize>> {
        let Self { session, id, place, window, taken, .. } = self;
        session.send(|state| {
            if *taken > 0 && input.is_empty() {
                let bytes = std::mem::take(taken);
                state.connection.consumed(*id, bytes);
                let is_whole = state.inboxes.at(*place).is_none_or(|inbox| inbox.is_whole);
                if let Some(growth) = (!is_whole).then(|| session.share().pass(window, bytes)).flatten() {
                    state.connection.widen(*id, growth);
                }
            }
            let Some(inbox) = state.inboxes.at(*place) else { return Poll::Ready(Err(lost())) };
            if inbox.data.is_empty() || !input.is_empty() {
                // A client that has sent everything may give its request up; an upstream that has may want no more of it.
                if inbox.loss.is_some() && (!inbox.is_whole || session.side() == Side::Downstream) {
                    return Poll::Ready(Err(lost()));
                }
                inbox.watch(cx);
                return Poll::Pending;
            }
            *input = inbox.data.pop();
            *taken = input.len();
            Poll::Ready(Ok(input.len()))
        })
    }

    /// Sends a head; only data and an end can follow a final one.
    ///
    /// # Errors
    /// The stream was lost.
    pub(crate) fn send_head(&mut self, head: &Head, end: End) -> io::Result<()> {
        let sent = self.session.send(|state| state.connection.send_head(self.id, head, end));
        self.has_ended |= end == End::Stream;
        sent.map_err(|_| lost())
    }

    /// Ends what is sent, after the data there is.
    pub(crate) fn end(&mut self, trailers: Option<Head>) {
        if !self.has_ended {
            self.ending =
                Some(trailers.map_or(Ending::Data, |trailers| Ending::Trailers(Box::new(trailers))));
        }
    }

    /// Whether an end is still to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.ending.is_some()
    }

    /// Sends as much of `output` as the peer, the socket and the other streams allow now, and then the end. Returns how
    /// much data was sent.
    ///
    /// # Errors
    /// The stream was lost.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let Self { session, id, place, ending, has_ended, .. } = self;
        session.send(|state| {
            let is_lost = state.inboxes.at(*place).is_none_or(|inbox| inbox.loss.is_some());
            if is_lost && session.side() == Side::Downstream {
                return Poll::Ready(Err(lost()));
            }
            let end = if matches!(ending, Some(Ending::Data)) { End::Stream } else { End::More };
            let Ok(sent) = state.send_data(*id, output, end) else {
                return Poll::Ready(Err(lost()));
            };
            if output.is_empty() {
                if let Some(Ending::Trailers(trailers)) = ending
                    && state.connection.send_trailers(*id, trailers).is_err()
                {
                    return Poll::Ready(Err(lost()));
                }
                *has_ended |= ending.is_some();
                if let Some(Ending::Trailers(trailers)) = ending.take() {
                    session.heads().give(*trailers);
                }
                return Poll::Ready(Ok(sent));
            }
            if let Some(inbox) = state.inboxes.at(*place) {
                inbox.watch(cx);
            }
            if sent == 0 { Poll::Pending } else { Poll::Ready(Ok(sent)) }
        })
    }

    /// Counts a request that an upstream has or is to have, until the returned is dropped.
    pub(crate) fn hold(&self) -> Held {
        let held = Rc::clone(self.session.held());
        held.set(held.get() + 1);
        Held(held)
    }

    /// See [`Session::leave_if_silent`].
    pub(crate) fn leave_if_silent(&self, since: Instant) {
        self.session.leave_if_silent(since);
    }

    /// Says why the stream will have ended before everything was sent.
    pub(crate) fn set_abort(&mut self, code: ErrorCode) {
        self.abort = code;
    }
}

impl Held {
    /// How many more there are of the same connection.
    pub(crate) fn others(&self) -> u32 {
        self.0.get().saturating_sub(1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Self { session, id, place, has_ended, abort, window, .. } = self;
        session.share().give_back(window);
        // A response that is whole makes what is left of the request unwanted (RFC 9113 section 8.1).
        let code =
            if *has_ended && session.side() == Side::Downstream { ErrorCode::NO_ERROR } else { *abort };
        session.send(|state| {
            let Some(inbox) = state.inboxes.at(*place) else { return };
            session.shard().gauge_sub(Gauge::Http2StreamsActive(session.side()), 1);
            let is_cut = inbox.loss.is_none() && !(*has_ended && inbox.is_whole);
            state.inboxes.remove(*id, *place);
            if is_cut {
                session.shard().inc(Counter::Http2Resets(session.side(), By::Proxy));
            }
            state.connection.reset(*id, code);
            state.note_idle();
        });
    }
}

fn lost() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
