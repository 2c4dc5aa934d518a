//! Clients that take nothing of what they asked for.
//!
//! While a client gives no window, or no room in its socket, the HTTP libraries keep the piece they have and ask the body
//! for nothing: what a body does by time does not happen, be it giving a place back or ending. So each body notes here
//! when a piece of it went out and when the next one was asked for, and its connection ends when the one is not followed
//! by the other. Nothing less frees what was handed over already. A library takes the end of a body although the socket
//! does not, and then asks for nothing more: so the socket notes, too, since when it takes nothing.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The most that is handed over at a time: so much has to be taken within the timeout, and so much may be left with a
/// library when the body has ended.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The pieces of one connection that were handed over and not taken yet. An idle stream has none.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pieces: Mutex<Pieces>,
    handed: Notify,
}

/// What a socket did not take stands beside the pieces of bodies, whose numbers begin with 1.
const WRITE: u64 = 0;
const FLUSH: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Pieces {
    bodies: u64,
    /// When, by body.
    handed_at: HashMap<u64, Instant>,
}

/// A body in pieces, which are noted.
struct Noted {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    id: u64,
    unread: Arc<Unread>,
}

/// A connection that notes since when it takes nothing of what is written.
pub(crate) struct Watched<IO> {
    io: IO,
    /// Whether the last attempt to write, and to flush, has to be made again.
    waits: [bool; 2],
    unread: Arc<Unread>,
}

// === impl Unread ===

impl Unread {
    pub(crate) fn noted(self: &Arc<Self>, body: Body) -> Body {
        let id = {
            let mut pieces = self.pieces();
            pieces.bodies += 1;
            pieces.bodies
        };
        Body::new(Noted { body, rest: Bytes::new(), id, unread: Arc::clone(self) })
    }

    pub(crate) fn watched<IO>(self: &Arc<Self>, io: IO) -> Watched<IO> {
        Watched { io, waits: [false; 2], unread: Arc::clone(self) }
    }

    /// Waits until a piece has been unread for `timeout`.
    pub(crate) async fn stalled(&self, timeout: Duration) {
        loop {
            let oldest = self.pieces().handed_at.values().min().copied();
            match oldest.map(|handed_at| handed_at + timeout) {
                None => self.handed.notified().await,
                Some(due) if due <= Instant::now() => return,
                Some(due) => sleep_until(due).await,
            }
        }
    }

    fn hand(&self, id: u64) {
        let mut pieces = self.pieces();
        pieces.handed_at.entry(id).or_insert_with(Instant::now);
        if pieces.handed_at.len() == 1 {
            self.handed.notify_one();
        }
    }

    fn taken(&self, id: u64) {
        self.pieces().handed_at.remove(&id);
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Noted ===

impl http_body::Body for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.unread.taken(this.id);
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        this.unread.hand(this.id);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.unread.taken(self.id);
    }
}

// === impl Watched ===

impl<IO> Watched<IO> {
    fn note<T>(&mut self, id: u64, outcome: Poll<T>) -> Poll<T> {
        let [write, flush] = &mut self.waits;
        let waits = if id == WRITE { write } else { flush };
        match (std::mem::replace(waits, outcome.is_pending()), outcome.is_pending()) {
            (false, true) => self.unread.hand(id),
            (true, false) => self.unread.taken(id),
            _ => {}
        }
        outcome
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(WRITE, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(WRITE, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.note(FLUSH, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
