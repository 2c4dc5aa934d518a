//! Whether the requests of a load arrived where their keys say. The load generators look at nobody's answer: the backends count.

use std::path::Path;

use anyhow::{Result, ensure};

/// Where the requests of a load have to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Steering<'a> {
    /// None carries a key.
    Baseline,
    /// All carry one.
    Fork,
    /// Three of four carry one, each another of this file.
    Varied(&'a Path),
}

/// Requests, by where they belong or where they came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Requests {
    /// Without a key, or at the baseline.
    pub(crate) baseline: u64,
    /// With one, or at the fork.
    pub(crate) fork: u64,
}

impl Steering<'_> {
    /// Of a load that sends `requests` of one kind.
    pub(crate) fn all_of(self, requests: u64) -> Requests {
        match self {
            Self::Fork => Requests { baseline: 0, fork: requests },
            Self::Baseline | Self::Varied(_) => Requests { baseline: requests, fork: 0 },
        }
    }
}

impl Requests {
    /// Those since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { baseline, fork } = self;
        Self { baseline: baseline.saturating_sub(before.baseline), fork: fork.saturating_sub(before.fork) }
    }

    /// Refuses a load of which `self` arrived and `sent` was to: up to `at_once` may have been under way when it began, of the load
    /// before it, and as many when it ended. Where nothing was to arrive nothing may.
    pub(crate) fn ensure_are(self, sent: Self, at_once: u64) -> Result<()> {
        let is_right = |arrived: u64, sent: u64| match sent {
            0 => arrived == 0,
            sent => arrived.abs_diff(sent) <= 2 * at_once,
        };
        ensure!(
            is_right(self.baseline, sent.baseline) && is_right(self.fork, sent.fork),
            "{} requests without a key and {} with one were sent, and {} came to the baseline, {} to the fork",
            sent.baseline,
            sent.fork,
            self.baseline,
            self.fork
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_at_the_wrong_backend_is_seen_where_none_belongs() {
        let arrived = |baseline, fork| Requests { baseline, fork };
        let sent = Steering::Baseline.all_of(1000);
        assert!(arrived(1010, 0).ensure_are(sent, 64).is_ok());
        assert!(arrived(999, 1).ensure_are(sent, 64).is_err());
        assert!(arrived(1, 1000).ensure_are(Steering::Fork.all_of(1000), 64).is_err());
    }

    #[test]
    fn of_requests_for_both_only_those_under_way_may_be_missing() {
        let sent = Requests { baseline: 1000, fork: 3000 };
        let arrived = |baseline, fork| Requests { baseline, fork };
        assert!(arrived(990, 3010).ensure_are(sent, 16).is_ok());
        assert!(arrived(960, 3040).ensure_are(sent, 16).is_err());
        assert!(arrived(0, 4000).ensure_are(sent, 16).is_err());
    }
}
