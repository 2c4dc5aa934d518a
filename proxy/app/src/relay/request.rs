//! The request's direction.

use std::task::{Context, Poll};

use spurline_http::{
    Framing, Head, Version, grpc, h1,
    h2::{End, OpenError, Scheme},
};
use spurline_route::Extractor;

use super::{
    Fault, Relay,
    body::{self, Body, WebBody},
};
use crate::link::Link;

/// The body of a request, and whether the client waits before it sends it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Body,
    /// The client waits for an interim response before it sends any of it.
    awaits_continue: bool,
    /// What the client sends is for the protocol that it asked for, and stays here until the upstream speaks it.
    is_held: bool,
}

// === impl RequestBody ===

impl RequestBody {
    pub(crate) fn new(framing: Framing, awaits_continue: bool) -> Self {
        Self { body: Body::new(framing), awaits_continue, is_held: false }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.body.framing()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.body.is_done()
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.body.is_untouched()
    }

    /// Whether nothing of the body can be expected before the upstream has answered.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.awaits_continue && self.body.is_untouched()
    }

    /// The client has been told to go on.
    pub(crate) fn note_interim(&mut self) {
        self.awaits_continue = false;
    }

    pub(crate) fn discard_trailers(&mut self) {
        self.body.discard_trailers();
    }

    /// The body is text of gRPC-web, of whose length nothing is known.
    pub(crate) fn decode_text(&mut self) {
        self.body.set_web(Some(WebBody::Text(grpc::TextDecoder::default())));
    }

    /// Keeps the body back. Nothing in HTTP/1 may follow a request that asks for an upgrade before it is answered.
    pub(crate) fn hold(&mut self) {
        self.is_held = true;
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Lets the body go, as bytes of another protocol.
    pub(crate) fn release(&mut self) {
        self.is_held = false;
    }

    /// Sends the head in front of the body.
    ///
    /// # Errors
    /// Nothing was sent: an HTTP/2 upstream takes no more requests on this connection.
    pub(crate) fn send_head(
        &mut self,
        (head, upgrade): (&Head, Option<&h1::Upgrade>),
        scheme: Scheme,
        link: &mut Link,
    ) -> Result<(), OpenError> {
        let framing = if self.is_held { Framing::None } else { self.body.framing() };
        self.body.set_coding(body::coding(framing, link.version()));
        if link.version() == Version::Http2 {
            let end = if framing == Framing::None { End::Stream } else { End::More };
            return link.open(head, scheme, end);
        }
        h1::encode_request(head, framing, upgrade, link.output.writer());
        Ok(())
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
        if !self.body.is_done() && !self.body.is_held() && !self.connection.link.input.is_empty() {
            moved |= self.transfer_request()?;
        }
        loop {
            if !self.lease.link.is_flushed() {
                match self.lease.link.poll_flush(cx) {
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Ready(Err(_)) => {
                        // The peer may have answered before it closed; what it said counts.
                        self.unwritable = true;
                        return Ok(moved);
                    }
                    Poll::Pending => return Ok(moved),
                }
                if !self.lease.link.is_flushed() {
                    return Ok(moved);
                }
            }
            if self.body.is_done() && self.response.is_tunnel() {
                // What the client ends is ended for the upstream, which may have something left to say.
                self.unwritable = self.lease.link.poll_shutdown(cx).is_ready();
            }
            if self.body.is_done() || self.body.is_held() {
                return Ok(moved);
            }
            if !self.transfer_request()? {
                match self.connection.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Err(Fault::ClientGone),
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Pending => return Ok(moved),
                }
            }
        }
    }

    fn transfer_request(&mut self) -> Result<bool, Fault> {
        let limits = &self.worker.params().http;
        let extractor = &self.connection.origin.binding.extractor;
        let edit = |trailers: &mut Head| remove_protected(trailers, extractor);
        let links = (&mut self.connection.link, &mut self.lease.link);
        self.body.body.transfer(limits, links, edit).map_err(Fault::BadRequest)
    }
}
