//! A program that cannot outlive its parent.
//!
//! `PR_SET_PDEATHSIG` has to be set by the child itself, and running code between `fork` and `exec` needs
//! `unsafe`. So each child is started as `spurline-demo attached`, sets the signal on itself (it survives `exec`,
//! prctl(2)) and then becomes the program. Whatever ends the demo, `kill -9` included, ends its children.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Replaces this process by `program` (its path, then its arguments), to be killed when process `parent` dies.
///
/// # Errors
/// Returns only if it failed: the parent is gone already, or the program cannot be executed.
pub(crate) fn become_program(parent: i32, program: &[OsString]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot attach to the parent process")?;
    // A parent that died before the line above will send no signal any more.
    let alive = getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    anyhow::ensure!(alive, "the parent process is gone");
    let (path, args) = program.split_first().context("no program to run")?;
    let error = Command::new(path).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(path).display()))
}
