//! One peer as a tree of operating-system processes: started pinned, measured through `/proc`, killed on drop.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::ClockId;
use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at whether a command has ended.
const END_INTERVAL: Duration = Duration::from_millis(5);

/// A running process and its descendants (nginx does its work in a child of what was started).
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

/// Memory of a process tree, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    pub(crate) anonymous_bytes: u64,
}

impl Running {
    /// Starts `command` on one core with its output in `dir`.
    ///
    /// `setpriv` makes the kernel end the process with this one, even when this one is killed; `taskset` pins it.
    /// Both replace themselves by the command, so that the process started is the process measured. Variables that our
    /// own programs would read as settings are kept from it.
    pub(crate) fn start(name: &str, core: usize, command: &Command, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut pinned = Command::new("setpriv");
        pinned
            .args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &core.to_string()])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Out of the terminal's group: an interrupt ends this process, and the kernel then ends the child.
            .process_group(0);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SPURLINE_") {
                pinned.env_remove(variable);
            }
        }
        let child =
            pinned.spawn().with_context(|| format!("start {name}: setpriv and taskset (util-linux)"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// An error with the end of the process's log if it is no longer running.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}):\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Whether the process has come to a good end; an error if it came to a bad one.
    pub(crate) fn has_succeeded(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail()),
            None => Ok(false),
        }
    }

    /// The last lines of the process's output.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let skipped = lines.len().saturating_sub(15);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// What was started, first, and everything that descends from it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        tree(self.child.id())
    }

    /// User and system time of the whole tree so far, exited threads included, exited processes not. The kernel counts it
    /// in nanoseconds (`clock_getcpuclockid(3)`), `/proc/<pid>/stat` shows it in ticks of 10 ms only.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for pid in tree(self.child.id()) {
            let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(i32::try_from(pid)?));
            let time = clock.and_then(ClockId::now);
            total += Duration::from(time.with_context(|| format!("{}: process {pid} is gone", self.name))?);
        }
        Ok(total)
    }

    /// Resident and anonymous memory of the whole tree. Pages shared between its processes count once per process.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let mut total = Memory::default();
        for pid in tree(self.child.id()) {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))
                .with_context(|| format!("{}: process {pid} is gone", self.name))?;
            total.resident_bytes += status_bytes(&status, "VmRSS:")?;
            total.anonymous_bytes += status_bytes(&status, "RssAnon:")?;
        }
        Ok(total)
    }
}

impl Drop for Running {
    /// Kills the tree, parent first so that it cannot start a child again. A measured peer has nothing to drain.
    fn drop(&mut self) {
        // A process that has ended and been waited for may have given its number to another.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        for pid in tree(self.child.id()) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::KILL)) {
                eprintln!("{}: kill: {error}", self.name);
            }
        }
        if let Err(error) = self.child.wait() {
            eprintln!("{}: wait: {error}", self.name);
        }
    }
}

/// Runs `command` to its end, and ends it when that takes longer than `limit`: one whose peer hangs may wait for ever. Its output has to fit
/// into a pipe.
pub(crate) fn output_within(limit: Duration, command: &mut Command) -> Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("it does not come to its end");
        }
        std::thread::sleep(END_INTERVAL);
    }
    Ok(child.wait_with_output()?)
}

/// `root` and everything that descends from it, parents before children.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, read_parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    found
}

fn read_parent(pid: u32) -> Option<u32> {
    parse_parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fourth field of `/proc/<pid>/stat` (proc_pid_stat(5)).
fn parse_parent(stat: &str) -> Option<u32> {
    // The second field is the command name in parentheses and may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn status_bytes(status: &str, field: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kibibytes: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .with_context(|| format!("{field} is missing from the process status"))?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (odd) name)) S 7 42 42 0 -1";
        assert_eq!(parse_parent(text), Some(7));
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let limit = Duration::from_millis(50);
        assert!(output_within(limit, Command::new("sleep").arg("3600")).is_err());
        let output = output_within(Duration::from_secs(60), Command::new("echo").arg("done")).unwrap();
        assert_eq!(output.stdout, b"done\n");
    }

    #[test]
    fn memory_fields_are_read_in_bytes() {
        assert_eq!(status_bytes("VmRSS:\t    1024 kB\nRssAnon:\t 12 kB\n", "RssAnon:").unwrap(), 12 * 1024);
        assert!(status_bytes("VmRSS:\t 1 kB\n", "RssAnon:").is_err());
    }

    #[test]
    fn the_tree_of_this_process_begins_with_itself() {
        assert_eq!(tree(std::process::id()).first(), Some(&std::process::id()));
    }
}
