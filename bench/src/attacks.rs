//! Attacks on HTTP/2 beside somebody who has done nothing.
//!
//! Every attack runs against a fresh process of the proxy, from a few numbers of connections: a quiet time, the attack, a
//! time after it. A victim sends requests through all three at a fixed rate. What counts is what became of those, how
//! much memory the proxy took, and how soon everything was as before; whether the attacker was sent away, and how, stands beside.
//!
//! Then all of it once more with a sink in the proxy's place as what is attacked: the victim shares its core with the attackers,
//! and what that alone costs it is to be told from what the proxy lets the attack cost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;

use self::attacker::Outcome;
use self::report::{AttackFigures, AttacksReport, SinkFigures, VictimFigures};
use self::script::{ATTACKS, Attack, Reading};
use self::sink::Appetite;
use self::victim::{Record, Victim};
use crate::cli::{AttacksOptions, Control};
use crate::host::{self, LOAD_CORE, PROXY_CORE, Versions};
use crate::http2::{self, Backends, Started};
use crate::process::Running;
use crate::report::mebibytes;
use crate::stats::percentile;

pub(crate) mod attacker;
mod report;
pub(crate) mod script;
pub(crate) mod sink;
mod victim;
mod wire;

const QUIET_TIME: Duration = Duration::from_secs(5);
const AFTER_TIME: Duration = Duration::from_secs(3);
/// The first requests open the connections.
const WARM_UP: Duration = Duration::from_secs(1);
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);
/// What the peers are told to be ready for: connections of an attacker may outlive it.
const CONNECTIONS_MAX: u32 = 8000;
/// How much later than its end the attacker may be done.
const ATTACKER_GRACE: Duration = Duration::from_secs(10);

/// When what began.
struct Phases {
    quiet: Instant,
    attack: Instant,
    after: Instant,
}

/// What was seen of the proxy meanwhile.
struct Strain {
    growth_bytes: u64,
    busy_share: f64,
}

/// One attack from one number of connections.
#[derive(Clone, Copy)]
struct Assault<'a> {
    attack: &'a Attack,
    connections: u32,
    on: Attacked,
}

/// Where the attackers' connections go.
#[derive(Clone, Copy)]
enum Attacked {
    /// To the proxy that the victim asks.
    Proxy,
    /// To a sink on the same core.
    Sink(Appetite),
}

/// What came of it.
struct Trial {
    victim: VictimFigures,
    strain: Strain,
    /// Of the attacker.
    upstream_requests: u64,
    upstream_in_flight_peak: u64,
    attacker: Outcome,
}

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &AttacksOptions) -> Result<()> {
    host::check()?;
    host::check_peer(options.peer)?;
    host::allow_descriptors(2 * u64::from(CONNECTIONS_MAX) + 2048)?;
    let dir = host::scratch_dir()?;
    let runtime = host::runtime()?;
    let backends = Backends::start(dir.path(), &runtime)?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for attack in ATTACKS.iter().filter(|attack| options.wants(attack)) {
        for connections in &options.connections {
            let name = format!("{} {} from {connections}", attack.id, attack.name);
            match measure(options, (attack, *connections), (dir.path(), &runtime, &backends)) {
                Ok(row) => {
                    eprintln!("{}", row.line()?);
                    rows.push(row);
                }
                Err(error) => {
                    eprintln!("{name}: {error:#}");
                    failed.push(name);
                }
            }
        }
    }
    ensure!(!rows.is_empty() || !failed.is_empty(), "no attack has one of these ids or names");
    let report = AttacksReport {
        versions: Versions::read(),
        peer: options.peer.name(),
        seconds: options.seconds,
        rate: options.rate,
        rows,
    };
    report.print()?;
    if let Some(dir) = &options.save {
        report.save(dir)?;
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

fn measure(
    options: &AttacksOptions,
    (attack, connections): (&Attack, u32),
    bench: (&Path, &Runtime, &Backends),
) -> Result<AttackFigures> {
    let assault = Assault { attack, connections, on: Attacked::Proxy };
    let attacked = try_out(options, assault, bench)?;
    let sink = match options.control {
        Control::Sink if attack.reading != Reading::Awaited => {
            let time = Duration::from_secs(options.seconds.into());
            let appetite = Appetite::of(&attacked.attacker, connections, time)?;
            let trial = try_out(options, Assault { on: Attacked::Sink(appetite), ..assault }, bench)?;
            Some(SinkFigures { victim: trial.victim, attacker: trial.attacker })
        }
        Control::Sink | Control::None => None,
    };
    Ok(AttackFigures {
        id: attack.id,
        name: attack.name,
        connections,
        victim: attacked.victim,
        sink,
        growth_mebibytes: mebibytes(attacked.strain.growth_bytes),
        busy_share: attacked.strain.busy_share,
        upstream_requests: attacked.upstream_requests,
        upstream_in_flight_peak: attacked.upstream_in_flight_peak,
        attacker: attacked.attacker,
    })
}

fn try_out(
    options: &AttacksOptions,
    assault: Assault<'_>,
    (dir, runtime, backends): (&Path, &Runtime, &Backends),
) -> Result<Trial> {
    let mut started = http2::start(options.peer, dir, runtime, backends, CONNECTIONS_MAX)?;
    let (target, _sink) = match assault.on {
        Attacked::Proxy => (started.listen, None),
        Attacked::Sink(appetite) => {
            let (listen, sink) = start_sink(appetite, dir)?;
            (listen, Some(sink))
        }
    };
    let victim = Victim::start(started.listen, options.rate);
    std::thread::sleep(WARM_UP);
    let quiet = Instant::now();
    std::thread::sleep(QUIET_TIME);
    let before = runtime.block_on(backends.counts())?;
    let begin = Instant::now();
    let (attacker, strain) = strike(options, assault, (target, dir), &started)?;
    let phases = Phases { quiet, attack: begin, after: Instant::now() };
    let after = runtime.block_on(backends.counts())?;
    std::thread::sleep(AFTER_TIME);
    let records = victim.finish()?;
    started.running.check_alive().context("the proxy did not survive")?;
    let served = records.iter().filter(|record| record.due >= phases.attack && record.due < phases.after);
    let own = served.filter(|record| record.latency.is_some()).count() as u64;
    Ok(Trial {
        victim: phases.figures(&records)?,
        strain,
        upstream_requests: (after.requests - before.requests).saturating_sub(own),
        upstream_in_flight_peak: after.in_flight_peak,
        attacker,
    })
}

/// On the proxy's core, but only while the proxy does not want it: what the sink costs is not to be the victim's loss.
fn start_sink(appetite: Appetite, dir: &Path) -> Result<(SocketAddr, Running)> {
    let [listen] = host::free_addresses()?;
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(std::env::current_exe()?);
    command.args(["sink", "--listen", &listen.to_string()]);
    appetite.arguments(&mut command);
    Ok((listen, Running::start("sink", PROXY_CORE, &command, dir)?))
}

/// Lets the attacker run to its end and watches the proxy meanwhile.
fn strike(
    options: &AttacksOptions,
    Assault { attack, connections, .. }: Assault<'_>,
    (target, dir): (SocketAddr, &Path),
    started: &Started,
) -> Result<(Outcome, Strain)> {
    // Runs only while nobody else on its core wants to.
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(std::env::current_exe()?);
    command.args(["attacker", "--attack", attack.name, "--target", &target.to_string()]);
    command.args(["--connections", &connections.to_string(), "--seconds", &options.seconds.to_string()]);
    let quiet_bytes = started.running.memory()?.anonymous_bytes;
    let (cpu_before, begin) = (started.running.cpu_time()?, Instant::now());
    let mut attacker = Running::start("attacker", LOAD_CORE, &command, dir)?;
    let deadline = begin + Duration::from_secs(options.seconds.into()) + ATTACKER_GRACE;
    let mut peak_bytes = quiet_bytes;
    while !attacker.has_succeeded()? {
        ensure!(Instant::now() < deadline, "the attacker does not come to its end");
        peak_bytes = peak_bytes.max(started.running.memory()?.anonymous_bytes);
        std::thread::sleep(MEMORY_INTERVAL);
    }
    let cpu = started.running.cpu_time()?.saturating_sub(cpu_before);
    let outcome = serde_json::from_str(attacker.log_tail().trim()).context("the attacker's report")?;
    let busy_share = cpu.as_secs_f64() / begin.elapsed().as_secs_f64();
    Ok((outcome, Strain { growth_bytes: peak_bytes - quiet_bytes, busy_share }))
}

// === impl Phases ===

impl Phases {
    fn figures(&self, records: &[Record]) -> Result<VictimFigures> {
        let during = |from: Instant, until: Option<Instant>| {
            records
                .iter()
                .filter(move |record| record.due >= from && until.is_none_or(|until| record.due < until))
        };
        let millis = |record: &Record| record.latency.map(|latency| latency.as_secs_f64() * 1e3);
        let p99 = |records: Vec<f64>| percentile(&records, 99.0).context("the victim had no answer");
        let quiet = p99(during(self.quiet, Some(self.attack)).filter_map(millis).collect())?;
        let sent = during(self.attack, Some(self.after)).count();
        let served: Vec<f64> = during(self.attack, Some(self.after)).filter_map(millis).collect();
        let served_share = served.len() as f64 / sent.max(1) as f64;
        // The last request after the end that was worse than any in quiet times, and when it was over.
        let worst = during(self.quiet, Some(self.attack)).filter_map(millis).fold(0.0, f64::max);
        let tolerated = worst.max(report::SLOWDOWN_MAX * quiet);
        let recovered = during(self.after, None)
            .filter(|record| millis(record).is_none_or(|millis| millis > tolerated))
            .map(|record| record.due + record.latency.unwrap_or_default() - self.after)
            .max();
        Ok(VictimFigures {
            served_share,
            quiet_p99_millis: quiet,
            attack_p99_millis: p99(served).unwrap_or(f64::INFINITY),
            recovery_millis: recovered.unwrap_or_default().as_secs_f64() * 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_after_the_end_is_a_slow_recovery() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let record = |seconds, millis: Option<u64>| Record {
            due: at(seconds) + Duration::from_millis(1),
            latency: millis.map(Duration::from_millis),
        };
        let phases = Phases { quiet: at(0), attack: at(1), after: at(2) };
        let records =
            [record(0, Some(2)), record(1, Some(4)), record(1, None), record(2, None), record(3, Some(2))];
        let figures = phases.figures(&records).unwrap();
        assert_eq!(figures.served_share, 0.5);
        assert_eq!(figures.recovery_millis, 1.0);
        assert_eq!((figures.quiet_p99_millis, figures.attack_p99_millis), (2.0, 4.0));
    }
}
