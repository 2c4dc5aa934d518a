//! What TLS with the upstream costs a request: clients speak in the clear, the backend shows the certificate that every peer
//! has to verify, and upstream connections are kept.

use std::path::PathBuf;

use anyhow::Result;

use super::certificate;
use crate::keep_alive::{self, BODY_BYTES, CONNECTIONS};
use crate::peer::{self, Peer};
use crate::scenario::{Measure, Pace, Setting};
use crate::work::{Backends, Job, Protocol, START_TIMEOUT, Traffic};

/// TLS is the upstream's affair.
pub(super) struct Upstream {
    dir: PathBuf,
    pace: Pace,
    backends: Backends,
}

impl Upstream {
    pub(super) fn begin(setting: &Setting) -> Result<Self> {
        let Setting { dir, pace } = setting;
        certificate::write(dir)?;
        let backends = Backends::start_in_tls(dir, BODY_BYTES, CONNECTIONS)?;
        Ok(Self { dir: dir.clone(), pace: *pace, backends })
    }
}

impl Measure for Upstream {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let job = Job {
            dir: self.dir.clone(),
            protocol: Protocol::TlsToUpstream,
            connections: CONNECTIONS,
            ..Job::on_free_ports()?
        };
        let started = peer::start_with(peer, &self.backends, job, START_TIMEOUT)?;
        let headers = Traffic::Unkeyed.headers();
        let requests = (headers.as_slice(), Traffic::Unkeyed.steering());
        let cost = keep_alive::measure(&started, &self.backends, requests, self.pace)?;
        Ok(vec![cost.cpu_micros_per_request, cost.requests_per_second, cost.busy_percent])
    }
}
