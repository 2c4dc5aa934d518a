//! Memory of an idle process, and what one idle keep-alive connection adds to it.
//!
//! Anonymous memory (`RssAnon`) only: pages of the binary are shared and can be dropped. The kernel's socket
//! buffers belong to nobody's process and are not counted for anybody.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cli::MemoryOptions;
use crate::host::{self, Versions};
use crate::peer::{self, Peer};
use crate::probe;
use crate::process::{Memory, Running};
use crate::report::{MemoryFigures, MemoryReport};
use crate::work::{Backends, PATH, Traffic};

const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// Memory counts as stable when this many samples in a row are equal to within [`STABLE_BYTES`].
const STABLE_SAMPLES: u32 = 4;
const STABLE_BYTES: u64 = 64 * 1024;
const STABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &MemoryOptions) -> Result<()> {
    host::check(&options.peers)?;
    // The bench holds one descriptor per connection; a peer might hold one more upstream for each.
    host::allow_descriptors(u64::from(options.connections) * 2 + 512)?;
    let dir = host::scratch_dir()?;
    let backends = Backends::start(dir.path(), 13, options.connections)?;
    let mut peers = Vec::new();
    for peer in &options.peers {
        eprintln!("{}: {} connections", peer.name(), options.connections);
        let figures = measure(*peer, dir.path(), &backends, options.connections);
        peers.push(figures.with_context(|| peer.name().to_owned())?);
    }
    let report = MemoryReport { versions: Versions::read(), connections: options.connections, peers };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

fn measure(peer: Peer, dir: &Path, backends: &Backends, connections: u32) -> Result<MemoryFigures> {
    let mut started = peer::start(peer, dir, backends, connections)?;
    let idle = stable_memory(&started.running)?;
    let headers = Traffic::Unkeyed.headers();
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut stream = probe::connect(started.listen)?;
        probe::exchange(&mut stream, PATH, &headers)?;
        open.push(stream);
    }
    let holding = stable_memory(&started.running)?;
    // A proxy that closed the connections meanwhile would look frugal.
    for stream in &mut open {
        probe::exchange(stream, PATH, &headers).context("a connection was not kept open")?;
    }
    started.running.check_alive()?;
    let added = holding.anonymous_bytes.saturating_sub(idle.anonymous_bytes);
    Ok(MemoryFigures {
        name: peer.name(),
        idle_resident_bytes: idle.resident_bytes,
        idle_anonymous_bytes: idle.anonymous_bytes,
        connection_bytes: added as f64 / f64::from(connections),
    })
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
