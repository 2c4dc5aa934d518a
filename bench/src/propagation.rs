//! What the key of a request costs Spurline: to read and look up where the baggage has it already, and to write where it does not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::keep_alive::{self, BODY_BYTES, CONNECTIONS};
use crate::peer::{self, Peer};
use crate::probe;
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::steering::Steering;
use crate::work::{Backends, Job, PATH, ROUTING_KEY, START_TIMEOUT, Traffic};

const fn lower(name: &'static str, title: &'static str) -> Metric {
    Metric { name, title, unit: "µs", better: Better::Lower }
}

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "propagation",
    group: "Route tables",
    title: "What the key costs",
    about: "GET of 13 bytes over 64 connections that are kept, CPU time per request in three stretches of one process, in another \
            order each time: the key comes in a header of its own and has to be written into the baggage beside somebody else's \
            member; the baggage carries it already; there is none.",
    peers: &[Peer::Spurline],
    metrics: &[
        lower("written_cpu_micros_per_request", "the key is written into the baggage"),
        lower("carried_cpu_micros_per_request", "the baggage carries the key"),
        lower("unkeyed_cpu_micros_per_request", "no key"),
    ],
    rounds: Rounds { quick: 1, full: 7 },
    begin: |setting| {
        let Setting { dir, pace } = setting;
        check_writing(dir)?;
        let backends = Backends::start(dir, BODY_BYTES, CONNECTIONS)?;
        Ok(Box::new(Propagation { dir: dir.clone(), pace: *pace, backends }))
    },
}];

struct Propagation {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
}

/// What the requests of a stretch carry; in the order of the metrics.
#[derive(Clone, Copy)]
enum Carried {
    /// In a header of its own.
    Apart,
    InBaggage,
    Nowhere,
}

impl Carried {
    const ALL: [Self; 3] = [Self::Apart, Self::InBaggage, Self::Nowhere];

    fn steering(self) -> Steering<'static> {
        match self {
            Self::Apart | Self::InBaggage => Steering::Fork,
            Self::Nowhere => Steering::Baseline,
        }
    }

    fn headers(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Apart => {
                let mut headers = Traffic::Unkeyed.headers();
                headers.push(("sd-routing-key", ROUTING_KEY.to_owned()));
                headers
            }
            Self::InBaggage => Traffic::Keyed.headers(),
            Self::Nowhere => Traffic::Unkeyed.headers(),
        }
    }
}

impl Measure for Propagation {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let started = peer::start(peer, &self.dir, &self.backends, CONNECTIONS)?;
        let mut turns: Vec<(usize, Carried)> = Carried::ALL.into_iter().enumerate().collect();
        fastrand::shuffle(&mut turns);
        let mut costs = Vec::new();
        for (at, carried) in turns {
            let headers = carried.headers();
            let requests = (headers.as_slice(), carried.steering());
            let cost = keep_alive::measure(&started, &self.backends, requests, self.pace)?;
            costs.push((at, cost.cpu_micros_per_request));
        }
        costs.sort_by_key(|(at, _)| *at);
        Ok(costs.into_iter().map(|(_, micros)| micros).collect())
    }
}

/// That what is measured as writing is writing: a request whose key comes apart reaches the fork with both members in its baggage.
fn check_writing(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let fork = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let job = Job { dir: dir.to_owned(), fork: fork.local_addr()?, connections: 1, ..Job::on_free_ports()? };
    let mut running = peer::spawn(Peer::Spurline, &job)?;
    let deadline = Instant::now() + START_TIMEOUT;
    let mut client = loop {
        running.check_alive()?;
        match probe::connect(job.listen) {
            Ok(client) => break client,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error),
        }
    };
    let request = probe::request(PATH, "bench.test", &Carried::Apart.headers());
    client.write_all(request.as_bytes())?;
    fork.set_nonblocking(true)?;
    let mut arrived = loop {
        match fork.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).context("the request does not reach the fork"),
        }
    };
    arrived.set_nonblocking(false)?;
    arrived.set_read_timeout(Some(START_TIMEOUT))?;
    let mut head = vec![0; 4096];
    let count = arrived.read(&mut head)?;
    let head = String::from_utf8_lossy(head.get(..count).unwrap_or_default()).to_lowercase();
    let expected = format!("baggage: tenant=acme,sd-routing-key={ROUTING_KEY}\r\n");
    ensure!(head.contains(&expected), "the key was not written into the baggage:\n{head}");
    Ok(())
}
