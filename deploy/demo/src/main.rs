//! `spurline-demo`: a small shop whose services stand behind real `spurline-proxy` processes, a fork of one of
//! them, and requests that show which copy answers whom.
//!
//! It is a demonstration and a check of the proxy's promises from the outside: it shares no code with the proxy,
//! knows only its command line, its routes file and its admin endpoints, and it is not a load generator.

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
use std::process::ExitCode;

use anyhow::Result;

use crate::args::Invocation;
use crate::screen::{Screen, Style};

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
        Invocation::Run { lifetime, proxy } => runtime()?.block_on(run::run(lifetime, proxy)),
    }
}

/// One thread: the kernel ties a child's life to the thread that started it, so that must be the main thread.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
