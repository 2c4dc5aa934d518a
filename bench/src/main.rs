//! `spurline-bench`: what one request and one idle connection cost in Spurline and in the proxies beside it, and how soon
//! the control service has a change everywhere.
//!
//! Everything runs on this machine over loopback: backends and load generators share one core, what is measured has
//! another. Nothing here judges correctness beyond "every answer came from the right backend"; the suites
//! in `tests/` do that.

mod attacks;
mod catalogue;
mod cli;
mod closed_loop;
mod connections;
mod control;
mod echoes;
mod host;
mod http1;
mod http2;
mod interrupt;
mod keep_alive;
mod latency;
mod memory;
mod page;
mod peer;
mod probe;
mod process;
mod propagation;
mod record;
mod relay;
mod report;
mod route_tables;
mod run;
mod scenario;
mod start;
mod stats;
mod steering;
mod streaming;
mod svg;
mod syscalls;
mod table;
mod tls;
mod tunnels;
mod work;
mod wrk;

use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    match perform() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spurline-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform() -> Result<()> {
    match cli::parse()? {
        cli::Task::Run(options) => run::run(&options),
        cli::Task::List => run::list(),
        cli::Task::Report(file) => page::again(&file),
        cli::Task::Attacks(options) => attacks::run(&options),
        cli::Task::Attacker { attack, target, connections, seconds } => {
            attacks::attacker::run(&attack, target, connections, seconds)
        }
        cli::Task::Sink { listen, appetite } => attacks::sink::run(listen, appetite),
        cli::Task::ControlLoad(options) => control::load(&options),
        cli::Task::Relay { listen, upstream } => relay::run(listen, upstream),
        cli::Task::HyperRelay { listen, baseline, fork } => http2::relay::run(listen, baseline, fork),
        cli::Task::Echo { baseline, fork } => http2::echo::run(baseline, fork),
    }
}
