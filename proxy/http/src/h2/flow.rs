//! Flow-control windows (RFC 9113 sections 5.2 and 6.9): numbers that grow and shrink, nothing else.

use super::Violation;

/// The largest window there is (RFC 9113 section 6.9.1).
pub(super) const WINDOW_BYTES_MAX: u32 = 0x7fff_ffff;
/// The window of a connection and of its streams before anything is said (RFC 9113 section 6.9.2).
pub(super) const WINDOW_BYTES_INITIAL: u32 = 65_535;

/// What the peer lets us send. It is below 0 after the peer has made its initial window smaller than what was already
/// sent (RFC 9113 section 6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) fn new(bytes: u32) -> Self {
        Self(i64::from(bytes))
    }

    /// Bytes that may be sent now.
    pub(super) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Takes what was [`Self::available`].
    pub(super) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available(), "{bytes} of {}", self.0);
        self.0 -= i64::try_from(bytes).unwrap_or(0);
    }

    /// Adds what a `WINDOW_UPDATE` grants, or the change of the initial window.
    ///
    /// # Errors
    /// [`Violation::WindowOverflow`].
    pub(super) fn shift(&mut self, bytes: i64) -> Result<(), Violation> {
        let shifted = self.0 + bytes;
        if shifted > i64::from(WINDOW_BYTES_MAX) {
            return Err(Violation::WindowOverflow);
        }
        self.0 = shifted;
        Ok(())
    }
}

/// What we let the peer send, and what of it we have not given back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Bytes that the peer may still send.
    left: i64,
    /// Bytes that have been given back and are not announced yet.
    unannounced: u32,
    /// The window that a peer sees which has nothing under way.
    size: u32,
}

impl ReceiveWindow {
    pub(super) fn new(bytes: u32) -> Self {
        Self { left: i64::from(bytes), unannounced: 0, size: bytes }
    }

    /// # Errors
    /// [`Violation::WindowExceeded`].
    pub(super) fn receive(&mut self, bytes: u32) -> Result<(), Violation> {
        if i64::from(bytes) > self.left {
            return Err(Violation::WindowExceeded);
        }
        self.left -= i64::from(bytes);
        Ok(())
    }

    /// Gives bytes back. Returns the increment to announce, once it is half a window or as much as the peer may still send:
    /// fewer and larger updates, and still before the peer has to stop, however much of the window is held.
    pub(super) fn give_back(&mut self, bytes: u32) -> Option<u32> {
        self.unannounced += bytes;
        let is_little = self.unannounced < self.size / 2 && i64::from(self.unannounced) < self.left;
        if self.unannounced == 0 || is_little {
            return None;
        }
        let increment = std::mem::take(&mut self.unannounced);
        self.left += i64::from(increment);
        Some(increment)
    }

    /// Makes the window larger. Returns the increment to announce.
    pub(super) fn widen(&mut self, bytes: u32) -> u32 {
        self.size += bytes;
        let increment = bytes + std::mem::take(&mut self.unannounced);
        self.left += i64::from(increment);
        increment
    }

    /// The peer has acknowledged an initial window that is smaller by that than the one it had to be given credit for.
    /// Returns the increment to announce, as [`Self::give_back`].
    pub(super) fn shrink(&mut self, bytes: u32) -> Option<u32> {
        self.left -= i64::from(bytes);
        self.size = self.size.saturating_sub(bytes);
        self.give_back(0)
    }

    /// Bytes that have been received and not been given back.
    #[cfg(test)]
    pub(super) fn outstanding(self) -> i64 {
        i64::from(self.size) - self.left - i64::from(self.unannounced)
    }

    /// Bytes that the peer may still send.
    #[cfg(test)]
    pub(super) fn left(self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_can_be_negative_and_cannot_overflow() {
        let mut window = SendWindow::new(10);
        window.take(10);
        window.shift(-5).unwrap();
        assert_eq!(window.available(), 0);
        window.shift(5).unwrap();
        assert_eq!(window.available(), 0);
        window.shift(1).unwrap();
        assert_eq!(window.available(), 1);
        assert_eq!(window.shift(i64::from(WINDOW_BYTES_MAX)), Err(Violation::WindowOverflow));
        assert_eq!(window.shift(i64::from(WINDOW_BYTES_MAX) - 1), Ok(()));
    }

    #[test]
    fn updates_are_gathered_until_they_are_half_a_window() {
        let mut window = ReceiveWindow::new(100);
        window.receive(50).unwrap();
        assert_eq!(window.give_back(49), None);
        assert_eq!(window.outstanding(), 1);
        assert_eq!(window.give_back(1), Some(50));
        assert_eq!(window.receive(101), Err(Violation::WindowExceeded));
        assert_eq!(window.receive(100), Ok(()));
        assert_eq!(window.outstanding(), 100);
        assert_eq!(window.give_back(1), Some(1), "the peer has to stop");
    }

    #[test]
    fn a_window_that_is_mostly_held_is_announced_before_the_peer_has_to_stop() {
        let mut window = ReceiveWindow::new(100);
        window.receive(70).unwrap();
        let (mut sent, mut announced) = (0, 0);
        for _ in 0..1000 {
            window.receive(1).expect("the window is never used up");
            (sent, announced) = (sent + 1, announced + window.give_back(1).unwrap_or(0));
        }
        assert!(announced <= sent && sent - announced < 30, "{announced} of {sent}");
    }

    #[test]
    fn what_was_passed_on_is_announced_when_the_window_becomes_smaller() {
        let mut window = ReceiveWindow::new(100);
        window.receive(40).unwrap();
        assert_eq!(window.give_back(40), None);
        assert_eq!(window.shrink(60), Some(40));
    }

    #[test]
    fn a_window_of_one_byte_is_given_back_byte_by_byte_and_nothing_is_never_announced() {
        let mut window = ReceiveWindow::new(1);
        assert_eq!(window.give_back(0), None);
        window.receive(1).unwrap();
        assert_eq!(window.give_back(1), Some(1));
    }

    #[test]
    fn a_window_can_be_made_larger_and_says_with_that_what_was_given_back() {
        let mut window = ReceiveWindow::new(100);
        window.receive(50).unwrap();
        assert_eq!(window.give_back(40), None);
        assert_eq!(window.widen(100), 140);
        assert_eq!(window.receive(190), Ok(()));
        assert_eq!(window.receive(1), Err(Violation::WindowExceeded));
        assert_eq!(window.outstanding(), 200);
    }

    #[test]
    fn a_window_can_be_made_smaller_than_what_is_under_way() {
        let mut window = ReceiveWindow::new(100);
        window.receive(60).unwrap();
        assert_eq!(window.shrink(50), None);
        assert_eq!(window.receive(1), Err(Violation::WindowExceeded));
        assert_eq!(window.give_back(60), Some(60));
        assert_eq!(window.receive(50), Ok(()));
        assert_eq!(window.receive(1), Err(Violation::WindowExceeded));
    }
}
