//! Byte queues between two sockets. An empty one holds no memory: its allocation goes back to the thread's pool, so
//! that an idle connection costs none.

use std::{
    cell::RefCell,
    future::Future,
    io,
    ops::Range,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::BufMut;
use spurline_net::Transport;
use tokio::io::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt};

/// Spare allocations that a thread keeps.
const SPARES_MAX: usize = 128;
/// Room of an allocation beyond what is read into it at a time, so that a full read still fits with a chunk's framing.
const SLACK_BYTES: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { spares: Vec::new(), bytes: 16 * 1024 }) };
}

struct Pool {
    spares: Vec<Vec<u8>>,
    /// Bytes that are read at a time. Every allocation has [`SLACK_BYTES`] more.
    bytes: usize,
}

/// Sets how many bytes this thread's buffers hold. To be called before the first is used.
pub(crate) fn set_buffer_bytes(bytes: usize) {
    POOL.with_borrow_mut(|pool| *pool = Pool { spares: Vec::new(), bytes });
}

/// An allocation of the pool, to be given back with [`recycle`].
pub(crate) fn spare() -> Vec<u8> {
    let mut buffer = Buffer::default();
    std::mem::take(buffer.writer())
}

/// Takes an allocation back that was a buffer's.
pub(crate) fn recycle(bytes: Vec<u8>) {
    drop(Buffer { bytes, start: 0 });
}

/// Bytes that were read and are not used yet, or that are to be written.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether no more can be read before some of it is used.
    pub(crate) fn is_full(&self) -> bool {
        self.start == 0 && !self.bytes.is_empty() && self.room() == 0
    }

    /// Takes `count` bytes off the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.is_empty() {
            self.release();
        }
    }

    /// Takes back what was appended beyond `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
        if self.is_empty() {
            self.release();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = self.bytes.len();
        self.release();
    }

    /// The vector to append to. It may grow past the pool's capacity; such an allocation is not kept.
    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        self.acquire();
        if self.start > 0 && self.start >= self.len() {
            // What never becomes quite empty would keep all that ever went through it.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Puts bytes behind the others, as many as are read at a time in all. Returns how many fitted.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        self.acquire();
        let free = self.bytes.capacity() - self.bytes.len();
        let room = (self.bytes.capacity().saturating_sub(SLACK_BYTES + self.len())).min(free);
        let fitting = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(fitting);
        fitting.len()
    }

    /// Whether at least half of the allocation is data, so that it may be kept for it.
    pub(crate) fn is_mostly_data(&self) -> bool {
        self.len() >= self.bytes.capacity() / 2
    }

    /// Takes the bytes of `range` and those before it off the front. Where that is most of what this buffer can hold and
    /// little is behind it, the allocation goes with it, so that only what is behind is copied; else `None`, and
    /// nothing has changed.
    pub(crate) fn split_most(&mut self, range: &Range<usize>) -> Option<Self> {
        let behind = self.data().get(range.end..)?;
        if range.len() < self.bytes.capacity() / 2 || behind.len() > range.len() / 8 {
            return None;
        }
        let mut rest = Self::default();
        if !behind.is_empty() {
            rest.writer().extend_from_slice(behind);
        }
        let mut taken = std::mem::replace(self, rest);
        taken.truncate(range.end);
        taken.consume(range.start);
        Some(taken)
    }

    /// Takes everything out, as a vector of its own.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let bytes = self.data().to_vec();
        self.clear();
        bytes
    }

    /// Reads once from `stream`, as much as fits. 0 means that the peer has ended its stream.
    ///
    /// To be called only while not [`Buffer::is_full`].
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<io::Result<usize>> {
        self.acquire();
        if self.start > 0 && self.room() == 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.poll_read(cx, stream, self.room())
    }

    /// The same, but at most so many bytes. That may be a little more than otherwise fits.
    ///
    /// To be called only while empty.
    pub(crate) fn poll_fill_up_to(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        self.acquire();
        self.poll_read(cx, stream, bytes.min(self.bytes.capacity()))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let read = pin!(stream.read_buf(&mut (&mut self.bytes).limit(room))).poll(cx);
        if self.is_empty() {
            self.release();
        }
        read
    }

    /// Writes until nothing is left, here or in `stream`, or the socket takes no more. Returns how much was written, if that
    /// is anything.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while !self.is_empty() {
            match pin!(stream.write(self.data())).poll(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    written += count;
                    self.consume(count);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(written)),
            }
        }
        if stream.has_unsent() {
            match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(written))
    }

    /// Makes room for `bytes` in all, beyond what buffers hold. Such an allocation is not kept.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes.reserve((bytes + SLACK_BYTES).saturating_sub(self.len()));
    }

    /// How much more can be read.
    fn room(&self) -> usize {
        self.bytes.capacity().saturating_sub(SLACK_BYTES + self.bytes.len())
    }

    fn acquire(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = POOL.with_borrow_mut(|pool| {
                pool.spares.pop().unwrap_or_else(|| Vec::with_capacity(pool.bytes + SLACK_BYTES))
            });
            self.start = 0;
        }
    }

    fn release(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.start = 0;
        if bytes.capacity() == 0 {
            return;
        }
        // At the end of a thread the pool may be gone before its last buffers; then they are just freed.
        let _gone = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if bytes.capacity() == pool.bytes + SLACK_BYTES && pool.spares.len() < SPARES_MAX {
                bytes.clear();
                pool.spares.push(bytes);
            }
        });
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_holds_no_memory_and_its_allocation_is_used_again() {
        let mut first = Buffer::default();
        first.writer().extend_from_slice(b"abc");
        let place = first.data().as_ptr();
        first.consume(1);
        first.truncate(2);
        assert_eq!(first.data(), b"bc");
        first.consume(1);
        assert_eq!(first.data(), b"c");
        first.consume(9);
        assert!(first.is_empty());
        assert_eq!(first.bytes.capacity(), 0);
        let mut second = Buffer::default();
        second.writer().push(1);
        assert_eq!(second.data().as_ptr(), place);
    }

    #[test]
    fn a_buffer_that_never_becomes_empty_does_not_grow() {
        let mut buffer = Buffer::default();
        let mut expected = 0_u8;
        buffer.writer().extend_from_slice(&[0; 100]);
        for round in 1..2000_u32 {
            buffer.writer().extend_from_slice(&[round as u8; 1000]);
            buffer.consume(1000);
            expected = if buffer.data()[0] == expected { expected } else { expected.wrapping_add(1) };
            assert_eq!(buffer.data()[0], expected);
            assert!(buffer.bytes.capacity() < 20_000, "{}", buffer.bytes.capacity());
        }
        assert_eq!(buffer.len(), 100);
    }

    #[test]
    fn most_of_a_buffer_goes_with_its_allocation_and_little_of_it_does_not() {
        let mut whole = Buffer::default();
        whole.writer().extend_from_slice(&[1; 9]);
        whole.writer().extend_from_slice(&[2; 16_000]);
        whole.writer().extend_from_slice(b"rest");
        let place = whole.data()[9..].as_ptr();
        assert!(whole.split_most(&(9..9000)).is_none(), "too much is behind it");
        let most = whole.split_most(&(9..16_009)).unwrap();
        assert_eq!((most.data(), most.data().as_ptr()), (&[2; 16_000][..], place));
        assert_eq!(whole.data(), b"rest");
        assert!(whole.split_most(&(0..4)).is_none(), "it is a small part of what the buffer can hold");
        assert_eq!(whole.data(), b"rest");
    }

    #[test]
    fn what_is_appended_fills_a_buffer_and_no_more() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.append(&[1; 16_000]), 16_000);
        assert_eq!(buffer.append(&[2; 1000]), 384);
        assert_eq!(buffer.append(&[3]), 0);
        assert_eq!(buffer.len(), 16 * 1024);
    }

    #[test]
    fn the_pool_keeps_neither_too_many_nor_too_large_allocations() {
        let mut many: Vec<Buffer> = (0..SPARES_MAX + 9).map(|_| Buffer::default()).collect();
        many.iter_mut().for_each(|buffer| buffer.writer().push(1));
        drop(many);
        let mut large = Buffer::default();
        large.writer().resize(100_000, 0);
        drop(large);
        assert_eq!(POOL.with_borrow(|pool| pool.spares.len()), SPARES_MAX - 1);
    }
}
