//! Frames that carry no message (RFC 9113 sections 6.3 to 6.5 and 6.7 to 6.9).

use std::time::Duration;

use super::{Connection, Event, ResetBy, Role, close::Absent};
use crate::h2::{
    ErrorCode, StreamId, Violation,
    flow::{ReceiveWindow, WINDOW_BYTES_INITIAL},
    frame::{self, FrameHeader, Kind},
    stream::{Closing, Progress, Turn},
};

/// A client that gives a request up later than this has waited for it, and is none that makes us work for nothing.
const RESET_EARLY: Duration = Duration::from_secs(1);

impl Connection {
    pub(super) fn read_settings(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Event, Violation> {
        if frame.has(frame::ACK) {
            return self.read_settings_ack(payload);
        }
        self.budgets.settings.charge(self.now)?;
        if self.reading == super::Reading::Settings {
            self.reading = super::Reading::Frame;
            // Without a word of it there is no limit (RFC 9113 section 6.5.2).
            self.peer.streams_max = u32::MAX;
        }
        let before = i64::from(self.peer.window_bytes);
        let peer = match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let Self { peer: settings, encoder, .. } = self;
        settings.apply(payload, peer, |bytes| encoder.set_peer_table_bytes(bytes))?;
        self.shift_send_windows(i64::from(self.peer.window_bytes) - before)?;
        self.answer(|output| {
            frame::write_control(Kind::Settings, frame::ACK, StreamId::CONNECTION, &[], output)
        })?;
        Ok(Event::Settings)
    }

    fn read_settings_ack(&mut self, payload: &[u8]) -> Result<Event, Violation> {
        if !payload.is_empty() {
            return Err(Violation::FrameSize);
        }
        if self.is_acknowledged {
            return Err(Violation::Setting);
        }
        self.is_acknowledged = true;
        let surplus = WINDOW_BYTES_INITIAL.saturating_sub(self.settings.stream_window_bytes);
        let Self { streams, output, .. } = self;
        streams.for_each_mut(|stream| {
            let increment = stream.receive_window.shrink(surplus);
            if let Some(increment) = increment.filter(|_| stream.receiving == Progress::Body) {
                frame::write_window_update(stream.id, increment, output);
            }
        });
        Ok(Event::Acknowledged)
    }

    /// The window of a stream that is opened now. Until our settings are acknowledged the peer may still go by the
    /// initial one (RFC 9113 section 6.9.3).
    pub(super) fn stream_window(&self) -> ReceiveWindow {
        let bytes = self.settings.stream_window_bytes;
        ReceiveWindow::new(if self.is_acknowledged { bytes } else { bytes.max(WINDOW_BYTES_INITIAL) })
    }

    /// The initial window changed, and so do those of all streams (RFC 9113 section 6.9.2).
    fn shift_send_windows(&mut self, bytes: i64) -> Result<(), Violation> {
        if bytes == 0 {
            return Ok(());
        }
        let Self { streams, queue, .. } = self;
        let mut outcome = Ok(());
        streams.for_each_mut(|stream| {
            if let Err(violation) = stream.send_window.shift(bytes) {
                outcome = Err(violation);
            } else if stream.turn == Turn::WindowEmpty && stream.send_window.available() > 0 {
                stream.turn = Turn::Waiting;
                queue.push(stream.id);
            }
        });
        outcome
    }

    pub(super) fn read_window_update(
        &mut self,
        frame: FrameHeader,
        payload: &[u8],
    ) -> Result<Event, Violation> {
        let increment = i64::from(frame::read_u32(payload)? & StreamId::MAX.get());
        self.budgets.window_updates.charge(self.now)?;
        let id = frame.stream;
        if id == StreamId::CONNECTION {
            return match increment {
                0 => Err(Violation::WindowIncrement),
                _ => self.send_window.shift(increment).map(|()| Event::Nothing),
            };
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return match self.absent(id) {
                Absent::Violation(violation @ Violation::StreamId) => Err(violation),
                Absent::Ignored | Absent::Reset | Absent::Violation(_) => Ok(Event::Nothing),
            };
        };
        if stream.is_closed() {
            return Ok(Event::Nothing);
        }
        let shifted = match increment {
            0 => Err(Violation::WindowIncrement),
            _ => stream.send_window.shift(increment),
        };
        if let Err(violation) = shifted {
            return self.reset_for(id, violation);
        }
        if stream.turn == Turn::WindowEmpty && stream.send_window.available() > 0 {
            stream.turn = Turn::Waiting;
            self.queue.push(id);
        }
        Ok(Event::Nothing)
    }

    pub(super) fn read_reset(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Event, Violation> {
        let code = ErrorCode(frame::read_u32(payload)?);
        let id = frame.stream;
        match self.streams.get(id) {
            None => match self.absent(id) {
                Absent::Violation(violation @ Violation::StreamId) => Err(violation),
                Absent::Ignored | Absent::Reset | Absent::Violation(_) => self.ignore(),
            },
            Some(stream) if stream.is_closed() => self.ignore(),
            Some(stream) => {
                let is_early = self.now.saturating_sub(stream.opened) < RESET_EARLY;
                if self.role == Role::Server && is_early {
                    self.budgets.resets.charge(self.now)?;
                }
                self.forget(id, Closing::ResetByPeer);
                Ok(Event::Reset { id, code, by: ResetBy::Peer })
            }
        }
    }

    /// Priorities are deprecated and have no effect (RFC 9113 section 5.3.2).
    pub(super) fn read_priority(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Event, Violation> {
        self.budgets.ignored.charge(self.now)?;
        let id = frame.stream;
        let violation = match payload.try_into() {
            Err(_) => Violation::FrameSize,
            Ok(priority) if frame::dependency(priority) == id => Violation::SelfDependency,
            Ok(_) => return Ok(Event::Nothing),
        };
        match self.streams.get(id) {
            Some(stream) if !stream.is_closed() => self.reset_for(id, violation),
            // There is no stream to reset.
            _ => Err(violation),
        }
    }

    pub(super) fn read_ping(&mut self, frame: FrameHeader, payload: &[u8]) -> Result<Event, Violation> {
        let ping = *payload.as_array::<8>().ok_or(Violation::FrameSize)?;
        if !frame.has(frame::ACK) {
            self.budgets.pings.charge(self.now)?;
            self.answer(|output| {
                frame::write_control(Kind::Ping, frame::ACK, StreamId::CONNECTION, &ping, output);
            })?;
            return Ok(Event::Nothing);
        }
        let ping = u64::from_be_bytes(ping);
        if self.ping == Some(ping) {
            self.ping = None;
            return Ok(Event::Pong);
        }
        if self.finish_going_away(ping) { Ok(Event::Nothing) } else { self.ignore() }
    }

    pub(super) fn read_go_away(&mut self, payload: &[u8]) -> Result<Event, Violation> {
        let (last, rest) = payload.split_first_chunk::<4>().ok_or(Violation::FrameSize)?;
        let code = rest.first_chunk::<4>().ok_or(Violation::FrameSize)?;
        self.budgets.ignored.charge(self.now)?;
        let last = StreamId(u32::from_be_bytes(*last) & StreamId::MAX.get());
        let code = ErrorCode(u32::from_be_bytes(*code));
        self.is_left = true;
        if self.role == Role::Client {
            for id in self.streams.above(last) {
                self.forget_reset(id);
            }
        }
        Ok(Event::GoAway { last, code })
    }
}
