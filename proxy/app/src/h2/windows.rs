//! How much more than at first the peers of a worker may send before it is passed on.
//!
//! Every stream begins with a small window, for as much may have to be kept of it while nobody takes it. A stream whose
//! data is taken gets a larger one, for what is under way on a long path is as much as its window. Together they are
//! never larger by more than a fixed number of bytes, and those of one connection by no more than a part of that.

use std::{cell::Cell, rc::Rc};

/// What there is to be shared among all streams of a worker.
#[derive(Debug)]
pub(crate) struct Windows {
    /// The largest of one stream.
    bytes_max: u32,
    growth_bytes: u32,
    /// What is not lent to any.
    left: Cell<u32>,
}

/// What of it the streams of one connection have.
#[derive(Debug)]
pub(super) struct Share {
    windows: Rc<Windows>,
    lent: Cell<u32>,
    lent_max: u32,
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

/// A connection may have one in so many parts.
const SHARES: u32 = 4;

// === impl Windows ===

impl Windows {
    /// Windows of at most `bytes_max`, which are larger than at first by `growth_bytes` together.
    pub(crate) fn new(bytes_max: u32, growth_bytes: u32) -> Self {
        Self { bytes_max, growth_bytes, left: Cell::new(growth_bytes) }
    }

    /// What a connection with a window of `connection_bytes` may have of it: a part, and no more than it can use.
    pub(super) fn share(self: &Rc<Self>, connection_bytes: u32) -> Share {
        let lent_max = (self.growth_bytes / SHARES).min(connection_bytes);
        Share { windows: Rc::clone(self), lent: Cell::new(0), lent_max }
    }
}

// === impl Share ===

impl Share {
    /// Notes that so much of a stream was passed on. Returns by how much its window is to become larger: it is doubled
    /// each time all of it was passed on.
    pub(super) fn pass(&self, window: &mut Window, bytes: usize) -> Option<u32> {
        window.passed += bytes;
        let more = window.bytes.min(self.windows.bytes_max.saturating_sub(window.bytes));
        if window.passed < window.bytes as usize || more == 0 || self.lent.get() + more > self.lent_max {
            return None;
        }
        self.windows.left.set(self.windows.left.get().checked_sub(more)?);
        self.lent.set(self.lent.get() + more);
        *window = Window { bytes: window.bytes + more, lent: window.lent + more, passed: 0 };
        Some(more)
    }

    /// Takes back what was lent to a stream that has ended.
    pub(super) fn give_back(&self, window: &Window) {
        self.lent.set(self.lent.get().saturating_sub(window.lent));
        self.windows.left.set(self.windows.left.get() + window.lent);
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

    fn windows(bytes_max: u32, growth_bytes: u32) -> Rc<Windows> {
        Rc::new(Windows::new(bytes_max, growth_bytes))
    }

    #[test]
    fn a_window_doubles_each_time_it_was_passed_on_up_to_the_largest() {
        let windows = windows(100, 1000);
        let (share, mut window) = (windows.share(1000), Window::new(30));
        let grown = [29, 1, 59, 1, 100, 100].map(|bytes| share.pass(&mut window, bytes));
        assert_eq!(grown, [None, Some(30), None, Some(40), None, None]);
        assert_eq!(windows.left.get(), 930);
    }

    #[test]
    fn all_windows_share_what_there_is_and_give_it_back() {
        let windows = windows(1000, 100);
        let shares = [(); 5].map(|()| windows.share(1000));
        let mut streams = [(); 5].map(|()| Window::new(25));
        let grown: Vec<_> = shares.iter().zip(&mut streams).map(|(share, one)| share.pass(one, 25)).collect();
        assert_eq!(grown, [Some(25), Some(25), Some(25), Some(25), None]);
        shares[0].give_back(&streams[0]);
        assert_eq!(shares[4].pass(&mut streams[4], 0), Some(25));
        shares[1..].iter().zip(&streams[1..]).for_each(|(share, one)| share.give_back(one));
        assert_eq!(windows.left.get(), 100);
    }

    #[test]
    fn a_connection_has_no_more_than_its_part_and_what_it_can_use() {
        let both = [Some(20), Some(20)];
        for (growth_bytes, connection_bytes, grown) in
            [(1000, 39, [Some(20), None]), (1000, 40, both), (159, 1000, [Some(20), None]), (160, 1000, both)]
        {
            let share = windows(1000, growth_bytes).share(connection_bytes);
            let mut streams = [(); 2].map(|()| Window::new(20));
            assert_eq!(
                streams.each_mut().map(|one| share.pass(one, 20)),
                grown,
                "{growth_bytes} {connection_bytes}"
            );
        }
    }
}
