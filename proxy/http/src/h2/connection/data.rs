//! Data that arrives, and the windows it is counted against (RFC 9113 sections 5.2, 6.1 and 6.9).
//!
//! Every byte of a frame of data is taken off the window of the connection, and every one is given back exactly once: by
//! the caller who consumed it, or by us where nobody gets it (padding, streams that are gone, bodies that are dropped).

use super::{
    Connection, End, Event,
    close::Absent,
    receive::{DataPart, Reading},
};
use crate::h2::{
    StreamId, Violation,
    frame::{self, FrameHeader, HEADER_BYTES, PAYLOAD_BYTES_MAX},
    stream::{Delivery, Progress},
};

/// What becomes of a frame of data.
enum Fate {
    Delivered,
    Dropped,
    /// Dropped, and the stream with it.
    Reset(Violation),
}

impl Connection {
    pub(super) fn read_data_frame(
        &mut self,
        frame: FrameHeader,
        input: &[u8],
    ) -> Result<(usize, Event), Violation> {
        let (at, padding) = match (frame.has(frame::PADDED), input.get(HEADER_BYTES)) {
            (false, _) => (HEADER_BYTES, 0),
            (true, _) if frame.length == 0 => return Err(Violation::FrameSize),
            (true, Some(padding)) => (HEADER_BYTES + 1, u32::from(*padding)),
            (true, None) => return Ok((0, Event::NeedMore)),
        };
        let around = padding + u32::from(frame.has(frame::PADDED));
        let data = frame.length.checked_sub(around).ok_or(Violation::Padding)?;
        self.receive_window.receive(frame.length)?;
        let event = match self.judge_data(frame, data)? {
            Fate::Delivered => {
                self.give_back(around);
                self.give_back_on(frame.stream, around);
                let ends = frame.has(frame::END_STREAM);
                let is_large = data as usize >= PAYLOAD_BYTES_MAX / 2;
                let part = DataPart { id: frame.stream, left: data, padding, ends, is_large };
                return Ok(self.read_data(part, input, at));
            }
            Fate::Dropped => Event::Nothing,
            Fate::Reset(violation) => self.reset_for(frame.stream, violation)?,
        };
        self.give_back(frame.length);
        self.reading = Reading::skip(data + padding);
        Ok((at, event))
    }

    /// Checks a frame with that much data against its stream, and counts it there.
    fn judge_data(&mut self, frame: FrameHeader, data: u32) -> Result<Fate, Violation> {
        let ends = frame.has(frame::END_STREAM);
        if data == 0 && !ends {
            self.budgets.empty_frames.charge(self.now)?;
        }
        let Some(stream) = self.streams.get_mut(frame.stream) else {
            return match self.absent(frame.stream) {
                Absent::Ignored => Ok(Fate::Dropped),
                Absent::Reset => Ok(Fate::Reset(Violation::StreamClosed)),
                Absent::Violation(violation) => Err(violation),
            };
        };
        match stream.receiving {
            Progress::Head => return Ok(Fate::Reset(Violation::MissingHead)),
            Progress::Done if stream.is_closed() => return Err(Violation::StreamClosed),
            Progress::Done => return Ok(Fate::Reset(Violation::StreamClosed)),
            Progress::Body => {}
        }
        if let Err(violation) = stream.receive_window.receive(frame.length) {
            return Ok(Fate::Reset(violation));
        }
        if let Some(announced) = &mut stream.announced {
            match announced.checked_sub(u64::from(data)) {
                Some(left) if left == 0 || !ends => *announced = left,
                _ => return Ok(Fate::Reset(Violation::ContentLength)),
            }
        }
        match stream.delivery {
            Delivery::ToCaller => {
                stream.held += data;
                Ok(Fate::Delivered)
            }
            Delivery::Dropped => {
                if ends {
                    self.end_receiving(frame.stream);
                }
                Ok(Fate::Dropped)
            }
        }
    }

    /// The data of a frame that was let in, as far as it is there.
    pub(super) fn read_data(&mut self, mut part: DataPart, input: &[u8], at: usize) -> (usize, Event) {
        let here = u32::try_from(input.len().saturating_sub(at)).unwrap_or(u32::MAX);
        let taken = part.left.min(here);
        part.left -= taken;
        let range = at..at + taken as usize;
        self.reading = match part {
            DataPart { left: 0, padding, .. } => Reading::skip(padding),
            _ => Reading::Data(part),
        };
        if taken == 0 && part.left > 0 {
            return (range.end, Event::NeedMore);
        }
        let ends = part.ends && part.left == 0;
        // It may have been reset since the frame began, and what it held was given back then.
        if self.streams.get(part.id).is_none() || (range.is_empty() && !ends) {
            return (range.end, Event::Nothing);
        }
        if ends {
            self.end_receiving(part.id);
        }
        let end = if ends { End::Stream } else { End::More };
        (range.end, Event::Data { id: part.id, range, end })
    }

    /// Says that bytes of a stream were passed on, so that the peer may send more. Windows are announced once half of
    /// one has gathered. Bytes of a stream that is gone have been given back already.
    pub fn consumed(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(stream.held);
        stream.held -= bytes;
        let (held, is_closed) = (stream.held, stream.is_closed());
        self.give_back(bytes);
        self.give_back_on(id, bytes);
        if is_closed && held == 0 {
            self.forget_ended(id);
        }
    }

    /// What the peer may send on a stream, once it knows our settings, before any of it is passed on.
    pub fn window_bytes(&self) -> u32 {
        self.settings.stream_window_bytes
    }

    /// Lets the peer send so many bytes more on a stream from now on. The sum of what a stream is given must stay below
    /// 2^31 (RFC 9113 section 6.9.1). Nothing happens once all of the stream has arrived.
    pub fn widen(&mut self, id: StreamId, bytes: u32) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.receiving == Progress::Body)
        else {
            return;
        };
        let increment = stream.receive_window.widen(bytes);
        frame::write_window_update(id, increment, &mut self.output);
    }

    /// Gives bytes back to the window of the connection.
    pub(super) fn give_back(&mut self, bytes: u32) {
        if let Some(increment) = self.receive_window.give_back(bytes) {
            frame::write_window_update(StreamId::CONNECTION, increment, &mut self.output);
        }
    }

    fn give_back_on(&mut self, id: StreamId, bytes: u32) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.receiving == Progress::Body)
        else {
            return;
        };
        if let Some(increment) = stream.receive_window.give_back(bytes) {
            frame::write_window_update(id, increment, &mut self.output);
        }
    }
}
