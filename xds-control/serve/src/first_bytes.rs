//! A connection that has to say something before long.
//!
//! The HTTP libraries limit how long a request head may take, but not how long a client may take to show which version
//! of HTTP it speaks: somebody who connects and stays silent would hold a connection for ever.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The length of the HTTP/2 preface (RFC 9113, section 3.4). After so many bytes the version is known.
const PREFACE_BYTES: usize = 24;

/// Fails to read once the timeout is over and fewer than [`PREFACE_BYTES`] bytes came; costs nothing afterwards.
pub(crate) struct FirstBytes<IO> {
    io: IO,
    read_bytes: usize,
    timeout: Option<Pin<Box<Sleep>>>,
}

// === impl FirstBytes ===

impl<IO> FirstBytes<IO> {
    pub(crate) fn new(io: IO, timeout: Duration) -> Self {
        Self { io, read_bytes: 0, timeout: Some(Box::pin(sleep(timeout))) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for FirstBytes<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(timeout) = &mut self.timeout else { return read };
        if read.is_pending() && timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.read_bytes = self.read_bytes.saturating_add(buf.filled().len().saturating_sub(before));
        if self.read_bytes >= PREFACE_BYTES {
            self.timeout = None;
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for FirstBytes<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
