//! The binary under test, as a child process.

mod builder;
mod metrics;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::RawClient;
use crate::eventually::{DEADLINE, eventually};
use crate::process::{Finished, Process, built, clean_command, run};
use crate::wire::Response;

pub use builder::Builder;
pub use metrics::Metrics;

/// Where the proxy binary is: `SPURLINE_PROXY`, else beside the test's own build. Panics with the fix otherwise.
pub fn binary() -> PathBuf {
    built("spurline-proxy", "SPURLINE_PROXY")
}

/// A running `spurline-proxy`. Dropping it checks that nothing panicked inside, then kills it.
#[derive(Debug)]
pub struct TestProxy {
    process: Process,
    admin: SocketAddr,
    listeners: HashMap<String, SocketAddr>,
    first: Option<SocketAddr>,
}

impl TestProxy {
    /// Begins to describe a proxy; see [`Builder`].
    pub fn build() -> Builder {
        Builder::new()
    }

    /// The common case: one sidecar listener for `workload`, port 8080, before one baseline endpoint.
    pub fn sidecar(workload: &str, baseline: SocketAddr) -> Builder {
        Builder::new().sidecar("app", workload, &[baseline])
    }

    /// Runs the binary with `arguments` to its end, for settings and usage errors.
    pub fn command(arguments: &[&str]) -> Finished {
        Self::command_with(arguments, &[])
    }

    /// The same with environment variables.
    pub fn command_with(arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        let mut command = clean_command(binary());
        command.args(arguments).envs(environment.iter().copied());
        run(command, DEADLINE)
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.first.expect("a listener")
    }

    /// The address of a listener by name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.listeners[name]
    }

    /// The admin server's address.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// A connection to the first listener.
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    /// One GET for `target` with extra field lines (each with its CRLF) on a connection of its own.
    pub fn get(&self, target: &str, fields: &str) -> Response {
        self.client()
            .exchange(format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n{fields}Connection: close\r\n\r\n"))
    }

    /// One request to the admin server.
    pub fn admin(&self, method: &str, target: &str, body: &str) -> Response {
        self.try_admin(method, target, body).expect("the admin server answers")
    }

    /// One request to the admin server, `None` when it does not answer.
    pub fn try_admin(&self, method: &str, target: &str, body: &str) -> Option<Response> {
        let mut client = RawClient::try_connect(self.admin).ok()?;
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.admin);
        client.try_send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).ok()?;
        client.response_to(method).ok()
    }

    /// A scrape of the metrics.
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("GET", "/metrics", "").text())
    }

    /// The sum of the series of one family whose labels contain `labels`.
    pub fn metric(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().sum(family, labels)
    }

    /// The overrides of the table in use, by `workload/key`, as the admin server shows them.
    pub fn overrides(&self) -> BTreeMap<String, Value> {
        let mut overrides = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = self.admin("GET", &format!("/routes?limit=1000{after}"), "").text();
            let page: Value = serde_json::from_str(&page).expect("a page of overrides");
            for row in page["overrides"].as_array().expect("overrides") {
                let part = |field: &str| row[field].as_str().expect("a text");
                overrides.insert(format!("{}/{}", part("workload"), part("key")), row.clone());
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return overrides,
            }
        }
    }

    /// The generation of the route table in use.
    pub fn generation(&self) -> u64 {
        let value = self.metric("spurline_table_generation", &[]);
        format!("{value:.0}").parse().expect("a generation")
    }

    /// Waits until a table newer than `generation` is in use.
    pub fn wait_newer_than(&self, generation: u64) {
        eventually("a new route table is in use", || (self.generation() > generation).then_some(()));
    }

    /// Whether `/readyz` says 200.
    pub fn ready(&self) -> bool {
        self.try_admin("GET", "/readyz", "").is_some_and(|response| response.status == 200)
    }

    /// Sends SIGTERM: the proxy begins to drain.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait(deadline)
    }

    /// Whether the process still runs.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the proxy logged until now (standard error).
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// What the proxy wrote to standard output until now.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Open descriptors.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the descriptor table").count()
    }

    /// What each open descriptor is, as `/proc` names it.
    pub fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the descriptor table");
        let named = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        named.map(|link| link.display().to_string()).collect()
    }

    /// Processor time used until now, in clock ticks (1/100 s).
    pub fn processor_ticks(&self) -> u64 {
        self.process.processor_ticks()
    }

    /// Panics when anything inside the proxy panicked.
    pub fn assert_sound(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "the proxy panicked:\n{log}");
        if let Some(response) = self.try_admin("GET", "/metrics", "") {
            let panics = Metrics::parse(&response.text()).sum("spurline_panics_total", &[]);
            assert!(panics == 0.0, "spurline_panics_total is {panics}:\n{log}");
        }
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the proxy ---\n{}", self.log());
        } else {
            self.assert_sound();
        }
    }
}
