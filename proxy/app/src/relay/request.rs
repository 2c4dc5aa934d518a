//! The request's direction.

use std::task::{Context, Poll};

use spurline_http::{BodyEvent, Framing, Head, h1};
use spurline_route::Extractor;

use super::{Fault, Relay};
use crate::{buffer::Buffer, connection::Connection, upstream::Lease};

/// The body of a request: how it is read, and how far.
#[derive(Debug)]
pub(crate) struct RequestBody {
    framing: Framing,
    decoder: h1::BodyDecoder,
    trailers: Head,
    /// The client waits for an interim response before it sends any of it.
    awaits_continue: bool,
    /// Trailers are read and not passed on.
    discards_trailers: bool,
    /// All of it has been read and passed on.
    done: bool,
    /// None of it has been read.
    untouched: bool,
}

// === impl RequestBody ===

impl RequestBody {
    pub(crate) fn new(framing: Framing, awaits_continue: bool) -> Self {
        Self {
            framing,
            decoder: h1::BodyDecoder::new(framing),
            trailers: Head::default(),
            awaits_continue,
            discards_trailers: false,
            done: framing == Framing::None,
            untouched: true,
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Whether nothing of the body can be expected before the upstream has answered.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.awaits_continue && self.untouched
    }

    /// The client has been told to go on.
    pub(crate) fn note_interim(&mut self) {
        self.awaits_continue = false;
    }

    pub(crate) fn discard_trailers(&mut self) {
        self.discards_trailers = true;
    }

    /// Writes the head in front of the body.
    pub(crate) fn encode_head(&self, head: &Head, upgrade: Option<&h1::Upgrade>, output: &mut Buffer) {
        h1::encode_request(head, self.framing, upgrade, output.writer());
    }

    /// Moves what has arrived of the body from the connection to the lease. `true`: something was moved, or the body is
    /// complete.
    fn transfer(
        &mut self,
        limits: &spurline_http::Limits,
        connection: &mut Connection,
        lease: &mut Lease,
    ) -> Result<bool, Fault> {
        let mut moved = false;
        loop {
            let input = &mut connection.input;
            let (consumed, event) =
                self.decoder.decode(input.data(), limits, &mut self.trailers).map_err(Fault::BadRequest)?;
            match event {
                BodyEvent::Data(range) if self.framing == Framing::Chunked => {
                    h1::encode_chunk(input.data().get(range).unwrap_or_default(), lease.output.writer());
                }
                BodyEvent::Data(range) if range == (0..input.len()) && lease.output.is_empty() => {
                    std::mem::swap(input, &mut lease.output);
                    self.untouched = false;
                    moved = true;
                    continue;
                }
                BodyEvent::Data(range) => {
                    lease.output.writer().extend_from_slice(input.data().get(range).unwrap_or_default());
                }
                BodyEvent::Trailers => {
                    remove_protected(&mut self.trailers, &connection.origin.binding.extractor);
                    let trailers = (!self.discards_trailers).then_some(&self.trailers);
                    h1::encode_last_chunk(trailers, lease.output.writer());
                    self.done = true;
                }
                BodyEvent::End => {
                    if self.framing == Framing::Chunked {
                        h1::encode_last_chunk(None, lease.output.writer());
                    }
                    self.done = true;
                }
                BodyEvent::NeedMore => {
                    input.consume(consumed);
                    return Ok(moved);
                }
            }
            input.consume(consumed);
            self.untouched = false;
            moved = true;
            if self.done {
                return Ok(true);
            }
        }
    }
}

/// Takes carriers and our own control fields out of a trailer section: they were not read there, and a server that
/// merges trailers into the head must not find them (RFC 9110 section 6.5.1).
fn remove_protected(trailers: &mut Head, extractor: &Extractor) {
    let protected: Vec<usize> = trailers
        .pairs()
        .enumerate()
        .filter(|(_, (name, _))| extractor.is_protected(name))
        .map(|(index, _)| index)
        .collect();
    protected.into_iter().for_each(|index| trailers.remove(index));
}

// === impl Relay ===

impl Relay<'_> {
    /// Sends the head and moves the body, until the upstream takes no more or the client has sent no more.
    pub(super) fn pump_request(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut moved = false;
        if self.unwritable {
            return Ok(false);
        }
        // What has arrived with the head goes out with it.
        if !self.body.done && !self.connection.input.is_empty() {
            moved |= self.transfer()?;
        }
        loop {
            if !self.lease.is_flushed() {
                match self.lease.poll_flush(cx) {
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Ready(Err(_)) => {
                        // The peer may have answered before it closed; what it said counts.
                        self.unwritable = true;
                        return Ok(moved);
                    }
                    Poll::Pending => return Ok(moved),
                }
                if !self.lease.is_flushed() {
                    return Ok(moved);
                }
            }
            if self.body.done {
                return Ok(moved);
            }
            if !self.transfer()? {
                match self.connection.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Err(Fault::ClientGone),
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Pending => return Ok(moved),
                }
            }
        }
    }

    fn transfer(&mut self) -> Result<bool, Fault> {
        let limits = &self.worker.params().http;
        self.body.transfer(limits, self.connection, self.lease)
    }
}
