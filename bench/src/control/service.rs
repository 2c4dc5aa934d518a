//! The real `spurline-control` as a measured process, and its REST API as its users call it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::StatusCode;

use crate::host::{free_addresses, spurline_control};
use crate::process::Running;

const POLL_INTERVAL: Duration = Duration::from_millis(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Has an answer wait for acknowledgements, but not longer than the client does.
const WAIT: &str = "wait=programmed&timeout=30s";

/// A running control service with its store in a directory.
pub(crate) struct Service {
    pub(crate) running: Running,
    pub(crate) grpc: SocketAddr,
    pub(crate) rest: Rest,
}

/// Its REST API, over kept connections.
#[derive(Clone)]
pub(crate) struct Rest {
    agent: ureq::Agent,
    base: String,
}

/// `status.programmed` of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Programmed {
    pub(crate) acknowledged: u64,
    pub(crate) proxies: u64,
}

// === impl Service ===

impl Service {
    /// Starts it on `core` and free ports with its store in `dir`, reading `sandboxes` (a directory of files) too if
    /// given. It may not be ready yet.
    pub(crate) fn start(core: usize, dir: &Path, sandboxes: Option<&Path>) -> Result<Self> {
        let [grpc, rest, admin] = free_addresses()?;
        let mut command = Command::new(spurline_control()?);
        command.arg("serve").args(["--grpc-listen", &grpc.to_string()]);
        command.args(["--rest-listen", &rest.to_string(), "--admin-listen", &admin.to_string()]);
        command.arg("--store").arg(dir.join("store"));
        if let Some(sandboxes) = sandboxes {
            command.arg("--directory").arg(sandboxes);
        }
        let running = Running::start("spurline-control", core, &command, dir)?;
        Ok(Self { running, grpc, rest: Rest::new(rest) })
    }

    /// Waits until the list of sandboxes can be read, and the sandbox `name` too if given.
    pub(crate) fn await_ready(&mut self, name: Option<&str>, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let path = name.map_or_else(|| "/v1/sandboxes".to_owned(), sandbox_path);
        loop {
            self.running.check_alive()?;
            if self.rest.get(&path).is_ok_and(|status| status == StatusCode::OK) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not ready after {timeout:?}; its log ends:\n{}", self.running.log_tail());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

// === impl Rest ===

impl Rest {
    fn new(addr: SocketAddr) -> Self {
        Self { agent: agent(), base: format!("http://{addr}") }
    }

    /// Puts a sandbox; it is stored and in force in the control service.
    pub(crate) fn put(&self, name: &str, document: &Value) -> Result<()> {
        self.send_document(&sandbox_path(name), document).map(drop)
    }

    /// Puts a sandbox and waits for the proxies that need the change to acknowledge it.
    pub(crate) fn put_programmed(&self, name: &str, document: &Value) -> Result<Programmed> {
        programmed(&self.send_document(&format!("{}?{WAIT}", sandbox_path(name)), document)?)
    }

    /// Deletes a sandbox and waits for the proxies that had it to acknowledge that it is gone.
    pub(crate) fn delete_programmed(&self, name: &str) -> Result<Programmed> {
        let url = format!("{}{}?{WAIT}", self.base, sandbox_path(name));
        let mut response = self.agent.delete(url).call().context("DELETE")?;
        let (status, body) = (response.status(), response.body_mut().read_to_string()?);
        ensure!(status.is_success(), "DELETE {name}: {status}: {body}");
        programmed(&body)
    }

    fn send_document(&self, path: &str, document: &Value) -> Result<String> {
        let request = self.agent.put(format!("{}{path}", self.base)).content_type("application/json");
        let mut response = request.send(document.to_string()).context("PUT")?;
        let (status, body) = (response.status(), response.body_mut().read_to_string()?);
        ensure!(status.is_success(), "PUT {path}: {status}: {body}");
        Ok(body)
    }

    fn get(&self, path: &str) -> Result<StatusCode> {
        let mut response = self.agent.get(format!("{}{path}", self.base)).call()?;
        // Read to its end, so that the connection is kept.
        response.body_mut().read_to_vec()?;
        Ok(response.status())
    }
}

/// A client that reports statuses as they are and gives up after a minute.
pub(crate) fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST_TIMEOUT));
    config.build().new_agent()
}

fn sandbox_path(name: &str) -> String {
    format!("/v1/sandboxes/{name}")
}

fn programmed(body: &str) -> Result<Programmed> {
    let body: Value = serde_json::from_str(body).context("the answer is not JSON")?;
    let status = body.pointer("/status/programmed").context("the answer has no status.programmed")?;
    Ok(Programmed::deserialize(status)?)
}

// === impl Programmed ===

impl Programmed {
    /// An error unless all of `expected` proxies need the change and have acknowledged it.
    pub(crate) fn demand(self, expected: u32) -> Result<()> {
        let Self { acknowledged, proxies } = self;
        let expected = u64::from(expected);
        ensure!(
            (acknowledged, proxies) == (expected, expected),
            "programmed {acknowledged}/{proxies}, not {expected}/{expected}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_one_proxy_has_not_acknowledged_is_refused() {
        let body = r#"{"status":{"programmed":{"acknowledged":9,"proxies":10,"rejected":[]}}}"#;
        let programmed = programmed(body).unwrap();
        assert_eq!(programmed, Programmed { acknowledged: 9, proxies: 10 });
        assert!(programmed.demand(10).is_err());
        assert!(Programmed { acknowledged: 10, proxies: 10 }.demand(10).is_ok());
    }
}
