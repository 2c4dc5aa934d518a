//! What clients reject, in the log: enough to find the fault, and not so much that a client fills a disk with it.

use std::time::{Duration, Instant};

use spurline_core::catalog::ResourceType;
use spurline_hub::{Node, REASON_BYTES_MAX, Rejection};

/// Lines of one stream per [`PERIOD`]. One more counts the others.
const LINES_MAX: u32 = 8;
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Log {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Log {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, lines: 0, left_out: 0 }
    }

    pub(super) fn note(&mut self, ty: ResourceType, rejection: &Rejection, node: impl FnOnce() -> Node) {
        let Some(left_out) = self.may_write(Instant::now()) else { return };
        let node = node();
        let node = if node.id.is_empty() { node.cluster } else { node.id };
        let reason = rejection.reason.get(..rejection.reason.floor_char_boundary(REASON_BYTES_MAX));
        let name = rejection.name.as_deref();
        tracing::warn!(node, ?ty, name, reason, left_out, "A client rejects what it was sent");
    }

    /// Whether there may be one more line, and how many there were not since the last one.
    fn may_write(&mut self, now: Instant) -> Option<u64> {
        if now >= self.since + PERIOD {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.left_out > 0 {
            tracing::warn!(left_out = self.left_out, "A client that is gone rejected more than was logged");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_rejects_without_end_is_logged_a_little_and_counted() {
        let start = Instant::now();
        let mut log = Log::new(start);
        let written = (0..10_000).filter(|_| log.may_write(start).is_some()).count();
        assert_eq!(written, 8);
        assert_eq!(log.may_write(start + PERIOD), Some(9_992));
        assert_eq!(log.may_write(start + PERIOD), Some(0));
        assert_eq!(log.left_out, 0);
    }
}
