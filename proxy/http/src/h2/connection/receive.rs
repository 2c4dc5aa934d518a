//! From bytes to frames: which part of the input is looked at, and what holds for frames whatever they mean.

use std::time::Duration;

use super::{Connection, Event};
use crate::{
    Head,
    h2::{
        StreamId, Violation,
        frame::{self, FrameHeader, HEADER_BYTES, Kind, PAYLOAD_BYTES_MAX, PREFACE},
    },
};

/// What the next byte of the input belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The preface of a client.
    Preface,
    /// The first frame, which must be `SETTINGS` (RFC 9113 section 3.4).
    Settings,
    Frame,
    /// The payload of a frame of data.
    Data(DataPart),
    /// A payload, or the rest of one, that nobody wants.
    Skip {
        left: u32,
    },
}

/// What is left of a frame of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataPart {
    pub(super) id: StreamId,
    pub(super) left: u32,
    pub(super) padding: u32,
    pub(super) ends: bool,
    /// The frame has at least half as much as the largest.
    pub(super) is_large: bool,
}

impl Reading {
    /// What comes after `left` bytes that nobody wants.
    pub(super) fn skip(left: u32) -> Self {
        if left == 0 { Self::Frame } else { Self::Skip { left } }
    }
}

impl Connection {
    /// The input that [`Connection::receive`] must be able to be given at once: any frame but data is read whole.
    pub const INPUT_BYTES_MIN: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

    /// Reads one frame, or a part of a frame of data, from the start of `input`. Returns how many bytes were taken, which
    /// may be some for [`Event::NeedMore`] too, and what they mean. Bytes that were not taken must be given again, with
    /// more behind them after `NeedMore`. A head or trailers are put into `head`, whose content goes with any frame.
    /// `now` is the time since any start, always the same.
    ///
    /// # Errors
    /// The peer broke the protocol, or a budget. `GOAWAY` is in the output; nothing more is to be read, all streams are
    /// lost, and the connection is to be closed once the output is written.
    pub fn receive(
        &mut self,
        input: &[u8],
        head: &mut Head,
        now: Duration,
    ) -> Result<(usize, Event), Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        self.now = self.now.max(now);
        let outcome = match self.reading {
            Reading::Preface => self.read_preface(input),
            Reading::Settings | Reading::Frame => self.read_frame(input, head),
            Reading::Data(part) => Ok(self.read_data(part, input, 0)),
            Reading::Skip { left } => Ok(self.skip(left, input)),
        };
        outcome.inspect_err(|violation| self.fail(*violation))
    }

    fn read_preface(&mut self, input: &[u8]) -> Result<(usize, Event), Violation> {
        if input.starts_with(PREFACE) {
            self.reading = Reading::Settings;
            Ok((PREFACE.len(), Event::Nothing))
        } else if PREFACE.starts_with(input) {
            Ok((0, Event::NeedMore))
        } else {
            Err(Violation::Preface)
        }
    }

    fn read_frame(&mut self, input: &[u8], head: &mut Head) -> Result<(usize, Event), Violation> {
        let Some(frame) = FrameHeader::read(input) else { return Ok((0, Event::NeedMore)) };
        self.check_frame(frame)?;
        match frame.kind {
            Kind::Data => return self.read_data_frame(frame, input),
            Kind::Unknown => {
                self.budgets.ignored.charge(self.now)?;
                self.reading = Reading::skip(frame.length);
                return Ok((HEADER_BYTES, Event::Nothing));
            }
            _ => {}
        }
        let end = HEADER_BYTES + frame.length as usize;
        let Some(payload) = input.get(HEADER_BYTES..end) else { return Ok((0, Event::NeedMore)) };
        let event = match frame.kind {
            Kind::Headers => self.read_headers(frame, payload, head),
            Kind::Continuation => self.read_continuation(frame, payload, head),
            Kind::Priority => self.read_priority(frame, payload),
            Kind::RstStream => self.read_reset(frame, payload),
            Kind::Settings => self.read_settings(frame, payload),
            Kind::Ping => self.read_ping(frame, payload),
            Kind::GoAway => self.read_go_away(payload),
            Kind::WindowUpdate => self.read_window_update(frame, payload),
            Kind::PushPromise | Kind::Data | Kind::Unknown => Err(Violation::Push),
        }?;
        Ok((end, event))
    }

    /// What is wrong with a frame whatever its payload is (RFC 9113 sections 3.4, 4.2, 4.3 and 6).
    fn check_frame(&self, frame: FrameHeader) -> Result<(), Violation> {
        if frame.length as usize > PAYLOAD_BYTES_MAX {
            return Err(Violation::FrameSize);
        }
        let is_first = self.reading == Reading::Settings;
        if is_first && (frame.kind != Kind::Settings || frame.has(frame::ACK)) {
            return Err(Violation::Preface);
        }
        let continues = frame.kind == Kind::Continuation;
        let is_due = match &self.block {
            Some(block) => continues && block.opening.id == frame.stream,
            None => !continues,
        };
        if !is_due {
            return Err(Violation::HeaderBlock);
        }
        let is_on_stream = frame.stream != StreamId::CONNECTION;
        let fits = match frame.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream | Kind::Continuation => {
                is_on_stream
            }
            Kind::Settings | Kind::Ping | Kind::GoAway => !is_on_stream,
            Kind::PushPromise => return Err(Violation::Push),
            Kind::WindowUpdate | Kind::Unknown => true,
        };
        if fits { Ok(()) } else { Err(Violation::StreamId) }
    }

    fn skip(&mut self, left: u32, input: &[u8]) -> (usize, Event) {
        let taken = left.min(u32::try_from(input.len()).unwrap_or(u32::MAX));
        self.reading = Reading::skip(left - taken);
        let event = if self.reading == Reading::Frame { Event::Nothing } else { Event::NeedMore };
        (taken as usize, event)
    }
}
