//! What a new TCP connection with one request on it costs a peer.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use tokio::net::TcpStream;

use crate::closed_loop::{self, BUSY};
use crate::peer::{self, Peer};
use crate::probe::{ask, request};
use crate::scenario::{Better, Measure, Metric, Pace, Rounds, Scenario, Setting};
use crate::work::{Backends, PATH, Traffic};

/// Connections being opened and used at once.
const AT_ONCE: u32 = 16;
const BODY_BYTES: usize = 13;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "connections",
    group: "HTTP/1.1",
    title: "New connections",
    about: "A TCP connection is opened, has one request with an answer of 13 bytes, and is closed by the client; 16 at once. \
            Towards the backend all but the floor keep their connections.",
    peers: &[
        Peer::Floor,
        Peer::Spurline,
        Peer::Haproxy,
        Peer::Nginx,
        Peer::Envoy,
        Peer::Pingora,
        Peer::Hyper,
    ],
    metrics: &[
        Metric {
            name: "cpu_micros_per_connection",
            title: "CPU per connection",
            unit: "µs",
            better: Better::Lower,
        },
        Metric { name: "connections_per_second", title: "connections", unit: "1/s", better: Better::Neither },
        Metric {
            name: "upstream_connections_percent",
            title: "connections to the backend, of those to the peer",
            unit: "%",
            better: Better::Neither,
        },
        BUSY,
    ],
    rounds: Rounds { quick: 1, full: 3 },
    begin: |setting| Ok(Box::new(Connections::begin(setting)?)),
}];

struct Connections {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
}

impl Connections {
    fn begin(setting: &Setting) -> Result<Self> {
        let Setting { dir, pace } = setting;
        Ok(Self { dir: dir.clone(), pace: *pace, backends: Backends::start(dir, BODY_BYTES, 4 * AT_ONCE)? })
    }
}

impl Measure for Connections {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let started = peer::start(peer, &self.dir, &self.backends, 4 * AT_ONCE)?;
        let target = started.listen;
        let request = request(PATH, &target.to_string(), &Traffic::Unkeyed.headers());
        let expected = self.backends.expected_body(Traffic::Unkeyed);
        let before = self.backends.counts()?;
        let cost = closed_loop::measure(&started.running, self.pace, AT_ONCE, async |meter| {
            while meter.goes_on() {
                let mut stream = TcpStream::connect(target).await?;
                stream.set_nodelay(true)?;
                let body = ask(&mut stream, &request).await?;
                ensure!(body == expected.as_bytes(), "an unkeyed request was not answered by the baseline");
                meter.count();
            }
            Ok(())
        })?;
        let accepted = self.backends.seen_since(before)?.connections;
        let upstream_percent = 100.0 * accepted as f64 / cost.done_in_all as f64;
        Ok(vec![cost.micros(), cost.per_second(), upstream_percent, cost.busy_percent()])
    }
}
