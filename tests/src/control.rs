//! The control service under test, as a child process that can be killed and started again.

mod rest;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::eventually::{DEADLINE, eventually};
use crate::loopback::free_address;
use crate::process::{Finished, Process, built, clean_command, run};
use crate::proxy::Metrics;
use crate::xds::Connection;

pub use rest::{Document, Rest, json_of};
pub use watch::{Event, Watch};

/// Where the control service is: `SPURLINE_CONTROL`, else beside the test's own build. Panics with the fix otherwise.
pub fn control_binary() -> PathBuf {
    built("spurline-control", "SPURLINE_CONTROL")
}

/// A description of a control service: the same one can be started again and again, at the same addresses and on the
/// same data.
#[derive(Debug, Clone)]
pub struct Control {
    prefix: Vec<String>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    grpc: SocketAddr,
    rest: SocketAddr,
    admin: SocketAddr,
    data: Arc<Data>,
}

/// Where the data lies; a directory of ours is kept for as long as anybody uses it.
#[derive(Debug)]
enum Data {
    Ours(TempDir),
    Callers(PathBuf),
}

impl Control {
    /// On free addresses with an empty directory of data.
    pub fn new() -> Self {
        Self::on(Data::Ours(tempfile::tempdir().expect("make a directory")))
    }

    /// On free addresses with the data in a directory of the caller's.
    pub fn in_directory(data: &Path) -> Self {
        Self::on(Data::Callers(data.to_owned()))
    }

    fn on(data: Data) -> Self {
        Self {
            prefix: Vec::new(),
            settings: Vec::new(),
            environment: Vec::new(),
            grpc: free_address(),
            rest: free_address(),
            admin: free_address(),
            data: Arc::new(data),
        }
    }

    /// A directory of documents beside the data, polled quickly.
    #[must_use]
    pub fn documents(self, directory: &Path) -> Self {
        self.flag("--directory", &directory.to_string_lossy()).flag("--directory-poll-interval", "50ms")
    }

    /// A setting on the command line; a second one of the same name replaces the first.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary through another program, for example `prlimit --nofile=64:64`.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Listens for gRPC elsewhere.
    #[must_use]
    pub fn grpc_at(mut self, address: SocketAddr) -> Self {
        self.grpc = address;
        self
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where gRPC is served, as the proxy is told.
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// A client of the REST API.
    pub fn rest(&self) -> Rest {
        Rest::new(self.rest)
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        let directory = match &*self.data {
            Data::Ours(directory) => directory.path(),
            Data::Callers(path) => path,
        };
        directory.join("control.store")
    }

    /// Starts it and waits until it answers; panics with its log when it ends instead.
    pub fn start(&self) -> TestControl {
        let mut control = self.start_unready();
        eventually("the control service is ready", || {
            assert!(control.running(), "the control service ended:\n{}", control.log());
            let ready = Rest::new(self.admin).try_send("GET", "/readyz", "", "");
            ready.is_some_and(|answer| answer.status == 200).then_some(())
        });
        control
    }

    /// Starts it and waits for nothing.
    pub fn start_unready(&self) -> TestControl {
        let mut words = self.prefix.clone();
        words.push(control_binary().to_string_lossy().into_owned());
        let mut command = clean_command(&words[0]);
        command.args(&words[1..]).args(self.arguments()).envs(self.environment.iter().cloned());
        let process = Process::spawn("spurline-control", command);
        TestControl { process, description: self.clone() }
    }

    /// Starts it and waits for its end, for settings and stores that it refuses.
    pub fn run(&self) -> Finished {
        let mut command = clean_command(control_binary());
        command.args(self.arguments()).envs(self.environment.iter().cloned());
        run(command, DEADLINE)
    }

    fn arguments(&self) -> Vec<String> {
        let addresses =
            [("--grpc-listen", self.grpc), ("--rest-listen", self.rest), ("--admin-listen", self.admin)];
        let ours = addresses.map(|(name, address)| (name.to_owned(), address.to_string()));
        let store = ("--store".to_owned(), self.store().to_string_lossy().into_owned());
        let given = |name: &str| self.settings.iter().any(|(known, _)| known == name);
        let ours = ours.into_iter().chain([store]).filter(|(name, _)| !given(name));
        let settings = ours.chain(self.settings.iter().cloned()).filter(|(_, value)| value != UNSET);
        std::iter::once("serve".to_owned()).chain(settings.flat_map(|(name, value)| [name, value])).collect()
    }
}

/// The value that takes a flag of the harness's own away.
const UNSET: &str = "\u{0}";

impl Control {
    /// Takes a flag of the harness's own away.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.flag(name, UNSET)
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

/// A running `spurline-control`. Dropping it checks that nothing panicked inside, then kills it.
#[derive(Debug)]
pub struct TestControl {
    process: Process,
    description: Control,
}

impl TestControl {
    /// The common case.
    pub fn start() -> Self {
        Control::new().start()
    }

    /// Runs the binary with `arguments` to its end, for the client commands and usage errors.
    pub fn command(arguments: &[&str]) -> Finished {
        let mut command = clean_command(control_binary());
        command.args(arguments);
        run(command, DEADLINE)
    }

    /// What it was started from, to start it again.
    pub fn description(&self) -> &Control {
        &self.description
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> SocketAddr {
        self.description.grpc
    }

    /// Where gRPC is served, as the proxy is told.
    pub fn url(&self) -> String {
        self.description.url()
    }

    /// A client of the REST API.
    pub fn rest(&self) -> Rest {
        self.description.rest()
    }

    /// A connection for ADS.
    pub fn connection(&self) -> Connection {
        Connection::open(self.grpc())
    }

    /// A scrape of the metrics.
    pub fn metrics(&self) -> Metrics {
        let admin = Rest::new(self.description.admin);
        Metrics::parse(&admin.send("GET", "/metrics", "", "").text())
    }

    /// Kills it as a power failure would (SIGKILL) and returns what can be started again.
    pub fn kill(self) -> Control {
        self.process.signal(Signal::KILL);
        self.gone()
    }

    /// Ends it in order (SIGTERM), waits for it and returns what can be started again.
    pub fn stop(mut self) -> (ExitStatus, Control) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(Duration::from_secs(40));
        self.assert_sound();
        (status, self.description.clone())
    }

    /// Kills it and starts it again on the same data and addresses.
    #[must_use]
    pub fn restarted(self) -> Self {
        self.kill().start()
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether the process still runs.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// What it logged until now (standard error).
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Processor time used until now, in clock ticks (1/100 s).
    pub fn processor_ticks(&self) -> u64 {
        self.process.processor_ticks()
    }

    /// Panics when anything inside panicked.
    pub fn assert_sound(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "the control service panicked:\n{log}");
    }

    fn gone(mut self) -> Control {
        self.process.wait(DEADLINE);
        self.assert_sound();
        self.description.clone()
    }
}

impl Drop for TestControl {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the control service ---\n{}", self.log());
        } else {
            self.assert_sound();
        }
    }
}
