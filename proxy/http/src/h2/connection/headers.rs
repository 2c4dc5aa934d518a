//! Header blocks: gathered from their frames, decoded, and given to their streams (RFC 9113 sections 4.3, 6.2, 6.10 and
//! 8.1).

use super::{Connection, End, Event, GoAway, Leaving, Role, WINDOW_UPDATES_EARNED, close::Absent};
use crate::{
    Head,
    h2::{
        BlockError, Flood, HeadMeta, Section, StreamId, Violation,
        flow::SendWindow,
        frame::{self, FrameHeader},
        stream::{Delivery, Progress, Stream, Turn},
    },
};

/// A block may be this many times as long as the limit of a head; the decoder judges what is in it.
const BLOCK_FACTOR: usize = 4;

/// A header block of which not all frames have come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) opening: Opening,
    bytes: Vec<u8>,
    continuations: u32,
}

/// What the `HEADERS` frame says beside the fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) id: StreamId,
    ends: bool,
    depends_on_itself: bool,
}

/// What a header block is for. It is decoded in any case: the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Request,
    Response,
    Trailers,
    /// Nobody.
    Ignored,
    /// Nobody, and the stream is reset.
    Reset(Violation),
}

type Decoded = Result<HeadMeta, BlockError>;

impl Connection {
    pub(super) fn read_headers(
        &mut self,
        frame: FrameHeader,
        payload: &[u8],
        head: &mut Head,
    ) -> Result<Event, Violation> {
        let read = frame::read_headers(frame, payload)?;
        let opening = Opening {
            id: frame.stream,
            ends: frame.has(frame::END_STREAM),
            depends_on_itself: read.depends_on == Some(frame.stream),
        };
        if frame.has(frame::END_HEADERS) {
            return self.take_block(opening, read.fragment, head);
        }
        self.block = Some(Block { opening, bytes: read.fragment.to_vec(), continuations: 0 });
        Ok(Event::Nothing)
    }

    pub(super) fn read_continuation(
        &mut self,
        frame: FrameHeader,
        payload: &[u8],
        head: &mut Head,
    ) -> Result<Event, Violation> {
        let mut block = self.block.take().ok_or(Violation::HeaderBlock)?;
        block.continuations += 1;
        if block.continuations > self.settings.continuations_max {
            return Err(Violation::Flood(Flood::Continuations));
        }
        if block.bytes.len() + payload.len() > BLOCK_FACTOR * self.settings.limits.head_bytes_max {
            return Err(Violation::Flood(Flood::HeaderBytes));
        }
        block.bytes.extend_from_slice(payload);
        if frame.has(frame::END_HEADERS) {
            return self.take_block(block.opening, &block.bytes, head);
        }
        self.block = Some(block);
        Ok(Event::Nothing)
    }

    fn take_block(&mut self, opening: Opening, block: &[u8], head: &mut Head) -> Result<Event, Violation> {
        let target = self.target(opening.id)?;
        let section = match (target, self.role) {
            (Target::Trailers, _) => Section::Trailers,
            (_, Role::Client) => Section::Response,
            (_, Role::Server) => Section::Request,
        };
        let decoded = self.decoder.decode(block, section, &self.settings.limits, head);
        match decoded {
            Err(BlockError::Compression) => return Err(Violation::Compression),
            Err(BlockError::Bomb) => return Err(Violation::Flood(Flood::HeaderBytes)),
            Ok(_) | Err(BlockError::Malformed(_) | BlockError::TooLarge(_)) => {}
        }
        let outcome = match target {
            Target::Ignored => return self.ignore(),
            Target::Reset(violation) => Err(violation),
            _ if opening.depends_on_itself => Err(Violation::SelfDependency),
            Target::Request => self.take_request(opening, decoded),
            Target::Response => self.take_response(opening, decoded, head.status()),
            Target::Trailers => self.take_trailers(opening, decoded),
        };
        outcome.or_else(|violation| self.reset_for(opening.id, violation))
    }

    /// # Errors
    /// Errors of the connection.
    fn target(&mut self, id: StreamId) -> Result<Target, Violation> {
        if self.role == Role::Server && id.is_client() && id > self.last {
            self.last = id;
            let is_ignored = matches!(self.leaving, Leaving::Final(_));
            return Ok(if is_ignored { Target::Ignored } else { Target::Request });
        }
        if let Some(stream) = self.streams.get(id) {
            return match stream.receiving {
                Progress::Head => Ok(Target::Response),
                Progress::Body => Ok(Target::Trailers),
                Progress::Done if stream.is_closed() => Err(Violation::StreamClosed),
                Progress::Done => Ok(Target::Reset(Violation::StreamClosed)),
            };
        }
        match self.absent(id) {
            Absent::Ignored => Ok(Target::Ignored),
            Absent::Reset => Ok(Target::Reset(Violation::StreamClosed)),
            Absent::Violation(violation) => Err(violation),
        }
    }

    /// # Errors
    /// Errors of the stream, as with the other two.
    fn take_request(&mut self, opening: Opening, decoded: Decoded) -> Result<Event, Violation> {
        let Opening { id, ends, .. } = opening;
        if self.streams.open() >= self.settings.streams_max {
            return Err(Violation::StreamLimit);
        }
        let (meta, refusal) = match decoded {
            Ok(meta) => (meta, None),
            // What is refused for more than its form is worth an answer.
            Err(BlockError::TooLarge(error)) => (HeadMeta::default(), Some(error)),
            Err(BlockError::Malformed(error)) if error.status() != 400 => (HeadMeta::default(), Some(error)),
            Err(BlockError::Malformed(error)) => return Err(Violation::Message(error)),
            Err(BlockError::Bomb | BlockError::Compression) => return Err(Violation::Compression),
        };
        if meta.has_protocol && !self.settings.connect_protocol {
            return Err(Violation::ConnectProtocol);
        }
        if ends && meta.content_length.is_some_and(|length| length > 0) {
            return Err(Violation::ContentLength);
        }
        self.insert_stream(id, Progress::Body, Progress::Head);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.announced = meta.content_length;
            stream.delivery = if refusal.is_some() { Delivery::Dropped } else { Delivery::ToCaller };
        }
        if ends {
            self.end_receiving(id);
        }
        if self.opened >= self.settings.streams_total_max {
            self.go_away(GoAway::Graceful);
        }
        let end = if ends { End::Stream } else { End::More };
        Ok(match refusal {
            Some(error) => Event::Refused { id, error },
            None => Event::Head { id, end, meta },
        })
    }

    fn take_response(&mut self, opening: Opening, decoded: Decoded, status: u16) -> Result<Event, Violation> {
        let Opening { id, ends, .. } = opening;
        let meta = decoded.map_err(message)?;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(Event::Nothing) };
        if status < 200 {
            if ends || stream.interims == self.settings.interims_max {
                return Err(Violation::Interim);
            }
            stream.interims += 1;
            return Ok(Event::Interim { id });
        }
        let has_no_body = stream.is_head_request || status == 204 || status == 304;
        stream.announced = if has_no_body { Some(0) } else { meta.content_length };
        stream.receiving = Progress::Body;
        if !ends {
            return Ok(Event::Head { id, end: End::More, meta });
        }
        if stream.announced.is_some_and(|length| length > 0) {
            return Err(Violation::ContentLength);
        }
        self.end_receiving(id);
        Ok(Event::Head { id, end: End::Stream, meta })
    }

    fn take_trailers(&mut self, opening: Opening, decoded: Decoded) -> Result<Event, Violation> {
        let Opening { id, ends, .. } = opening;
        if !ends {
            return Err(Violation::TrailersNotLast);
        }
        decoded.map_err(message)?;
        let Some(stream) = self.streams.get(id) else { return Ok(Event::Nothing) };
        if stream.announced.is_some_and(|left| left > 0) {
            return Err(Violation::ContentLength);
        }
        let delivery = stream.delivery;
        self.end_receiving(id);
        Ok(match delivery {
            Delivery::ToCaller => Event::Trailers { id },
            Delivery::Dropped => Event::Nothing,
        })
    }

    /// Adds a stream to those that are open, and to what the peer has earned.
    pub(super) fn insert_stream(&mut self, id: StreamId, receiving: Progress, sending: Progress) {
        self.opened += 1;
        self.budgets.ignored.earn(2);
        self.budgets.pings.earn(1);
        self.budgets.window_updates.earn(WINDOW_UPDATES_EARNED);
        self.streams.insert(Stream {
            id,
            receiving,
            sending,
            send_window: SendWindow::new(self.peer.window_bytes),
            receive_window: self.stream_window(),
            held: 0,
            announced: None,
            delivery: Delivery::ToCaller,
            is_head_request: false,
            interims: 0,
            opened: self.now,
            blocked: None,
            turn: Turn::None,
        });
    }
}

fn message(error: BlockError) -> Violation {
    match error {
        BlockError::Malformed(error) | BlockError::TooLarge(error) => Violation::Message(error),
        BlockError::Bomb | BlockError::Compression => Violation::Compression,
    }
}
