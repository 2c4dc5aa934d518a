//! `spurline-control`: the control service, and the commands that talk to one.
//!
//! Exit codes: 0 when what was asked is done, or after a drain; 1 when it failed; 2 when proxies did not have it in
//! time; 64 for wrong settings or arguments.

mod args;
mod client;
mod outcome;
mod serve;
mod settings;

use std::{io::Write as _, process::ExitCode};

use clap::error::ErrorKind;

use self::outcome::Failure;

fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // With the stream closed there is nobody left to tell.
            let _told = error.print();
            return ExitCode::from(if asked { 0 } else { Failure::USAGE });
        }
    };
    let done = match matches.subcommand() {
        Some((args::SERVE, matches)) => {
            settings::Settings::read(matches).and_then(|settings| serve::run(&settings))
        }
        Some((noun, matches)) => client::run(noun, matches),
        None => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.message().lines() {
                let _told = writeln!(std::io::stderr(), "spurline-control: {line}");
            }
            ExitCode::from(failure.code())
        }
    }
}
