//! What TLS costs: CPU time per handshake, full and resumed, and per GiB, beside the same without TLS.
//!
//! Every peer terminates with the same certificate and relays to the same backend without TLS.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::handshakes::{Client, Handshakes, Opened, Resumption, Speech};
use self::report::{TlsFigures, TlsReport};
use crate::cli::TlsOptions;
use crate::host::{self, LOAD_CORE, Versions};
use crate::peer::{self, Peer, Started};
use crate::work::{Backends, Job, Protocol, START_TIMEOUT, Traffic};
use crate::wrk::Load;

pub(crate) mod certificate;
mod handshakes;
mod report;

const WARM_UP: Duration = Duration::from_millis(500);
/// With fewer resumed the figure would be one of full handshakes.
const RESUMED_MIN: f64 = 0.95;
const HELD_CONNECTIONS: u32 = 16;
const LARGE_BYTES: usize = 1024 * 1024;
const SMALL_BYTES: usize = 13;
const GIBIBYTE: f64 = (1024 * 1024 * 1024) as f64;

/// One run's unchanging parts.
struct Bench<'a> {
    options: &'a TlsOptions,
    dir: &'a Path,
    small: Backends,
    large: Backends,
    client: Client,
}

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &TlsOptions) -> Result<()> {
    host::check(&options.peers)?;
    host::allow_descriptors(4096)?;
    let dir = host::scratch_dir()?;
    let (small_dir, large_dir) = (dir.path().join("small"), dir.path().join("large"));
    let bench = Bench {
        options,
        dir: dir.path(),
        small: Backends::start(&small_dir, SMALL_BYTES, 4 * options.connections)?,
        large: Backends::start(&large_dir, LARGE_BYTES, HELD_CONNECTIONS)?,
        client: Client::new(certificate::write(dir.path())?)?,
    };
    // The handshakes come from this process.
    host::pin_this_process(LOAD_CORE)?;
    let mut peers: Vec<(Peer, TlsFigures)> =
        options.peers.iter().map(|peer| (*peer, TlsFigures::of(peer.name()))).collect();
    for round in 0..options.rounds {
        let mut order: Vec<&mut (Peer, TlsFigures)> = peers.iter_mut().collect();
        // The same orders in every run: a surprising figure can be looked at again.
        fastrand::Rng::with_seed(u64::from(round)).shuffle(&mut order);
        for (peer, figures) in order {
            eprintln!("round {} {}", round + 1, peer.name());
            bench.measure(*peer, figures).with_context(|| format!("round {}, {}", round + 1, peer.name()))?;
        }
    }
    let report = TlsReport {
        versions: Versions::read(),
        rounds: options.rounds,
        seconds: options.seconds,
        connections: options.connections,
        peers: peers.into_iter().map(|(_, figures)| figures).collect(),
    };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

// === impl Bench ===

impl Bench<'_> {
    fn measure(&self, peer: Peer, figures: &mut TlsFigures) -> Result<()> {
        let small = self.start(peer, Protocol::Http1, &self.small)?;
        figures.plain_connection_micros.push(self.connections(&small, Speech::Plain)?.0);
        let small = self.start(peer, Protocol::Tls, &self.small)?;
        figures.full_handshake_micros.push(self.connections(&small, Speech::Tls(Resumption::Never))?.0);
        let (micros, opened) = self.connections(&small, Speech::Tls(Resumption::Always))?;
        let resumed = opened.resumed as f64 / opened.answered as f64;
        ensure!(resumed >= RESUMED_MIN, "only {} of {} were resumed", opened.resumed, opened.answered);
        figures.resumed_handshake_micros.push(micros);
        figures.resumed_share.push(resumed);
        drop(small);
        let large = self.start(peer, Protocol::Http1, &self.large)?;
        figures.plain_gibibyte_millis.push(self.bytes(&large, "http")?);
        drop(large);
        let large = self.start(peer, Protocol::Tls, &self.large)?;
        figures.tls_gibibyte_millis.push(self.bytes(&large, "https")?);
        Ok(())
    }

    /// CPU time of `peer` in µs per new connection with one request, and how many there were.
    fn connections(&self, peer: &Started, speech: Speech) -> Result<(f64, Opened)> {
        let load = Handshakes { target: peer.listen, concurrency: self.options.connections, speech };
        self.client.run(load, WARM_UP)?;
        let before = peer.running.cpu_time()?;
        let opened = self.client.run(load, Duration::from_secs(self.options.seconds.into()))?;
        let cpu = peer.running.cpu_time()?.saturating_sub(before);
        Ok((cpu.as_secs_f64() * 1e6 / opened.answered as f64, opened))
    }

    /// CPU time of `peer` per GiB of response bodies on connections that are kept.
    fn bytes(&self, peer: &Started, scheme: &'static str) -> Result<f64> {
        let headers = Traffic::Unkeyed.headers();
        let load = Load {
            scheme,
            target: peer.listen,
            connections: HELD_CONNECTIONS,
            seconds: 1,
            headers: &headers,
        };
        load.run()?;
        let before = peer.running.cpu_time()?;
        let outcome = Load { seconds: self.options.seconds, ..load }.run()?;
        let cpu = peer.running.cpu_time()?.saturating_sub(before);
        let carried = outcome.requests as f64 * LARGE_BYTES as f64;
        Ok(cpu.as_secs_f64() * 1e3 / (carried / GIBIBYTE))
    }

    fn start(&self, peer: Peer, protocol: Protocol, backends: &Backends) -> Result<Started> {
        if protocol == Protocol::Http1 {
            return peer::start(peer, self.dir, backends, 4 * self.options.connections);
        }
        let job = Job {
            dir: self.dir.to_owned(),
            protocol,
            baseline: backends.baseline,
            fork: backends.fork,
            connections: 4 * self.options.connections,
            ..Job::on_free_ports()?
        };
        ensure!(peer.routes(), "{} does not terminate TLS", peer.name());
        let mut running = peer::spawn(peer, &job)?;
        let deadline = Instant::now() + START_TIMEOUT;
        for traffic in [Traffic::Unkeyed, Traffic::Keyed] {
            let expected = backends.expected_body(traffic);
            loop {
                running.check_alive()?;
                match self.client.ask(job.listen, traffic) {
                    Ok(body) if body == expected.as_bytes() => break,
                    _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                    Ok(_) => anyhow::bail!("{} traffic is answered by the wrong backend", traffic.label()),
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("not ready; its log ends:\n{}", running.log_tail()));
                    }
                }
            }
        }
        Ok(Started { running, listen: job.listen })
    }
}
