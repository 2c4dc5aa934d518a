//! Circuit breaker: how much of a destination one worker may hold at a time.
//!
//! It counts and refuses, it does not queue: a request over a limit is answered at once, so that a slow destination
//! cannot take the memory of the proxy. The counters are plain numbers; what acquires releases, once.

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// Connections, being opened, in use or idle.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests on a connection whose responses have not ended.
    Requests,
}

/// The most of each that may be held. 0 refuses everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maxima {
    pub(crate) connections: u32,
    pub(crate) pending: u32,
    pub(crate) requests: u32,
}

/// The counters of one destination.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    maxima: Maxima,
    held: Held,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: u32,
    pending: u32,
    requests: u32,
}

/// The part of the requests that is kept for connections which hold few: one in so many.
const RESERVE: u32 = 8;
/// What of that part a second request of a connection has to leave: one in so many.
const RESERVE_OF_SECOND: u32 = 4;

/// The limit that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker open: {} {}", .max, .limit.label())]
pub(crate) struct Tripped {
    pub(crate) limit: Limit,
    pub(crate) max: u32,
}

// === impl Limit ===

impl Limit {
    /// The name of the limit in metrics, logs and refusals.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
        }
    }
}

// === impl Breaker ===

impl Breaker {
    pub(crate) fn new(maxima: Maxima) -> Self {
        Self { maxima, held: Held::default() }
    }

    /// Counts one more, or says which limit is reached and counts nothing.
    pub(crate) fn try_acquire(&mut self, limit: Limit) -> Result<(), Tripped> {
        let (held, max) = self.counter(limit);
        if *held >= max {
            return Err(Tripped { limit, max });
        }
        *held += 1;
        Ok(())
    }

    /// Gives back what one successful [`Self::try_acquire`] counted.
    pub(crate) fn release(&mut self, limit: Limit) {
        let (held, _) = self.counter(limit);
        debug_assert!(*held > 0, "released more {} than acquired", limit.label());
        *held = held.saturating_sub(1);
    }

    /// Whether a connection of a client that holds `others` requests is to have no more. The last of the requests are kept
    /// for those who hold none or one: the first request of a connection may take any that is free, a second has to leave
    /// some of these, and more have to leave all, so that those who hold much cannot take the last from the others.
    pub(crate) fn is_crowded(&self, others: u32) -> bool {
        let reserve = self.maxima.requests / RESERVE;
        let kept = match others {
            0 => 0,
            1 => reserve / RESERVE_OF_SECOND,
            _ => reserve,
        };
        kept > 0 && self.maxima.requests.saturating_sub(self.held.requests) <= kept
    }

    fn counter(&mut self, limit: Limit) -> (&mut u32, u32) {
        match limit {
            Limit::Connections => (&mut self.held.connections, self.maxima.connections),
            Limit::Pending => (&mut self.held.pending, self.maxima.pending),
            Limit::Requests => (&mut self.held.requests, self.maxima.requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAXIMA: Maxima = Maxima { connections: 2, pending: 1, requests: 3 };
    const LIMITS: [Limit; 3] = [Limit::Connections, Limit::Pending, Limit::Requests];

    #[test]
    fn a_refusal_names_the_limit_and_counts_nothing() {
        let mut breaker = Breaker::new(MAXIMA);
        assert_eq!(breaker.try_acquire(Limit::Pending), Ok(()));
        let tripped = breaker.try_acquire(Limit::Pending).unwrap_err();
        assert_eq!(tripped, Tripped { limit: Limit::Pending, max: 1 });
        assert_eq!(tripped.to_string(), "circuit breaker open: 1 pending");
        assert_eq!(breaker.held.pending, 1);
    }

    #[test]
    fn what_is_left_is_for_those_who_hold_little() {
        let mut breaker = Breaker::new(Maxima { requests: 80, ..MAXIMA });
        let hold = |breaker: &mut Breaker, count: u32| {
            (0..count).for_each(|_| breaker.try_acquire(Limit::Requests).unwrap());
        };
        hold(&mut breaker, 69);
        assert!(!breaker.is_crowded(69));
        hold(&mut breaker, 1);
        // Ten are left, two of them for those who hold none.
        assert!(breaker.is_crowded(69) && breaker.is_crowded(2) && !breaker.is_crowded(1));
        hold(&mut breaker, 8);
        assert!(breaker.is_crowded(1) && !breaker.is_crowded(0));
        (0..9).for_each(|_| breaker.release(Limit::Requests));
        assert!(!breaker.is_crowded(69));
    }

    #[test]
    fn the_limits_are_independent_and_a_release_makes_room() {
        let mut breaker = Breaker::new(MAXIMA);
        assert_eq!(breaker.try_acquire(Limit::Pending), Ok(()));
        assert_eq!(breaker.try_acquire(Limit::Connections), Ok(()));
        breaker.release(Limit::Pending);
        assert_eq!(breaker.try_acquire(Limit::Pending), Ok(()));
        assert_eq!(breaker.held.connections, 1);
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_was_acquired_and_never_more_than_allowed(
            steps in prop::collection::vec((0usize..3, any::<bool>()), 0..200),
        ) {
            let mut breaker = Breaker::new(MAXIMA);
            let mut held = [0u32; 3];
            for (which, acquire) in steps {
                let max = [2, 1, 3][which];
                if acquire {
                    let acquired = breaker.try_acquire(LIMITS[which]).is_ok();
                    prop_assert_eq!(acquired, held[which] < max);
                    held[which] += u32::from(acquired);
                } else if held[which] > 0 {
                    breaker.release(LIMITS[which]);
                    held[which] -= 1;
                }
                let Held { connections, pending, requests } = breaker.held;
                prop_assert_eq!([connections, pending, requests], held);
            }
        }
    }
}
