//! The child processes of the demo: started with a log file each, watched, stopped, never left behind.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

/// From SIGTERM to SIGKILL. Longer than the drain timeout the proxies are given.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const TAIL_LINES: usize = 15;

/// All children. Dropping it kills those that still run.
#[derive(Debug)]
pub(crate) struct Processes {
    log_dir: PathBuf,
    running: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A child that ended without being asked to.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) name: String,
    status: ExitStatus,
    log_tail: String,
}

// === impl Processes ===

impl Processes {
    /// No children yet; their logs go to `<log_dir>/<name>.log`.
    pub(crate) fn new(log_dir: &Path) -> Self {
        Self { log_dir: log_dir.to_owned(), running: Vec::new() }
    }

    /// Starts `program`. Its process group is its own, so that a Ctrl-C reaches only the demo, which then stops
    /// its children in order; settings of the caller's environment (`SPURLINE_*`) are kept from it.
    pub(crate) fn start(&mut self, name: &str, program: &Path, args: &[String]) -> Result<()> {
        let log = self.log_dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = output.try_clone()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("attached")
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program)
            .args(args);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SPURLINE_") {
                command.env_remove(variable);
            }
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.running.push(Process { name: name.to_owned(), child, log });
        Ok(())
    }

    /// Waits until any child ends. Cancel-safe.
    pub(crate) async fn first_death(&mut self) -> Result<Death> {
        poll_fn(|context| {
            for process in &mut self.running {
                let polled = pin!(process.child.wait()).poll(context);
                if let Poll::Ready(status) = polled {
                    return Poll::Ready(status.map(|status| process.death(status)).map_err(Into::into));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Asks every child to stop and waits. Returns the names of those that had to be killed.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        for process in &self.running {
            process.terminate();
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut killed = Vec::new();
        for process in &mut self.running {
            if timeout_at(deadline, process.child.wait()).await.is_err() {
                let _ = process.child.kill().await;
                killed.push(process.name.clone());
            }
        }
        killed
    }
}

// === impl Process ===

impl Process {
    fn terminate(&self) {
        // `id` is `None` once the child was waited for: a recycled process id is never signalled.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn death(&self, status: ExitStatus) -> Death {
        let log = std::fs::read(&self.log).unwrap_or_default();
        Death { name: self.name.clone(), status, log_tail: tail(&String::from_utf8_lossy(&log)) }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(start).map(|line| format!("    {line}\n")).collect()
}

// === impl Death ===

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, status, log_tail } = self;
        if log_tail.is_empty() {
            return write!(f, "{name} ended unexpectedly ({status}) without a word in its log");
        }
        write!(f, "{name} ended unexpectedly ({status}); the end of its log:\n{}", log_tail.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_only() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 99\n"));
    }
}
