//! One connection, in the clear or in TLS.
//!
//! An enum and no trait object: a connection in the clear costs a branch that is always taken the same way. It holds no
//! buffers of its own, but TLS does: what was written can still wait in it, see [`Transport::has_unsent`].

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use crate::{peer_closed, set_linger_reset, tls::Alpn};

/// A connected stream of bytes.
///
/// Its end is a FIN in the clear and a `close_notify` in TLS (RFC 8446 section 6.1). A TLS peer that ends without one
/// may have been cut off by anybody, so reading fails with [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// In TLS, with the handshake done.
    Tls(Box<Secure>),
    /// Nothing: the connection is in a handshake. Reading and writing fail.
    Taken,
}

/// A connection in TLS. Dropping it says `close_notify`, unless it is to be reset or the peer takes no more.
#[derive(Debug)]
pub struct Secure {
    stream: TlsStream<TcpStream>,
    resets: bool,
}

/// What a handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// It goes on from an earlier one.
    pub resumed: bool,
    /// What is spoken inside; `None` when one of the peers named nothing.
    pub alpn: Option<Alpn>,
    /// The name that the client asked for; of a connection that we made it is not known here.
    pub server_name: Option<&'a str>,
}

// === impl Transport ===

impl Transport {
    pub(crate) fn secure(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Secure { stream, resets: false }))
    }

    /// Takes the connection out in the clear, for a handshake. `None` when it is none in the clear.
    pub fn take_plain(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Taken) {
            Self::Plain(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }

    /// What the handshake agreed on; `None` in the clear.
    pub fn session(&self) -> Option<Session<'_>> {
        let Self::Tls(secure) = self else { return None };
        let (_, connection) = secure.stream.get_ref();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let server_name = match &secure.stream {
            TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            TlsStream::Client(_) => None,
        };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let alpn = connection.alpn_protocol().and_then(Alpn::of);
        Some(Session { version, resumed, alpn, server_name })
    }

    /// Whether something that was written has not been handed to the kernel yet, so that
    /// [`poll_flush`](AsyncWrite::poll_flush) is to be called. Never so in the clear.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Taken => false,
            Self::Tls(secure) => secure.stream.get_ref().1.wants_write(),
        }
    }

    /// Whether neither bytes nor the end of the stream have arrived, as far as the runtime knows. Costs no system call
    /// while nothing has. To be asked of idle connections only: what has arrived may be lost by it.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(stream) => {
                stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // Session tickets may arrive at any time; reading takes them in and goes on.
            Self::Tls(secure) => {
                let mut byte = [0];
                let mut unread = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(&mut secure.stream).poll_read(&mut cx, &mut unread).is_pending()
            }
            Self::Taken => false,
        }
    }

    /// See [`peer_closed`]. In TLS any bytes count as the end, even those of a ticket: they cannot be told apart without
    /// reading them.
    pub fn peer_closed(&self) -> bool {
        self.socket().is_none_or(peer_closed)
    }

    /// See [`set_linger_reset`]. In TLS no `close_notify` is sent either.
    ///
    /// # Errors
    ///
    /// When the socket is not open any more.
    pub fn set_linger_reset(&mut self) -> io::Result<()> {
        if let Self::Tls(secure) = self {
            secure.resets = true;
        }
        self.socket().map_or(Ok(()), set_linger_reset)
    }

    /// Whether a read may find something. In the clear it waits for the socket; TLS may hold what has been read before.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            Self::Tls(_) | Self::Taken => Poll::Ready(Ok(())),
        }
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(secure) => Some(secure.stream.get_ref().0),
            Self::Taken => None,
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_read(cx, buf),
            Self::Taken => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_write(cx, buf),
            Self::Taken => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_write_vectored(cx, bufs),
            Self::Taken => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_flush(cx),
            Self::Taken => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Ends our side; the peer's may go on.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(secure) => Pin::new(&mut secure.stream).poll_shutdown(cx),
            Self::Taken => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        if !self.resets {
            // As much as the socket takes at once; a peer that takes nothing is not waited for.
            let mut cx = Context::from_waker(Waker::noop());
            let _unsent = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        }
    }
}
