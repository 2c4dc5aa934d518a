//! Heads that are kept for their memory.

use std::cell::RefCell;

use spurline_http::Head;

/// Heads that are kept.
const HEADS_MAX: usize = 256;
/// A head that grew past this is not kept.
const HEAD_BYTES_KEPT: usize = 8 * 1024;

/// The spare heads of one worker.
#[derive(Debug, Default)]
pub(crate) struct Heads(RefCell<Vec<Head>>);

impl Heads {
    /// An empty head, with the memory of an earlier one.
    pub(crate) fn take(&self) -> Head {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, mut head: Head) {
        let mut heads = self.0.borrow_mut();
        if heads.len() < HEADS_MAX && (1..=HEAD_BYTES_KEPT).contains(&head.capacity_bytes()) {
            head.clear();
            heads.push(head);
        }
    }
}
