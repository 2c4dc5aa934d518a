//! Who may have answered a request, given when it was sent and answered and when the routes changed.
//!
//! Pure: instants come in, a judgement comes out.

use tokio::time::Instant;

use crate::service::Version;

/// The history of the routes: which copy of the forked service keyed requests were to reach, and when.
///
/// A change is asked for at one moment and in force in every proxy at a later one. Between the two each proxy has
/// either table, so both copies are right; outside of it only one is:
///
/// ```text
///             asked    live                asked   live
/// fork ─────────┤        ├── baseline ───────┤       ├── fork
///               └ either ┘                   └ either ┘
/// ```
#[derive(Debug)]
pub(crate) struct Timeline {
    phases: Vec<Phase>,
}

#[derive(Debug)]
struct Phase {
    version: Version,
    /// When the first proxy may have had this table. `None`: from the beginning.
    asked: Option<Instant>,
    /// When the last proxy had left this table. `None`: not yet.
    left: Option<Instant>,
}

// === impl Timeline ===

impl Timeline {
    /// Every proxy sends keyed requests to `version`.
    pub(crate) fn starting_with(version: Version) -> Self {
        Self { phases: vec![Phase { version, asked: None, left: None }] }
    }

    /// A change to `version` was asked for at `asked` and in every proxy by `live`.
    pub(crate) fn change(&mut self, version: Version, asked: Instant, live: Instant) {
        if let Some(last) = self.phases.last_mut() {
            last.left = Some(live);
        }
        self.phases.push(Phase { version, asked: Some(asked), left: None });
    }

    /// The phase, by position, and the copy it demands, if a request between `sent` and `answered` can have met
    /// only one table. `None`: it touched a transition, and either copy was right.
    pub(crate) fn demanded(&self, sent: Instant, answered: Instant) -> Option<(usize, Version)> {
        let mut met = self.phases.iter().enumerate().filter(|(_, phase)| phase.overlaps(sent, answered));
        let (position, phase) = met.next()?;
        met.next().is_none().then_some((position, phase.version))
    }

    /// Number of phases, one more than changes.
    pub(crate) fn len(&self) -> usize {
        self.phases.len()
    }
}

// === impl Phase ===

impl Phase {
    fn overlaps(&self, sent: Instant, answered: Instant) -> bool {
        self.asked.is_none_or(|asked| answered >= asked) && self.left.is_none_or(|left| sent <= left)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Fork until 10..20, baseline until 30..40, fork again; milliseconds after an arbitrary start.
    fn demanded(sent: u64, answered: u64) -> Option<(usize, Version)> {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timeline = Timeline::starting_with(Version::Fork);
        timeline.change(Version::Baseline, at(10), at(20));
        timeline.change(Version::Fork, at(30), at(40));
        timeline.demanded(at(sent), at(answered))
    }

    #[test]
    fn before_between_and_after_changes_one_copy_is_right() {
        assert_eq!(demanded(0, 9), Some((0, Version::Fork)));
        assert_eq!(demanded(21, 29), Some((1, Version::Baseline)));
        assert_eq!(demanded(41, 90), Some((2, Version::Fork)));
    }

    #[test]
    fn a_request_that_touches_a_transition_may_meet_either_copy() {
        assert_eq!(demanded(5, 10), None);
        assert_eq!(demanded(12, 18), None);
        assert_eq!(demanded(20, 25), None);
        assert_eq!(demanded(25, 30), None);
    }

    #[test]
    fn a_request_longer_than_a_whole_phase_may_meet_either_copy() {
        assert_eq!(demanded(5, 45), None);
    }
}
