//! How much more than at first the peers of a worker may send before it is passed on.
//!
//! Every stream begins with a small window, for as much may have to be kept of it while nobody takes it. A stream whose
//! data is taken gets a larger one, for what is under way on a long path is as much as its window. Together they are
//! never larger by more than a fixed number of bytes.

use std::cell::Cell;

/// What there is to be shared among all streams of a worker.
#[derive(Debug)]
pub(crate) struct Windows {
    /// The largest of one stream.
    bytes_max: u32,
    /// What is not lent to any.
    left: Cell<u32>,
}

/// The window of one stream.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u32,
    /// What of it is lent.
    lent: u32,
    /// What was passed on since it became so large.
    passed: usize,
}

// === impl Windows ===

impl Windows {
    /// Windows of at most `bytes_max`, which are larger than at first by `growth_bytes` together.
    pub(crate) fn new(bytes_max: u32, growth_bytes: u32) -> Self {
        Self { bytes_max, left: Cell::new(growth_bytes) }
    }

    /// Notes that so much of a stream was passed on. Returns by how much its window is to become larger: it is doubled
    /// each time all of it was passed on.
    pub(super) fn pass(&self, window: &mut Window, bytes: usize) -> Option<u32> {
        window.passed += bytes;
        let more = window.bytes.min(self.bytes_max.saturating_sub(window.bytes));
        if window.passed < window.bytes as usize || more == 0 {
            return None;
        }
        self.left.set(self.left.get().checked_sub(more)?);
        *window = Window { bytes: window.bytes + more, lent: window.lent + more, passed: 0 };
        Some(more)
    }

    /// Takes back what was lent to a stream that has ended.
    pub(super) fn give_back(&self, window: &Window) {
        self.left.set(self.left.get() + window.lent);
    }
}

// === impl Window ===

impl Window {
    /// One of `bytes` at first.
    pub(super) fn new(bytes: u32) -> Self {
        Self { bytes, lent: 0, passed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_doubles_each_time_it_was_passed_on_up_to_the_largest() {
        let windows = Windows::new(100, 1000);
        let mut window = Window::new(30);
        let grown = [29, 1, 59, 1, 100, 100].map(|bytes| windows.pass(&mut window, bytes));
        assert_eq!(grown, [None, Some(30), None, Some(40), None, None]);
        assert_eq!(windows.left.get(), 930);
    }

    #[test]
    fn all_windows_share_what_there_is_and_give_it_back() {
        let windows = Windows::new(1000, 100);
        let [mut first, mut second] = [(); 2].map(|()| Window::new(60));
        assert_eq!((windows.pass(&mut first, 60), windows.pass(&mut second, 60)), (Some(60), None));
        windows.give_back(&first);
        assert_eq!(windows.pass(&mut second, 0), Some(60));
        windows.give_back(&second);
        assert_eq!(windows.left.get(), 100);
    }
}
