//! `spurline-demo`: a small shop whose services stand behind real `spurline-proxy` processes, a fork of one of
//! them, and requests that show which copy answers whom.
//!
//! It is a demonstration and a check of the promises of proxy and control service from the outside: it shares no code
//! with them, knows only their command lines, REST and admin endpoints, and it is not a load generator.

mod args;
mod attached;
mod client;
mod run;
mod screen;
mod service;
mod shop;
mod steady;
mod steering;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::Invocation;
use crate::screen::{Screen, Style};
use crate::shop::Programs;

fn main() -> ExitCode {
    let invocation = match args::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    dispatch(invocation).unwrap_or_else(|error| {
        let label = Screen::of_this_process().paint("error:", Style::Bad);
        let _ = writeln!(std::io::stderr(), "{label} {error:#}");
        ExitCode::FAILURE
    })
}

fn dispatch(invocation: Invocation) -> Result<ExitCode> {
    match invocation {
        Invocation::Attached { parent, program } => match attached::become_program(parent, &program)? {},
        Invocation::Service(service) => match runtime()?.block_on(service::serve(service))? {},
        Invocation::Run { lifetime, proxy, control } => {
            let programs = Programs {
                proxy: program("spurline-proxy", proxy)?,
                control: program("spurline-control", control)?,
            };
            runtime()?.block_on(run::run(lifetime, &programs))
        }
    }
}

/// The program `name`: `given`, or the one beside this program.
fn program(name: &str, given: Option<PathBuf>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name(name),
    };
    let fix = format!("build it with `cargo build --release -p {name}`, or name one on the command line");
    anyhow::ensure!(path.is_file(), "there is no {name} at {}: {fix}", path.display());
    path.canonicalize().with_context(|| format!("cannot use {}", path.display()))
}

/// One thread: the kernel ties a child's life to the thread that started it, so that must be the main thread.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
