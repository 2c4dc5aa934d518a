//! An interrupt, or a terminal that goes away, ends everything that this process started, and takes its scratch directory
//! away.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::process::tree;

/// What a shell says of a process that was interrupted.
const INTERRUPTED: i32 = 130;

static RAISED: AtomicBool = AtomicBool::new(false);

/// From now on, when this process is asked to end, it kills all that descends from it, removes `scratch` and exits. It
/// does not wait for a measurement that is under way: nothing of it would be used.
pub(crate) fn watch(scratch: PathBuf) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let hangs_up = !is_hangup_ignored();
    let (mut interrupt, mut terminate, mut hangup) = {
        let _entered = runtime.enter();
        let watch = |kind| signal(kind).context("cannot watch for signals");
        let hangup = if hangs_up { Some(watch(SignalKind::hangup())?) } else { None };
        (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?, hangup)
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hangup.as_mut()?.recv().await } => {}
            }
        });
        RAISED.store(true, Ordering::Release);
        // A terminal that is gone takes no text; that must not keep anything alive.
        let _ = writeln!(std::io::stderr(), "\ninterrupted: of what was under way nothing is saved");
        end_descendants();
        if let Err(error) = fs::remove_dir_all(&scratch) {
            let _ = writeln!(std::io::stderr(), "{} is left behind: {error}", scratch.display());
        }
        std::process::exit(INTERRUPTED);
    })?;
    Ok(())
}

/// Does not return once this process is ending: what has failed then failed because of it.
pub(crate) fn stop_if_raised() {
    while RAISED.load(Ordering::Acquire) {
        std::thread::park();
    }
}

/// Whether whoever started this process wants it to outlive the terminal, as nohup(1) does.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit (proc_pid_status(5)).
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Parents before children, so that none is started again.
fn end_descendants() {
    for pid in tree(std::process::id()).into_iter().skip(1) {
        // One that has ended meanwhile is as it should be.
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
