//! One end of the relay: an HTTP/1 connection, or one stream of an HTTP/2 connection, with its bytes on their way.
//!
//! Bytes are those of the version that is spoken: an HTTP/1 link has heads and chunks among them, an HTTP/2 link has
//! nothing but the data of bodies.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use spurline_http::{
    BodyEvent, Error, Head, Limits, Version, h1,
    h2::{End, OpenError, Scheme},
};
use spurline_net::Transport;
use tokio::io::AsyncWrite as _;

use crate::{
    buffer::{Amount, Buffer},
    h2::{Session, Stream},
};

/// One end of the relay.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) wire: Wire,
    /// Bytes received and not used yet.
    pub(crate) input: Buffer,
    /// Bytes to send.
    pub(crate) output: Buffer,
    /// Bytes received and sent. Of HTTP/2 those of data, and heads as HTTP/1 has them.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// How much is read next. A body that fills a buffer each time is read in larger ones, until it does not.
    amount: Amount,
}

/// What a link's bytes move on.
#[derive(Debug)]
pub(crate) enum Wire {
    Transport(Transport),
    Stream(Stream),
    /// A session on which no stream has been opened yet.
    Session(Rc<Session>),
}

// === impl Link ===

impl Link {
    pub(crate) fn new(wire: Wire) -> Self {
        let (input, output) = Default::default();
        Self { wire, input, output, received: 0, sent: 0, amount: Amount::Usual }
    }

    pub(crate) fn version(&self) -> Version {
        match self.wire {
            Wire::Transport(_) => Version::Http11,
            Wire::Stream(_) | Wire::Session(_) => Version::Http2,
        }
    }

    /// The connection, where it is not shared with other streams.
    pub(crate) fn transport(&self) -> Option<&Transport> {
        match &self.wire {
            Wire::Transport(transport) => Some(transport),
            Wire::Stream(_) | Wire::Session(_) => None,
        }
    }

    pub(crate) fn transport_mut(&mut self) -> Option<&mut Transport> {
        match &mut self.wire {
            Wire::Transport(transport) => Some(transport),
            Wire::Stream(_) | Wire::Session(_) => None,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.wire {
            Wire::Stream(stream) => Some(stream),
            Wire::Transport(_) | Wire::Session(_) => None,
        }
    }

    /// Whether the peer takes extended CONNECT (RFC 8441).
    pub(crate) fn takes_connect_protocol(&self) -> bool {
        matches!(&self.wire, Wire::Session(session) if session.takes_connect_protocol())
    }

    /// Sends a request on a stream of its own, if this is the link to an HTTP/2 upstream.
    ///
    /// # Errors
    /// Nothing was sent: the session takes no more.
    pub(crate) fn open(&mut self, head: &Head, scheme: Scheme, end: End) -> Result<(), OpenError> {
        if let Wire::Session(session) = &self.wire {
            self.wire = Wire::Stream(Stream::open(session, head, scheme, end)?);
            self.sent += head.bytes() as u64;
        }
        Ok(())
    }

    /// Reads once, as much as fits. 0 means that the peer has ended the connection; an HTTP/2 link never says so.
    ///
    /// To be called only while the input is not full, and for an HTTP/2 link only while it is empty.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { wire, input, amount, .. } = self;
        let filled = match wire {
            Wire::Transport(transport) => input.poll_fill(cx, transport, amount),
            Wire::Stream(stream) => stream.poll_fill(cx, input),
            Wire::Session(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        if let Poll::Ready(Ok(count)) = filled {
            self.received += count as u64;
        }
        filled
    }

    /// Writes until nothing is left or the wire takes no more. Returns how much was written, if that is anything.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { wire, output, .. } = self;
        let flushed = match wire {
            Wire::Transport(transport) => output.poll_flush(cx, transport),
            Wire::Stream(stream) => stream.poll_flush(cx, output),
            Wire::Session(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        if let Poll::Ready(Ok(count)) = flushed {
            self.sent += count as u64;
        }
        flushed
    }

    /// Ends our side of an HTTP/1 connection, once everything is sent. A stream is ended with [`Stream::end`].
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Transport(transport) => Pin::new(transport).poll_shutdown(cx),
            Wire::Stream(_) | Wire::Session(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether everything that is to be sent has been handed on: to the kernel, or to the connection of the stream.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
            && match &self.wire {
                Wire::Transport(transport) => !transport.has_unsent(),
                Wire::Stream(stream) => !stream.has_unsent(),
                Wire::Session(_) => true,
            }
    }

    /// What comes next of a body, see [`h1::BodyDecoder::decode`], which is only asked where HTTP/1 is spoken.
    pub(crate) fn next_of_body(
        &mut self,
        decoder: &mut h1::BodyDecoder,
        limits: &Limits,
        trailers: &mut Head,
    ) -> Result<(usize, BodyEvent), Error> {
        let stream = match &mut self.wire {
            Wire::Transport(_) => return decoder.decode(self.input.data(), limits, trailers),
            Wire::Session(_) => return Ok((0, BodyEvent::NeedMore)),
            Wire::Stream(stream) => stream,
        };
        let len = self.input.len();
        if len > 0 {
            return Ok((len, BodyEvent::Data(0..len)));
        }
        Ok((
            0,
            match stream.take_end(trailers) {
                None => BodyEvent::NeedMore,
                Some(true) => BodyEvent::Trailers,
                Some(false) => BodyEvent::End,
            },
        ))
    }
}
