//! The process that attacks: one thread for each connection, and a new connection as soon as one is ended.
//!
//! It is a process of its own so that it can give way: backend and victim share its core, and a victim that waits for its
//! own core says nothing about the proxy.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::script::{ATTACKS, Attack, Reading, State, leak};
use super::wire::{Closed, Wire};

/// How long to wait before the next attempt when a connection is refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// How long a pause of an attack may go on without a look at the connection.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What all threads did and saw.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) connections: u64,
    /// Connections that could not be opened.
    pub(crate) refused: u64,
    /// Connections that were ended by a GOAWAY that was read, by its code.
    pub(crate) goaways: BTreeMap<u32, u64>,
    /// Connections that were ended otherwise.
    pub(crate) closed: u64,
    /// Streams that the other side reset.
    pub(crate) resets: u64,
    pub(crate) sent_bytes: u64,
    /// Large bodies that came back whole, with the attack that sends some.
    pub(crate) transfers: u64,
    pub(crate) stalls: u64,
}

/// Attacks for `seconds` and prints the outcome as JSON.
pub(crate) fn run(name: &str, target: SocketAddr, connections: u32, seconds: u32) -> Result<()> {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).context("no such attack")?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|number| scope.spawn(move || thread(attack, target, number, end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut sum = Outcome::default();
    for outcome in outcomes {
        sum.add(&outcome);
    }
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&sum)?)?)
}

fn thread(attack: &Attack, target: SocketAddr, number: u32, end: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut state = State {
        rng: fastrand::Rng::with_seed(u64::from(number)),
        connection: number,
        steps: 0,
        streams: Vec::new(),
        end,
        leak: leak::Progress::new(),
    };
    while Instant::now() < end {
        let Ok(mut wire) = Wire::connect(target, attack.settings) else {
            outcome.refused += 1;
            std::thread::sleep(REFUSED_PAUSE);
            continue;
        };
        outcome.connections += 1;
        let ended = connection(attack, &mut wire, &mut state);
        outcome.sent_bytes += wire.sent_bytes;
        outcome.resets += wire.seen.resets;
        match (wire.seen.goaway, ended) {
            (Some(code), _) => *outcome.goaways.entry(code).or_default() += 1,
            (None, Err(Closed)) if Instant::now() < end => outcome.closed += 1,
            (None, _) => {}
        }
        state.connection += 1;
        state.steps = 0;
        state.streams.clear();
    }
    outcome.transfers = state.leak.transfers;
    outcome.stalls = state.leak.stalls;
    outcome
}

/// Attacks on one connection until it ends or the time does.
fn connection(attack: &Attack, wire: &mut Wire, state: &mut State) -> Result<(), Closed> {
    let reads = attack.reading != Reading::Never;
    while Instant::now() < state.end && wire.seen.goaway.is_none() {
        let pause = (attack.step)(wire, state)?;
        state.steps = state.steps.saturating_add(1);
        wire.flush(state.end, reads)?;
        let next = state.end.min(Instant::now() + pause);
        while Instant::now() < next && wire.seen.goaway.is_none() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()).min(LOOK_INTERVAL));
            wire.flush(state.end, reads)?;
        }
    }
    Ok(())
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.refused += other.refused;
        for (code, count) in &other.goaways {
            *self.goaways.entry(*code).or_default() += count;
        }
        self.closed += other.closed;
        self.resets += other.resets;
        self.sent_bytes += other.sent_bytes;
        self.transfers += other.transfers;
        self.stalls += other.stalls;
    }
}
