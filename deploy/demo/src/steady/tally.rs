//! Adds up what became of the load, each request judged against the routes it could have met.

use super::load::{Kind, Outcome, Sample};
use super::timeline::Timeline;
use crate::service::Version;

/// Only the first few failures are told; the counts say how many there were.
const COMPLAINTS_MAX: usize = 5;

/// The counts of one kind of request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) baseline: u64,
    pub(crate) fork: u64,
    /// Answered while either copy was right (among `baseline` and `fork`).
    pub(crate) in_transition: u64,
    pub(crate) lost: u64,
    pub(crate) misrouted: u64,
}

/// The judgement over all requests.
#[derive(Debug)]
pub(crate) struct Tally {
    /// In the order of [`Kind::ALL`].
    pub(crate) kinds: Vec<(Kind, Counts)>,
    /// Keyed requests of which only one copy was right, for each phase of the routes.
    pub(crate) decided: Vec<u64>,
    /// What was wrong, for the first failures.
    pub(crate) complaints: Vec<String>,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn of(samples: &[Sample], timeline: &Timeline) -> Self {
        let kinds = Kind::ALL.map(|kind| (kind, Counts::default())).into();
        let mut tally = Self { kinds, decided: vec![0; timeline.len()], complaints: Vec::new() };
        for sample in samples {
            tally.add(sample, timeline);
        }
        tally
    }

    pub(crate) fn total(&self) -> Counts {
        self.kinds.iter().fold(Counts::default(), |total, (_, counts)| total.plus(counts))
    }

    /// Nothing lost, nothing misrouted, and every phase of the routes was really put to the test.
    pub(crate) fn held(&self) -> bool {
        let total = self.total();
        total.lost == 0 && total.misrouted == 0 && self.decided.iter().all(|requests| *requests > 0)
    }

    fn add(&mut self, sample: &Sample, timeline: &Timeline) {
        let Some((_, counts)) = self.kinds.iter_mut().find(|(kind, _)| *kind == sample.kind) else { return };
        counts.sent += 1;
        let version = match &sample.outcome {
            Outcome::Answered(version) => *version,
            Outcome::Lost(why) => {
                counts.lost += 1;
                return self.complain(sample, why);
            }
            Outcome::Misrouted(why) => {
                counts.misrouted += 1;
                return self.complain(sample, why);
            }
        };
        match version {
            Version::Baseline => counts.baseline += 1,
            Version::Fork => counts.fork += 1,
        }
        let demanded = if sample.kind.is_keyed() {
            timeline.demanded(sample.sent, sample.answered)
        } else {
            Some((0, Version::Baseline))
        };
        match demanded {
            None => counts.in_transition += 1,
            Some((_, right)) if right != version => {
                counts.misrouted += 1;
                self.complain(
                    sample,
                    &format!("the {} answered instead of the {}", version.label(), right.label()),
                );
            }
            Some((phase, _)) if sample.kind.is_keyed() => {
                if let Some(requests) = self.decided.get_mut(phase) {
                    *requests += 1;
                }
            }
            Some(_) => {}
        }
    }

    fn complain(&mut self, sample: &Sample, why: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("{}: {why}", sample.kind.label()));
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(crate) fn answered(&self) -> u64 {
        self.sent - self.lost
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            baseline: self.baseline + other.baseline,
            fork: self.fork + other.fork,
            in_transition: self.in_transition + other.in_transition,
            lost: self.lost + other.lost,
            misrouted: self.misrouted + other.misrouted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    /// A request of one millisecond, `at` milliseconds after `start`.
    fn sample(start: Instant, at: u64, kind: Kind, outcome: Outcome) -> Sample {
        let sent = start + Duration::from_millis(at);
        Sample { kind, sent, answered: sent + Duration::from_millis(1), outcome }
    }

    /// The fork is removed at 10..20.
    fn removal(start: Instant) -> Timeline {
        let mut timeline = Timeline::starting_with(Version::Fork);
        timeline.change(
            Version::Baseline,
            start + Duration::from_millis(10),
            start + Duration::from_millis(20),
        );
        timeline
    }

    #[test]
    fn sound_traffic_over_a_change_holds() {
        let start = Instant::now();
        let samples = [
            sample(start, 1, Kind::KeyInBaggage, Outcome::Answered(Version::Fork)),
            sample(start, 12, Kind::KeyInBaggage, Outcome::Answered(Version::Fork)),
            sample(start, 13, Kind::KeyInHeader, Outcome::Answered(Version::Baseline)),
            sample(start, 30, Kind::KeyInHeader, Outcome::Answered(Version::Baseline)),
            sample(start, 1, Kind::Unkeyed, Outcome::Answered(Version::Baseline)),
        ];
        let tally = Tally::of(&samples, &removal(start));
        assert!(tally.held(), "{tally:?}");
        let total = tally.total();
        assert_eq!((total.sent, total.answered(), total.in_transition), (5, 5, 2));
        assert_eq!(tally.decided, [1, 1]);
    }

    #[test]
    fn the_fork_answering_after_its_removal_is_misrouted() {
        let start = Instant::now();
        let late = sample(start, 30, Kind::KeyInBaggage, Outcome::Answered(Version::Fork));
        let tally = Tally::of(&[late], &removal(start));
        assert_eq!(tally.total().misrouted, 1);
        assert_eq!(tally.complaints, ["key in baggage: the fork answered instead of the baseline"]);
    }

    #[test]
    fn the_fork_never_answers_an_unkeyed_request_not_even_in_a_transition() {
        let start = Instant::now();
        let astray = sample(start, 15, Kind::Unkeyed, Outcome::Answered(Version::Fork));
        assert_eq!(Tally::of(&[astray], &removal(start)).total().misrouted, 1);
    }

    #[test]
    fn a_request_without_an_answer_is_lost_whatever_the_routes() {
        let start = Instant::now();
        let lost = sample(start, 15, Kind::KeyInBaggage, Outcome::Lost("reset".into()));
        let tally = Tally::of(&[lost], &removal(start));
        assert_eq!((tally.total().lost, tally.total().answered()), (1, 0));
        assert!(!tally.held());
    }

    #[test]
    fn a_phase_that_no_request_tested_proves_nothing() {
        let start = Instant::now();
        let early = sample(start, 1, Kind::KeyInBaggage, Outcome::Answered(Version::Fork));
        assert!(!Tally::of(&[early], &removal(start)).held());
    }
}
