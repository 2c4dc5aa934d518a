//! Memory of an idle process, and what one idle connection adds to it.
//!
//! Anonymous memory (`RssAnon`) only: pages of the binary are shared and can be dropped. The kernel's socket
//! buffers belong to nobody's process and are not counted for anybody.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::host;
use crate::http2::{self, client::Connection};
use crate::peer::{self, Peer};
use crate::probe;
use crate::process::{Memory, Running};
use crate::report::mebibytes;
use crate::scenario::{Better, Measure, Metric, Rounds, Scenario};
use crate::work::{Backends, PATH, Traffic};

const GROUP: &str = "Memory";
/// Connections that are held in turn.
const COUNTS: [u32; 3] = [10, 1_000, 10_000];
/// The bench and the peer hold one for each connection; one request at a time needs few towards the backend.
const DESCRIPTORS: u64 = 10_000 + 4_096;

const PEERS: &[Peer] =
    &[Peer::Spurline, Peer::SpurlineOne, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];

const METRICS: &[Metric] = &[
    lower("kib_per_connection_of_10000", "anonymous memory per connection, of 10,000", "KiB"),
    lower("kib_per_connection_of_1000", "of 1,000", "KiB"),
    lower("kib_per_connection_of_10", "of 10", "KiB"),
    lower("idle_resident_mib", "idle process, resident", "MiB"),
    lower("idle_anonymous_mib", "idle process, anonymous", "MiB"),
];

const fn lower(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { name, title, unit, better: Better::Lower }
}

const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// Memory counts as stable when this many samples in a row are equal to within [`STABLE_BYTES`].
const STABLE_SAMPLES: u32 = 4;
const STABLE_BYTES: u64 = 64 * 1024;
const STABLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "memory-http1",
        group: GROUP,
        title: "Idle connections of HTTP/1.1",
        about: "Connections that are kept after one request on each: 10, then 1,000, then 10,000 in the same process. What each \
                adds to the anonymous memory of the process that held none, once the figure stands still; all have to answer \
                afterwards.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| {
            host::allow_descriptors(DESCRIPTORS)?;
            Ok(Box::new(Http1 {
                dir: setting.dir.clone(),
                backends: Backends::start(&setting.dir, 13, most())?,
                headers: Traffic::Unkeyed.headers(),
            }))
        },
    },
    Scenario {
        id: "memory-http2",
        group: GROUP,
        title: "Idle connections of HTTP/2",
        about: "The same with connections of HTTP/2, each after preface, settings and one request.",
        peers: PEERS,
        metrics: METRICS,
        rounds: Rounds { quick: 0, full: 1 },
        begin: |setting| {
            host::allow_descriptors(DESCRIPTORS)?;
            let runtime = host::runtime()?;
            let backends = http2::Backends::start(&setting.dir, &runtime)?;
            Ok(Box::new(Http2 { dir: setting.dir.clone(), runtime, backends }))
        },
    },
];

struct Http1 {
    dir: PathBuf,
    backends: Backends,
    headers: Vec<(&'static str, String)>,
}

struct Http2 {
    dir: PathBuf,
    runtime: Runtime,
    backends: http2::Backends,
}

/// The most connections that are held.
fn most() -> u32 {
    COUNTS.into_iter().max().unwrap_or(0)
}

/// Opens more and more connections with `open`; the values of [`METRICS`].
fn grow(running: &Running, mut open: impl FnMut(u32) -> Result<()>) -> Result<Vec<f64>> {
    let idle = stable_memory(running)?;
    let mut values = Vec::new();
    let mut held = 0;
    for count in COUNTS {
        open(count - held)?;
        held = count;
        let added = stable_memory(running)?.anonymous_bytes.saturating_sub(idle.anonymous_bytes);
        values.push(added as f64 / 1024.0 / f64::from(count));
    }
    // The largest number stands first.
    values.reverse();
    values.extend([mebibytes(idle.resident_bytes), mebibytes(idle.anonymous_bytes)]);
    Ok(values)
}

// === impl Http1 ===

impl Measure for Http1 {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let mut started = peer::start(peer, &self.dir, &self.backends, most())?;
        let mut open = Vec::new();
        let values = grow(&started.running, |more| {
            for _ in 0..more {
                let mut stream = probe::connect(started.listen)?;
                probe::exchange(&mut stream, PATH, &self.headers)?;
                open.push(stream);
            }
            Ok(())
        })?;
        // A proxy that closed the connections meanwhile would look frugal.
        for stream in &mut open {
            probe::exchange(stream, PATH, &self.headers).context("a connection was not kept open")?;
        }
        started.running.check_alive()?;
        Ok(values)
    }
}

// === impl Http2 ===

impl Measure for Http2 {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let mut started = http2::start(peer, &self.dir, &self.runtime, &self.backends, most())?;
        let body = Bytes::from_static(b"one request");
        let mut open = Vec::new();
        // The clients stand still while memory is looked at: they have nothing to say.
        let values = grow(&started.running, |more| {
            self.runtime.block_on(async {
                for _ in 0..more {
                    let connection = Connection::open(started.listen).await?;
                    connection.expect_echo(Traffic::Unkeyed, &body, "baseline").await?;
                    open.push(connection);
                }
                Ok(())
            })
        })?;
        self.runtime.block_on(async {
            for connection in &open {
                let answered = connection.expect_echo(Traffic::Unkeyed, &body, "baseline").await;
                answered.context("a connection was not kept open")?;
            }
            anyhow::Ok(())
        })?;
        started.running.check_alive()?;
        Ok(values)
    }
}

/// Waits until the memory of the process stops changing.
pub(crate) fn stable_memory(running: &Running) -> Result<Memory> {
    let deadline = Instant::now() + STABLE_TIMEOUT;
    let mut last = running.memory()?;
    let mut equal = 0;
    while equal < STABLE_SAMPLES {
        anyhow::ensure!(Instant::now() < deadline, "memory still changes after {STABLE_TIMEOUT:?}");
        std::thread::sleep(SAMPLE_INTERVAL);
        let now = running.memory()?;
        let same = now.anonymous_bytes.abs_diff(last.anonymous_bytes) <= STABLE_BYTES;
        equal = if same { equal + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
