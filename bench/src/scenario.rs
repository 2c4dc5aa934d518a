//! The model of the whole bench: a scenario is one piece of work that several peers do side by side, and every figure is
//! a sample of one of its metrics, of one peer, in one round.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::peer::Peer;

/// One piece of work, and who does it.
pub(crate) struct Scenario {
    /// What `spurline-bench run` takes: "http1-13B".
    pub(crate) id: &'static str,
    /// The heading it stands under.
    pub(crate) group: &'static str,
    pub(crate) title: &'static str,
    /// What is done, in a sentence or two, for the page.
    pub(crate) about: &'static str,
    pub(crate) peers: &'static [Peer],
    /// The first is the one that is plotted and put in ratio.
    pub(crate) metrics: &'static [Metric],
    pub(crate) rounds: Rounds,
    /// Starts what all peers share: backends, clients, certificates.
    pub(crate) begin: fn(&Setting) -> Result<Box<dyn Measure>>,
}

/// How often every peer is measured; 0 leaves a scenario out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounds {
    pub(crate) quick: u32,
    pub(crate) full: u32,
}

/// One figure of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// In the record: "cpu_micros_per_request".
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// Which way of a figure is the good one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
    /// It says something about the measurement, not about the peer.
    Neither,
}

/// A scenario that has begun. Dropping it ends what it started.
pub(crate) trait Measure {
    /// One measurement of one peer in a fresh process; one value per metric of the scenario, in its order.
    ///
    /// # Errors
    /// The peer cannot do the work, or its figure would be a lie. The run goes on without it.
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>>;
}

/// Where and how long a scenario measures.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// A scratch directory that nobody else uses and that goes away.
    pub(crate) dir: PathBuf,
    pub(crate) pace: Pace,
}

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    Full,
}

// === impl Pace ===

impl Pace {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// The length of one measurement: rounds in fresh processes say more than a longer stretch in one.
    pub(crate) const SECONDS: u32 = 1;

    /// The same where the figure is a headline, or a quantile that needs many requests.
    pub(crate) fn long_seconds(self) -> u32 {
        match self {
            Self::Quick => 1,
            Self::Full => 2,
        }
    }

    /// What is sent before, and does not count.
    pub(crate) fn warm_up(self) -> Duration {
        match self {
            Self::Quick => Duration::from_millis(300),
            Self::Full => Duration::from_millis(500),
        }
    }
}

// === impl Better ===

impl Better {
    /// To stand after a unit.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Lower => ", lower is better",
            Self::Higher => ", higher is better",
            Self::Neither => "",
        }
    }
}

// === impl Rounds ===

impl Rounds {
    /// How many at this pace.
    pub(crate) fn at(self, pace: Pace) -> u32 {
        match pace {
            Pace::Quick => self.quick,
            Pace::Full => self.full,
        }
    }
}
