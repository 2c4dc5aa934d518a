//! One stretch of HTTP/1.1 load over kept connections through a peer that runs, and what it costs the peer.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::http1::ensure_reuse;
use crate::peer::Started;
use crate::probe;
use crate::scenario::Pace;
use crate::steering::Steering;
use crate::work::{Backends, PATH};
use crate::wrk::Load;

pub(crate) const CONNECTIONS: u32 = 64;
pub(crate) const BODY_BYTES: usize = 13;

pub(crate) const SLOW: Duration = Duration::from_millis(10);
const CONNECTIONS_IF_SLOW: u32 = 4;

/// What the peer used for the requests of a stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_micros_per_request: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) busy_percent: f64,
}

/// Warms up, then sends `headers` as fast as one core of load can; over few connections to a peer that needs [`SLOW`] for a single request, whose
/// answers would not come before the generator gives them up.
///
/// # Errors
/// An answer was not 2xx or 3xx, requests came to the wrong backend, or the peer does not reuse its upstream connections.
pub(crate) fn measure(
    started: &Started,
    backends: &Backends,
    (headers, steering): (&[(&'static str, String)], Steering<'_>),
    pace: Pace,
) -> Result<Cost> {
    let (target, seconds) = (started.listen, Pace::SECONDS);
    let mut connection = probe::connect(target)?;
    probe::exchange(&mut connection, PATH, headers)?;
    let alone = Instant::now();
    probe::exchange(&mut connection, PATH, headers)?;
    let connections = if alone.elapsed() < SLOW { CONNECTIONS } else { CONNECTIONS_IF_SLOW };
    drop(connection);
    let load = Load { scheme: "http", target, connections, seconds, headers, steering };
    load.warm_up(pace.warm_up())?;
    let before = backends.counts()?;
    let (cpu_before, time_before) = (started.running.cpu_time()?, Instant::now());
    let outcome = load.run()?;
    let (cpu, time) = (started.running.cpu_time()?.saturating_sub(cpu_before), time_before.elapsed());
    let seen = backends.seen_since(before)?;
    seen.requests.ensure_are(outcome.sent, u64::from(CONNECTIONS))?;
    ensure_reuse(seen.connections, u64::from(CONNECTIONS), outcome.requests)?;
    Ok(Cost {
        cpu_micros_per_request: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
        requests_per_second: outcome.requests_per_second,
        busy_percent: 100.0 * cpu.as_secs_f64() / time.as_secs_f64(),
    })
}
