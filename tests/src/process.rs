//! Child processes with captured output, ended when dropped.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually_within;

type Output = Arc<Mutex<Vec<u8>>>;

/// A running child. Dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
    readers: Vec<JoinHandle<()>>,
}

/// How a process ended and all it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Exit code, or `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything written to standard output, lossily decoded.
    pub stdout: String,
    /// Everything written to standard error, lossily decoded.
    pub stderr: String,
}

impl Process {
    /// Starts `command` and captures both its outputs. Panics with a clear line when the program is missing.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let (stdout, stderr) = (Output::default(), Output::default());
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let readers = vec![copy(out, Arc::clone(&stdout)), copy(err, Arc::clone(&stderr))];
        Self { name: name.to_owned(), child, stdout, stderr, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a size");
        kib * 1024
    }

    /// Processor time used until now, in clock ticks (1/100 s).
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process state");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks");
        ticks(11) + ticks(12)
    }

    /// What it wrote to standard error until now.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// What it wrote to standard output until now.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for a child")
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _ = kill_process(id, signal);
    }

    /// Waits until the process has ended by itself and returns how; panics after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually_within(deadline, &what, || self.ended());
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end within `deadline`; the exit code is the caller's to judge.
pub fn run(command: Command, deadline: Duration) -> Finished {
    let name = format!("{command:?}");
    let mut process = Process::spawn(&name, command);
    let status = process.wait(deadline);
    Finished { code: status.code(), stdout: process.stdout(), stderr: process.stderr() }
}

/// Where a binary under test is: what `variable` says, else beside the test's own build. Panics with the fix otherwise.
pub(crate) fn built(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a target directory");
    let path = profile.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build -p {name}`, or set {variable}", path.display());
    path
}

/// A command without the variables that are meant for the harness: the binaries refuse settings they do not know.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SPURLINE_")) {
        command.env_remove(name);
    }
    command
}

/// A tool that `tests/setup.sh` puts below `target/tools`; panics with the fix when it is not there.
pub fn tool(path: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = root.join("../target/tools").join(path);
    assert!(found.exists(), "{} is missing: run tests/setup.sh", found.display());
    found
}

fn copy(mut from: impl Read + Send + 'static, to: Output) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 {
                break;
            }
            to.lock().expect("output").extend_from_slice(&buffer[..count]);
        }
    })
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.lock().expect("output")).into_owned()
}
