//! `spurline-proxy`: reads its settings, starts, and ends with a documented code. Everything else is in the libraries.
//!
//! Exit codes: 0 after a drain or a good `--check`; 1 when it could not start or a check failed; 64 for wrong settings.

use std::{io::Write, panic, process::ExitCode, time::Duration};

use spurline_app::{App, Telemetry};
use spurline_config::{Command, Config, LogFormat};
use spurline_telemetry::{
    log,
    metrics::{Counter, Registry, Shared},
};

/// How long the last log lines may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Variables that are not text cannot be ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match spurline_config::parse(std::env::args_os(), env, |path| std::fs::read_to_string(path)) {
        Ok(Command::Run(config)) => run(&config),
        Ok(Command::Check(config)) => check(&config),
        Ok(Command::Print(text)) => print(&text),
        Err(exit) => fail(&exit.message, exit.code),
    }
}

fn run(config: &Config) -> ExitCode {
    let (registry, shards) = Registry::new(spurline_app::worker_count(config), env!("CARGO_PKG_VERSION"));
    let format = match config.log.format {
        LogFormat::Text => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    let (level, guard) = match log::init(config.log.level.as_str(), format, registry.shared()) {
        Ok(log) => log,
        Err(error) => return fail(&error.to_string(), 1),
    };
    count_panics(registry.shared());
    let telemetry = Telemetry { registry, shards, level };
    let ended = App::build(config, telemetry).and_then(App::run);
    let flushed = guard.flush(FLUSH_TIMEOUT);
    match ended {
        Ok(()) if flushed => ExitCode::SUCCESS,
        Ok(()) => fail("the last log lines could not be written", 0),
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn check(config: &Config) -> ExitCode {
    match spurline_app::check(config) {
        Ok(()) => print("settings are good\n"),
        Err(error) => fail(&error.to_string(), 1),
    }
}

/// A panic ends one connection, not the process; it is a bug all the same, and is counted and logged as one.
fn count_panics(metrics: Shared) {
    panic::set_hook(Box::new(move |panic| {
        metrics.inc(Counter::Panics);
        tracing::error!(%panic, "Panicked");
    }));
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // With stderr closed there is nobody left to tell.
    let _told = writeln!(std::io::stderr(), "spurline-proxy: {message}");
    ExitCode::from(code)
}
