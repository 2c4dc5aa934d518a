//! How streams and the connection end.

use super::{Connection, Event, GoAway, Leaving, ResetBy, Role};
use crate::h2::{
    ErrorCode, StreamId, Violation,
    frame::{self, Kind},
    stream::{Closing, Progress, Stream, Turn},
};

/// What a frame is on a stream that is not there.
pub(super) enum Absent {
    /// It may have been under way when the stream was closed.
    Ignored,
    /// An error of the stream, [`Violation::StreamClosed`].
    Reset,
    /// An error of the connection.
    Violation(Violation),
}

/// Frames on a stream that may still be under way when we reset it, those of data not counted: an interim and a final
/// head, trailers, a reset.
const LATE_FRAMES: u32 = 4;

/// What the `PING` carries whose answer says that the peer has seen our first `GOAWAY`.
const GRACEFUL_PING: u64 = u64::from_be_bytes(*b"graceful");

impl Connection {
    /// Resets a stream, or forgets one that has ended: whoever is done with a stream calls this unless it has consumed
    /// all its data. One that is gone is none to reset.
    pub fn reset(&mut self, id: StreamId, code: ErrorCode) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.is_closed() {
            self.forget_ended(id);
        } else {
            frame::write_reset(id, code, &mut self.output);
            self.forget_reset(id);
        }
    }

    /// Resets a stream, there or not, for what the peer did.
    ///
    /// # Errors
    /// [`Flood::ForcedResets`](crate::h2::Flood::ForcedResets), which only a client can exceed: a server can have no
    /// more streams reset than we opened, and what some requests get must not be at the cost of the others.
    pub(super) fn reset_for(&mut self, id: StreamId, violation: Violation) -> Result<Event, Violation> {
        if self.role == Role::Server {
            self.budgets.forced_resets.charge(self.now)?;
        }
        let code = violation.code();
        self.answer(|output| frame::write_reset(id, code, output))?;
        if !self.forget_reset(id) {
            self.closed.remember(id, Closing::ResetByUs);
        }
        Ok(Event::Reset { id, code, by: ResetBy::Us(violation) })
    }

    /// What a frame is on a stream that is not there (RFC 9113 sections 5.1 and 5.1.1).
    pub(super) fn absent(&self, id: StreamId) -> Absent {
        let is_idle = match self.role {
            Role::Client => id >= self.next,
            Role::Server => id > self.last,
        };
        if is_idle || !id.is_client() {
            return Absent::Violation(Violation::StreamId);
        }
        if matches!(self.leaving, Leaving::Final(last) if self.role == Role::Server && id > last) {
            return Absent::Ignored;
        }
        match self.closed.closing(id) {
            None => Absent::Violation(Violation::StreamId),
            Some(Closing::Ended) => Absent::Violation(Violation::StreamClosed),
            Some(Closing::ResetByPeer) => Absent::Reset,
            Some(Closing::ResetByUs) => Absent::Ignored,
        }
    }

    /// A frame without an effect. It costs nothing while it can be one that was under way when we reset a stream.
    pub(super) fn ignore(&mut self) -> Result<Event, Violation> {
        match self.late_excused.checked_sub(1) {
            Some(left) => self.late_excused = left,
            None => self.budgets.ignored.charge(self.now)?,
        }
        Ok(Event::Nothing)
    }

    pub(super) fn end_receiving(&mut self, id: StreamId) {
        self.end(id, |stream| stream.receiving = Progress::Done);
    }

    pub(super) fn end_sending(&mut self, id: StreamId) {
        self.end(id, |stream| stream.sending = Progress::Done);
    }

    /// Ends a direction. A stream of which both have ended stays while the caller holds data of it, so that the window
    /// of the connection bounds what callers hold.
    fn end(&mut self, id: StreamId, apply: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let was_closed = stream.is_closed();
        apply(stream);
        if !stream.is_closed() || was_closed {
            return;
        }
        let held = stream.held;
        self.streams.count_closed();
        if held == 0 {
            self.forget_ended(id);
        }
    }

    /// Every stream that ends in order lets the client reset another: proxies of many users reset what these give up.
    pub(super) fn forget_ended(&mut self, id: StreamId) {
        self.budgets.resets.earn(1);
        self.forget(id, Closing::Ended);
    }

    /// Whether there was such a stream.
    pub(super) fn forget_reset(&mut self, id: StreamId) -> bool {
        self.forget(id, Closing::ResetByUs)
    }

    pub(super) fn forget(&mut self, id: StreamId, closing: Closing) -> bool {
        let Some(&Stream { held, turn, .. }) = self.streams.remove(id) else { return false };
        self.give_back(held);
        match turn {
            Turn::Waiting => self.queue.remove(id),
            Turn::Granted(round) => self.queue.release(round),
            Turn::None | Turn::WindowEmpty => {}
        }
        if closing == Closing::ResetByUs {
            self.late_excused = self.late_excused.saturating_add(LATE_FRAMES);
        }
        self.closed.remember(id, closing);
        true
    }

    /// Leaves the connection (RFC 9113 section 6.8). The caller closes it once it [is idle](Connection::is_idle) and the
    /// output is written; how long that may take is for the caller to say.
    pub fn go_away(&mut self, how: GoAway) {
        match (how, self.leaving) {
            (GoAway::Graceful, Leaving::Not) if self.role == Role::Server => {
                self.leaving = Leaving::Announced;
                frame::write_go_away(StreamId::MAX, ErrorCode::NO_ERROR, &mut self.output);
                let ping = GRACEFUL_PING.to_be_bytes();
                frame::write_control(Kind::Ping, 0, StreamId::CONNECTION, &ping, &mut self.output);
            }
            (GoAway::Graceful, Leaving::Not) => self.go_away(GoAway::Now(ErrorCode::NO_ERROR)),
            (GoAway::Graceful, _) => {}
            (GoAway::Now(code), leaving) => {
                let last = match leaving {
                    Leaving::Final(last) => last,
                    Leaving::Not | Leaving::Announced => self.last,
                };
                self.leaving = Leaving::Final(last);
                frame::write_go_away(last, code, &mut self.output);
            }
        }
    }

    /// The answer to a `PING` that was ours arrived; whether it was the one of [`GoAway::Graceful`].
    pub(super) fn finish_going_away(&mut self, ping: u64) -> bool {
        let is_ours = ping == GRACEFUL_PING && self.leaving == Leaving::Announced;
        if is_ours {
            self.go_away(GoAway::Now(ErrorCode::NO_ERROR));
        }
        is_ours
    }

    pub(super) fn fail(&mut self, violation: Violation) {
        self.failed = Some(violation);
        self.go_away(GoAway::Now(violation.code()));
    }

    /// Writes what the peer made us write.
    ///
    /// # Errors
    /// [`Flood::Answers`](crate::h2::Flood::Answers).
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Violation> {
        let before = self.output.len();
        write(&mut self.output);
        self.answer_bytes += self.output.len() - before;
        if self.answer_bytes > self.settings.answer_bytes_max {
            return Err(Violation::Flood(crate::h2::Flood::Answers));
        }
        Ok(())
    }
}
