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
/// Spare large allocations that a thread keeps.
const LARGE_SPARES_MAX: usize = 16;
/// Large allocations that a thread's buffers hold at a time: clients that do not take what comes fast would hold as many.
const LARGE_MAX: usize = 64;
/// How much larger a large allocation is.
const LARGE_FACTOR: usize = 4;
/// Room of an allocation beyond what is read into it at a time, so that a full read still fits with a chunk's framing.
const SLACK_BYTES: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new(16 * 1024)) };
}

struct Pool {
    usual: Spares,
    large: Spares,
    /// Large allocations that buffers hold.
    large_held: usize,
}

/// Allocations of one size.
struct Spares {
    spares: Vec<Vec<u8>>,
    max: usize,
    /// Bytes that are read at a time. Every allocation has [`SLACK_BYTES`] more.
    bytes: usize,
}

/// How much is read at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Amount {
    #[default]
    Usual,
    /// Of what comes faster than it is read: fewer calls move it.
    Large,
}

/// Sets how many bytes this thread's buffers hold. To be called before the first is used.
pub(crate) fn set_buffer_bytes(bytes: usize) {
    POOL.with_borrow_mut(|pool| *pool = Pool::new(bytes));
}

/// An allocation of the pool, to be given back with [`recycle`].
pub(crate) fn spare() -> Vec<u8> {
    let mut buffer = Buffer::default();
    std::mem::take(buffer.writer())
}

/// Takes an allocation back that was a buffer's.
pub(crate) fn recycle(bytes: Vec<u8>) {
    drop(Buffer { bytes, ..Buffer::default() });
}

/// Bytes that were read and are not used yet, or that are to be written.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// What `bytes` was taken from the pool as.
    amount: Amount,
}

// === impl Amount ===

impl Amount {
    /// That of so many bytes.
    fn of(bytes: usize) -> Self {
        if bytes < POOL.with_borrow(|pool| pool.usual.bytes) { Self::Usual } else { Self::Large }
    }
}

// === impl Pool ===

impl Pool {
    const fn new(bytes: usize) -> Self {
        Self {
            usual: Spares { spares: Vec::new(), max: SPARES_MAX, bytes },
            large: Spares { spares: Vec::new(), max: LARGE_SPARES_MAX, bytes: LARGE_FACTOR * bytes },
            large_held: 0,
        }
    }

    /// An allocation, and which it is: a usual one also where there are no more large ones.
    fn take(&mut self, amount: Amount) -> (Vec<u8>, Amount) {
        if amount == Amount::Usual || self.large_held == LARGE_MAX {
            return (self.usual.take(), Amount::Usual);
        }
        self.large_held += 1;
        (self.large.take(), Amount::Large)
    }

    fn give(&mut self, bytes: Vec<u8>, amount: Amount) {
        match amount {
            Amount::Usual => self.usual.give(bytes),
            Amount::Large => {
                self.large_held = self.large_held.saturating_sub(1);
                self.large.give(bytes);
            }
        }
    }
}

// === impl Spares ===

impl Spares {
    fn take(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_else(|| Vec::with_capacity(self.bytes + SLACK_BYTES))
    }

    /// Keeps the allocation if it is one of these and there are not enough of them.
    fn give(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() == self.bytes + SLACK_BYTES && self.spares.len() < self.max {
            bytes.clear();
            self.spares.push(bytes);
        }
    }
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
        self.writer_of(Amount::Usual)
    }

    /// [`Buffer::writer`] for that many bytes.
    pub(crate) fn writer_for(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.writer_of(Amount::of(bytes))
    }

    fn writer_of(&mut self, amount: Amount) -> &mut Vec<u8> {
        self.acquire(amount);
        if self.start > 0 && self.start >= self.len() {
            // What never becomes quite empty would keep all that ever went through it.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Puts bytes behind the others, as many as are read at a time in all. Returns how many fitted.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        self.acquire(Amount::Usual);
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

    /// Reads once from `stream`, as much as fits. 0 means that the peer has ended its stream. `amount` is for an empty
    /// buffer, and becomes that of the next read.
    ///
    /// To be called only while not [`Buffer::is_full`].
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
        amount: &mut Amount,
    ) -> Poll<io::Result<usize>> {
        self.acquire(*amount);
        if self.start > 0 && self.room() == 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let read = self.poll_read(cx, stream, self.room());
        if let Poll::Ready(Ok(count)) = read {
            *amount = Amount::of(count);
        }
        read
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
        self.acquire(Amount::Usual);
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

    fn acquire(&mut self, amount: Amount) {
        if self.bytes.capacity() == 0 {
            (self.bytes, self.amount) = POOL.with_borrow_mut(|pool| pool.take(amount));
            self.start = 0;
        }
    }

    fn release(&mut self) {
        let (bytes, amount) = (std::mem::take(&mut self.bytes), self.amount);
        self.start = 0;
        if bytes.capacity() == 0 {
            return;
        }
        // At the end of a thread the pool may be gone before its last buffers; then they are just freed.
        let _gone = POOL.try_with(|pool| pool.borrow_mut().give(bytes, amount));
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
        assert_eq!(POOL.with_borrow(|pool| pool.usual.spares.len()), SPARES_MAX - 1);
        assert!(POOL.with_borrow(|pool| pool.large.spares.is_empty()));
    }

    #[test]
    fn what_fills_a_usual_allocation_gets_a_large_one_that_is_kept() {
        let bytes = vec![0; POOL.with_borrow(|pool| pool.usual.bytes)];
        let mut first = Buffer::default();
        first.writer_for(bytes.len()).extend_from_slice(&bytes);
        let place = first.data().as_ptr();
        drop(first);
        let mut usual = Buffer::default();
        usual.writer_for(bytes.len() - 1).push(1);
        assert_ne!(usual.data().as_ptr(), place);
        let mut second = Buffer::default();
        second.writer_for(bytes.len()).push(1);
        assert_eq!(second.data().as_ptr(), place);
    }

    #[test]
    fn no_more_large_allocations_are_held_than_may_be() {
        let usual = POOL.with_borrow(|pool| pool.usual.bytes);
        let mut many: Vec<Buffer> = (0..LARGE_MAX + 9).map(|_| Buffer::default()).collect();
        many.iter_mut().for_each(|buffer| buffer.writer_for(usual).push(1));
        let large = |many: &[Buffer]| many.iter().filter(|one| one.bytes.capacity() > 2 * usual).count();
        assert_eq!(large(&many), LARGE_MAX);
        // One that has grown counts as what it was taken as.
        many[0].writer().resize(9 * usual, 0);
        drop(many);
        let mut again: Vec<Buffer> = (0..LARGE_MAX).map(|_| Buffer::default()).collect();
        again.iter_mut().for_each(|buffer| buffer.writer_for(usual).push(1));
        assert_eq!(large(&again), LARGE_MAX);
    }
}
