//! `spurline-bench`: what one request and one idle connection cost in Spurline and in the proxies beside it, and how soon
//! the control service has a change everywhere.
//!
//! Everything runs on this machine over loopback: backends and load generators share one core, what is measured has
//! another. Nothing here judges correctness beyond "every answer came from the right backend"; the suites
//! in `tests/` do that.

mod attacks;
mod catalogue;
mod cli;
mod control;
mod host;
mod http1;
mod http2;
mod memory;
mod peer;
mod probe;
mod process;
mod relay;
mod report;
mod scenario;
mod stats;
mod tls;
mod work;
mod wrk;

use anyhow::Result;

fn main() -> Result<()> {
    match cli::parse()? {
        cli::Task::Http1(options) => http1::run(&options),
        cli::Task::Http2(options) => http2::run(&options),
        cli::Task::Memory(options) => memory::run(&options),
        cli::Task::Tls(options) => tls::run(&options),
        cli::Task::Attacks(options) => attacks::run(&options),
        cli::Task::Attacker { attack, target, connections, seconds } => {
            attacks::attacker::run(&attack, target, connections, seconds)
        }
        cli::Task::Control(options) => control::fan_out(&options),
        cli::Task::ControlLoad(options) => control::load(&options),
        cli::Task::Relay { listen, upstream } => relay::run(listen, upstream),
        cli::Task::HyperRelay { listen, baseline, fork } => http2::relay::run(listen, baseline, fork),
        cli::Task::Echo { baseline, fork } => http2::echo::run(baseline, fork),
    }
}
