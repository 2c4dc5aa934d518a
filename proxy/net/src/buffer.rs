//! Byte buffers that idle connections do not hold.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// The size of a pooled buffer, in bytes: two of them, one per direction, are all a stalled tunnel holds.
pub const BUFFER_BYTES: usize = 32 * 1024;
/// Spare buffers a thread keeps (2 MiB): enough for the directions in flight at once on one worker.
const SPARES_MAX: usize = 64;

thread_local! {
    // Per thread, so that taking one is a pop without a lock; workers share nothing on the request path.
    static SPARES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// [`BUFFER_BYTES`] bytes on loan from the thread's pool, or the bytes it was made from.
///
/// A fresh loan holds whatever its last user left in it. Dropping returns it, to the pool of the thread that
/// drops it, if there is room.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
}

// === impl Buffer ===

impl Buffer {
    /// Takes a buffer from this thread's pool, or allocates one.
    pub fn take() -> Self {
        let spare = SPARES.try_with(|spares| spares.borrow_mut().pop()).ok().flatten();
        Self { bytes: spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()) }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_boxed_slice() }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() != BUFFER_BYTES {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        // At the end of a thread the pool may be gone before its last buffers; then they are just freed.
        let _gone = SPARES.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            if spares.len() < SPARES_MAX {
                spares.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_taken_again() {
        let first = Buffer::take();
        let place = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take().as_ptr(), place);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_limit() {
        let loans: Vec<_> = (0..SPARES_MAX + 8).map(|_| Buffer::take()).collect();
        drop(loans);
        assert_eq!(SPARES.with(|spares| spares.borrow().len()), SPARES_MAX);
    }

    #[test]
    fn given_bytes_never_enter_the_pool() {
        let before = SPARES.with(|spares| spares.borrow().len());
        drop(Buffer::from(vec![1, 2, 3]));
        assert_eq!(SPARES.with(|spares| spares.borrow().len()), before);
    }
}
