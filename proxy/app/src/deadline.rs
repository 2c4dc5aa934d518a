//! Deadlines of connections, one slot each, checked by one sweep per worker.
//!
//! Almost every request moves its connection's deadline and almost none reaches it, so setting one is a store and not
//! an operation on a timer. The price is precision: a deadline is noticed up to [`SWEEP_INTERVAL`] late.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How often deadlines are compared with the time.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// All deadlines of one worker.
#[derive(Debug)]
pub(crate) struct Deadlines {
    slots: RefCell<Slots>,
    /// Wakes the sweep, which does not run while there are no slots.
    occupied: Notify,
    epoch: Instant,
}

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot {
    /// Milliseconds since the epoch; [`NEVER`] when there is none.
    at_millis: u64,
    /// Since when the connection has had nothing to do; [`NEVER`] while it is busy.
    idle_since_millis: u64,
    /// What was raised and not seen yet, a bit each.
    signals: u8,
    waker: Option<Waker>,
}

const NEVER: u64 = u64::MAX;

/// Why a connection is told to look up. Several can be raised at once; the first of these is seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Its deadline has passed.
    Expired,
    /// It is idle and its place is needed.
    Evicted,
    /// Something about the worker has changed, its drain for example.
    Changed,
}

/// One connection's slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Deadline {
    owner: Rc<Deadlines>,
    index: usize,
}

// === impl Deadlines ===

impl Deadlines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { slots: RefCell::default(), occupied: Notify::new(), epoch: Instant::now() })
    }

    pub(crate) fn slot(self: &Rc<Self>) -> Deadline {
        let slot = Slot { at_millis: NEVER, idle_since_millis: NEVER, signals: 0, waker: None };
        let mut slots = self.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => {
                if let Some(place) = slots.slots.get_mut(index) {
                    *place = slot;
                }
                index
            }
            None => {
                slots.slots.push(slot);
                slots.slots.len() - 1
            }
        };
        if slots.slots.len() - slots.free.len() == 1 {
            self.occupied.notify_one();
        }
        Deadline { owner: Rc::clone(self), index }
    }

    /// Compares deadlines with the time, for ever. `each` runs after every sweep.
    pub(crate) async fn sweep(self: Rc<Self>, mut each: impl FnMut(Instant)) {
        loop {
            let occupied = {
                let slots = self.slots.borrow();
                slots.slots.len() > slots.free.len()
            };
            if occupied {
                tokio::time::sleep(SWEEP_INTERVAL).await;
            } else {
                // Pools may still hold connections that have to go some time.
                let _elapsed = tokio::time::timeout(SWEEP_INTERVAL * 20, self.occupied.notified()).await;
            }
            let now = Instant::now();
            self.expire(now);
            each(now);
        }
    }

    fn expire(&self, now: Instant) {
        let now_millis = self.millis(now);
        for slot in &mut self.slots.borrow_mut().slots {
            if slot.at_millis <= now_millis {
                slot.at_millis = NEVER;
                slot.raise(Signal::Expired);
            }
        }
    }

    /// Tells every connection that something has changed.
    pub(crate) fn signal_all(&self) {
        self.slots.borrow_mut().slots.iter_mut().for_each(|slot| slot.raise(Signal::Changed));
    }

    /// Tells the connection that has been idle longest to go. False when none is idle.
    pub(crate) fn evict(&self) -> bool {
        let mut slots = self.slots.borrow_mut();
        let oldest = slots
            .slots
            .iter_mut()
            .filter(|slot| slot.idle_since_millis != NEVER)
            .min_by_key(|slot| slot.idle_since_millis);
        let Some(slot) = oldest else { return false };
        slot.idle_since_millis = NEVER;
        slot.raise(Signal::Evicted);
        true
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(NEVER - 2)
    }
}

// === impl Signal ===

impl Signal {
    const ALL: [Self; 3] = [Self::Expired, Self::Evicted, Self::Changed];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

// === impl Slot ===

impl Slot {
    fn raise(&mut self, signal: Signal) {
        self.signals |= signal.bit();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

// === impl Deadline ===

impl Deadline {
    /// Sets the deadline to `after` from `now`, `None` for none. That an earlier one has passed is forgotten: who sets a
    /// deadline has moved on from what the earlier one was for.
    pub(crate) fn set(&self, now: Instant, after: Option<Duration>) {
        // Late by a part of a millisecond and never early: who is told looks at the exact time.
        let at_millis = after.map_or(NEVER, |after| self.owner.millis(now + after) + 1);
        self.with(|slot| {
            slot.at_millis = at_millis;
            slot.signals &= !Signal::Expired.bit();
        });
    }

    /// Notes that the connection has nothing to do since then, or is busy again, and so is not evicted any more.
    pub(crate) fn set_idle(&self, since: Option<Instant>) {
        let idle_since_millis = since.map_or(NEVER, |since| self.owner.millis(since));
        self.with(|slot| {
            slot.idle_since_millis = idle_since_millis;
            slot.signals &= !Signal::Evicted.bit();
        });
    }

    /// Offers the place of the connection: it is the first to be evicted.
    pub(crate) fn offer(&self) {
        self.set_idle(Some(self.owner.epoch));
    }

    /// A signal that was raised and not seen yet, if any. Without one the task of `cx` will be woken by the next.
    pub(crate) fn poll_signal(&self, cx: &mut Context<'_>) -> Option<Signal> {
        self.with(|slot| {
            let raised = Signal::ALL.into_iter().find(|signal| slot.signals & signal.bit() != 0);
            match raised {
                Some(signal) => slot.signals &= !signal.bit(),
                None if slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) => {}
                None => slot.waker = Some(cx.waker().clone()),
            }
            raised
        })
        .flatten()
    }

    fn with<T>(&self, action: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.owner.slots.borrow_mut().slots.get_mut(self.index).map(action)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.with(|slot| {
            *slot = Slot { at_millis: NEVER, idle_since_millis: NEVER, signals: 0, waker: None }
        });
        self.owner.slots.borrow_mut().free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    fn signal(deadline: &Deadline) -> Option<Signal> {
        deadline.poll_signal(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_deadline_is_signaled_once_when_it_has_passed() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.slot();
        let now = Instant::now();
        deadline.set(now, Some(Duration::from_secs(5)));
        deadlines.expire(now + Duration::from_secs(4));
        assert_eq!(signal(&deadline), None);
        deadlines.expire(now + Duration::from_secs(6));
        assert_eq!(signal(&deadline), Some(Signal::Expired));
        assert_eq!(signal(&deadline), None);
    }

    #[test]
    fn a_deadline_that_passed_just_before_the_next_was_set_is_forgotten() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.slot();
        let now = Instant::now();
        deadline.set(now, Some(Duration::ZERO));
        deadlines.expire(now + Duration::from_secs(1));
        deadline.set(now, Some(Duration::from_secs(60)));
        assert_eq!(signal(&deadline), None);
        deadline.set_idle(Some(now));
        assert!(deadlines.evict());
        deadline.set_idle(None);
        assert_eq!(signal(&deadline), None);
    }

    #[test]
    fn a_change_does_not_hide_that_the_deadline_has_passed() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.slot();
        deadline.set(Instant::now(), Some(Duration::ZERO));
        deadlines.expire(Instant::now() + Duration::from_secs(1));
        deadlines.signal_all();
        assert_eq!(signal(&deadline), Some(Signal::Expired));
        assert_eq!(signal(&deadline), Some(Signal::Changed));
        assert_eq!(signal(&deadline), None);
    }

    #[test]
    fn the_longest_idle_connection_is_evicted_first() {
        let deadlines = Deadlines::new();
        let now = Instant::now();
        let [first, second, busy] = [0, 1, 2].map(|_| deadlines.slot());
        second.set_idle(Some(now + Duration::from_secs(1)));
        first.set_idle(Some(now + Duration::from_secs(2)));
        busy.set_idle(None);
        assert!(deadlines.evict());
        assert_eq!([&first, &second, &busy].map(signal), [None, Some(Signal::Evicted), None]);
        assert!(deadlines.evict());
        assert!(!deadlines.evict());
    }

    #[test]
    fn a_freed_slot_starts_clean() {
        let deadlines = Deadlines::new();
        let first = deadlines.slot();
        first.set(Instant::now(), Some(Duration::ZERO));
        drop(first);
        let second = deadlines.slot();
        deadlines.expire(Instant::now() + Duration::from_secs(9));
        assert_eq!(signal(&second), None);
        assert_eq!(deadlines.slots.borrow().slots.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweep_wakes_the_task_that_waits() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.slot();
        deadline.set(Instant::now(), Some(Duration::ZERO));
        let waiting = poll_fn(|cx| deadline.poll_signal(cx).map_or(Poll::Pending, Poll::Ready));
        tokio::select! {
            signal = waiting => assert_eq!(signal, Signal::Expired),
            () = Rc::clone(&deadlines).sweep(|_| {}) => {}
        }
    }
}
