//! A real `spurline-proxy` that has its routes from the control service.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::document::PORT;
use super::service::agent;
use crate::host::{free_addresses, spurline_proxy};
use crate::process::Running;

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const GENERATION: &str = "spurline_table_generation";

/// One worker, everything else at its defaults.
pub(crate) struct Proxy {
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
    admin: String,
    agent: ureq::Agent,
}

/// What a proxy is started for.
pub(crate) struct Stand<'a> {
    pub(crate) core: usize,
    pub(crate) grpc: SocketAddr,
    pub(crate) workload: &'a str,
    pub(crate) baseline: SocketAddr,
    /// Where it keeps what it was sent.
    pub(crate) snapshot: Option<&'a Path>,
}

impl Proxy {
    /// Starts it and waits until it calls itself ready, which it does once it has its first table.
    pub(crate) fn start(name: &str, stand: &Stand<'_>, dir: &Path) -> Result<Self> {
        let mut proxy = Self::spawn(name, stand, dir)?;
        proxy.await_ready().with_context(|| name.to_owned())?;
        Ok(proxy)
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(name: &str, stand: &Stand<'_>, dir: &Path) -> Result<Self> {
        let Stand { core, grpc, workload, baseline, snapshot } = stand;
        let [listen, admin] = free_addresses()?;
        let listener =
            format!("name=bench,listen={listen},workload={workload},port={PORT},baseline={baseline}");
        let mut command = Command::new(spurline_proxy()?);
        command.args(["--workers", "1", "--listener", &listener, "--admin-listen", &admin.to_string()]);
        command.args(["--idle-timeout", "5m", "--control", &format!("http://{grpc}")]);
        if let Some(snapshot) = snapshot {
            command.arg("--control-snapshot").arg(snapshot);
        }
        let running = Running::start(name, *core, &command, dir)?;
        Ok(Self { running, listen, admin: format!("http://{admin}"), agent: agent() })
    }

    /// How many tables it has had.
    pub(crate) fn generation(&self) -> Result<u64> {
        let metrics = self.get("/metrics")?.context("no metrics")?;
        parse_generation(&metrics).with_context(|| format!("no {GENERATION} in its metrics"))
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        // Until it listens, the connection is refused.
        while !self.get("/readyz").is_ok_and(|page| page.is_some()) {
            self.running.check_alive()?;
            if Instant::now() > deadline {
                bail!("not ready after {READY_TIMEOUT:?}; its log ends:\n{}", self.running.log_tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// A page of the admin server; `None` when its status is not 2xx.
    fn get(&self, path: &str) -> Result<Option<String>> {
        let mut response = self.agent.get(format!("{}{path}", self.admin)).call()?;
        let body = response.body_mut().read_to_string()?;
        Ok(response.status().is_success().then_some(body))
    }
}

fn parse_generation(metrics: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(GENERATION)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_its_sample_line() {
        let metrics = "# TYPE spurline_table_generation gauge\nspurline_table_generation 12\n# EOF\n";
        assert_eq!(parse_generation(metrics), Some(12));
        assert_eq!(parse_generation("spurline_table_generation_other 3\n"), None);
    }
}
