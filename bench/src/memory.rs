//! Memory of an idle process, and what one idle connection adds to it.
//!
//! Anonymous memory (`RssAnon`) only: pages of the binary are shared and can be dropped. The kernel's socket
//! buffers belong to nobody's process and are not counted for anybody.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::cli::MemoryOptions;
use crate::host::{self, Versions};
use crate::http2::{self, client::Connection};
use crate::peer::{self, Peer};
use crate::probe;
use crate::process::{Memory, Running};
use crate::report::{MemoryFigures, MemoryReport};
use crate::work::{Backends, PATH, Protocol, Traffic};

const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// Memory counts as stable when this many samples in a row are equal to within [`STABLE_BYTES`].
const STABLE_SAMPLES: u32 = 4;
const STABLE_BYTES: u64 = 64 * 1024;
const STABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures and prints; writes JSON when asked to.
pub(crate) fn run(options: &MemoryOptions) -> Result<()> {
    // The bench holds one descriptor per connection. A peer of HTTP/1 might hold one more upstream for each; with HTTP/2
    // that would be a fault, and shows as one.
    let per_connection = if options.protocol == Protocol::Http2 { 1 } else { 2 };
    host::allow_descriptors(u64::from(options.connections) * per_connection + 2048)?;
    let dir = host::scratch_dir()?;
    let (peers, protocol) = match options.protocol {
        Protocol::Http2 => (http2(options, dir.path())?, "HTTP/2"),
        _ => (http1(options, dir.path())?, "HTTP/1.1"),
    };
    let report =
        MemoryReport { versions: Versions::read(), protocol, connections: options.connections, peers };
    report.print()?;
    match &options.save {
        Some(dir) => report.save(dir),
        None => Ok(()),
    }
}

fn http1(options: &MemoryOptions, dir: &Path) -> Result<Vec<MemoryFigures>> {
    host::check(&options.peers)?;
    let backends = Backends::start(dir, 13, options.connections)?;
    let headers = Traffic::Unkeyed.headers();
    each(options, |peer| {
        let mut started = peer::start(peer, dir, &backends, options.connections)?;
        let idle = stable_memory(&started.running)?;
        let mut open = Vec::new();
        for _ in 0..options.connections {
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
        Ok((idle, holding))
    })
}

fn http2(options: &MemoryOptions, dir: &Path) -> Result<Vec<MemoryFigures>> {
    host::check_peers(&options.peers, &[])?;
    let runtime = host::runtime()?;
    let backends = http2::Backends::start(dir, &runtime)?;
    let body = Bytes::from_static(b"one request");
    each(options, |peer| {
        let mut started = http2::start(peer, dir, &runtime, &backends, options.connections)?;
        let idle = stable_memory(&started.running)?;
        let open = runtime.block_on(async {
            let mut open = Vec::new();
            for _ in 0..options.connections {
                let connection = Connection::open(started.listen).await?;
                connection.expect_echo(Traffic::Unkeyed, &body, "baseline").await?;
                open.push(connection);
            }
            anyhow::Ok(open)
        })?;
        // The clients stand still meanwhile: they have nothing to say.
        let holding = stable_memory(&started.running)?;
        runtime.block_on(async {
            for connection in &open {
                let answered = connection.expect_echo(Traffic::Unkeyed, &body, "baseline").await;
                answered.context("a connection was not kept open")?;
            }
            anyhow::Ok(())
        })?;
        started.running.check_alive()?;
        Ok((idle, holding))
    })
}

/// Measures each peer in turn: its memory before and after the connections.
fn each(
    options: &MemoryOptions,
    measure: impl Fn(Peer) -> Result<(Memory, Memory)>,
) -> Result<Vec<MemoryFigures>> {
    let figures = options.peers.iter().map(|peer| {
        eprintln!("{}: {} connections", peer.name(), options.connections);
        let (idle, holding) = measure(*peer).with_context(|| peer.name().to_owned())?;
        let added = holding.anonymous_bytes.saturating_sub(idle.anonymous_bytes);
        Ok(MemoryFigures {
            name: peer.name(),
            idle_resident_bytes: idle.resident_bytes,
            idle_anonymous_bytes: idle.anonymous_bytes,
            connection_bytes: added as f64 / f64::from(options.connections),
        })
    });
    figures.collect()
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
