//! A body on its way from one link to the other, in either direction.

use spurline_http::{BodyEvent, Error, Framing, Head, Limits, Version, grpc, h1};

use crate::{buffer::Buffer, link::Link};

/// A body: how it is read, how it is written, and how far it has come.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    decoder: h1::BodyDecoder,
    coding: Coding,
    web: Option<WebBody>,
    trailers: Head,
    /// Trailers are read and not passed on.
    discards_trailers: bool,
    /// All of it has been read and passed on.
    done: bool,
    /// None of it has been read.
    untouched: bool,
}

/// What a body of gRPC-web is turned into, or out of.
#[derive(Debug)]
pub(crate) enum WebBody {
    /// A request's text is decoded.
    Text(grpc::TextDecoder),
    /// A response is written in that coding, and its trailers behind it.
    Response(grpc::Coding),
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is: its length is known, it ends with the connection, or frames delimit it.
    Identity,
    /// In chunks (RFC 9112 section 7.1).
    Chunked,
}

// === impl Body ===

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            decoder: h1::BodyDecoder::new(framing),
            coding: Coding::Identity,
            web: None,
            trailers: Head::default(),
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

    pub(crate) fn set_coding(&mut self, coding: Coding) {
        self.coding = coding;
    }

    pub(crate) fn set_web(&mut self, web: Option<WebBody>) {
        self.web = web;
    }

    pub(crate) fn coding(&self) -> Coding {
        self.coding
    }

    pub(crate) fn discard_trailers(&mut self) {
        self.discards_trailers = true;
    }

    /// The connection it came on has ended, which ends a body without a length.
    ///
    /// # Errors
    /// Any other body is cut short by it.
    pub(super) fn finish(&mut self, to: &mut Link) -> Result<(), Error> {
        self.decoder.finish()?;
        self.end(to, false);
        Ok(())
    }

    /// Moves what has arrived. `edit` may take something out of the trailers. `true`: something was moved, or the body
    /// is complete.
    ///
    /// # Errors
    /// The body breaks HTTP.
    pub(super) fn transfer(
        &mut self,
        limits: &Limits,
        (from, to): (&mut Link, &mut Link),
        edit: impl FnOnce(&mut Head),
    ) -> Result<bool, Error> {
        let mut moved = false;
        loop {
            let (consumed, event) = from.next_of_body(&mut self.decoder, limits, &mut self.trailers)?;
            let (input, output) = (&mut from.input, &mut to.output);
            match event {
                BodyEvent::Data(range) if self.web.is_some() => {
                    let data = input.data().get(range).unwrap_or_default();
                    let converted = self.convert(data)?;
                    self.write(&converted, output);
                }
                BodyEvent::Data(range) if self.coding == Coding::Chunked => {
                    let data = input.data().get(range).unwrap_or_default();
                    h1::encode_chunk(data, output.writer_for(data.len()));
                }
                BodyEvent::Data(range) if range == (0..input.len()) && output.is_empty() => {
                    std::mem::swap(input, output);
                    self.untouched = false;
                    moved = true;
                    continue;
                }
                BodyEvent::Data(range) => {
                    let data = input.data().get(range).unwrap_or_default();
                    output.writer_for(data.len()).extend_from_slice(data);
                }
                BodyEvent::NeedMore => {
                    input.consume(consumed);
                    return Ok(moved);
                }
                BodyEvent::Trailers | BodyEvent::End => {
                    input.consume(consumed);
                    self.untouched = false;
                    let trailers = event == BodyEvent::Trailers;
                    if trailers {
                        edit(&mut self.trailers);
                    }
                    self.end_web(to, trailers)?;
                    self.end(to, trailers);
                    return Ok(true);
                }
            }
            input.consume(consumed);
            self.untouched = false;
            moved = true;
        }
    }

    fn write(&self, data: &[u8], output: &mut Buffer) {
        match self.coding {
            Coding::Identity => output.writer().extend_from_slice(data),
            Coding::Chunked => h1::encode_chunk(data, output.writer()),
        }
    }

    /// What data of gRPC-web becomes.
    fn convert(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut converted = Vec::new();
        match &mut self.web {
            Some(WebBody::Text(decoder)) => {
                decoder.decode(data, &mut converted)?;
            }
            Some(WebBody::Response(grpc::Coding::Text)) => grpc::encode_text(data, &mut converted),
            Some(WebBody::Response(grpc::Coding::Binary)) | None => converted.extend_from_slice(data),
        }
        Ok(converted)
    }

    /// Ends a body of gRPC-web: the trailers become its last message.
    fn end_web(&mut self, to: &mut Link, has_trailers: bool) -> Result<(), Error> {
        match &self.web {
            None => {}
            Some(WebBody::Text(decoder)) => decoder.finish()?,
            Some(WebBody::Response(_)) => {
                let mut frame = Vec::new();
                grpc::trailers_frame(has_trailers.then_some(&self.trailers), &mut frame);
                let converted = self.convert(&frame)?;
                self.write(&converted, &mut to.output);
                self.discards_trailers = true;
            }
        }
        Ok(())
    }

    fn end(&mut self, to: &mut Link, has_trailers: bool) {
        let trailers = (has_trailers && !self.discards_trailers).then_some(&mut self.trailers);
        if let Some(stream) = to.stream_mut() {
            stream.end(trailers.map(std::mem::take));
        } else if self.coding == Coding::Chunked {
            h1::encode_last_chunk(trailers.as_deref(), to.output.writer());
        }
        self.done = true;
    }
}

/// How a body of that framing is written to a peer of that version.
pub(crate) fn coding(framing: Framing, peer: Version) -> Coding {
    match (framing, peer) {
        (Framing::Chunked | Framing::Close, Version::Http11) => Coding::Chunked,
        _ => Coding::Identity,
    }
}
