//! Settings: one static table, and everything that follows from it.
//!
//! ```text
//! defs.rs ──┬── flags, environment, YAML file ── raw ── resolve ── Config
//!           ├── --help
//!           └── docs/reference/settings.md
//! ```
//!
//! A setting is one row of the table in `defs.rs`. `raw` is what was typed and where; [`Config`] is what is meant. All
//! mistakes are reported at once. This crate is given its arguments, environment and file contents: it opens nothing,
//! knows no machine (a `None` in [`Config`] is for the caller to work out) and changes nothing while running.

mod certificate;
mod config;
mod defs;
mod error;
mod fields;
mod listener;
mod raw;
mod reference;
mod resolve;
mod value;

use std::{ffi::OsString, io, path::Path};

pub use crate::{
    certificate::Certificate,
    config::{
        AccessLogTarget, Config, Control, ControlIdentity, ControlServer, Drain, Http2, Inbound, Limits, Log,
        LogFormat, LogLevel, Rate, SignedKeys, Timeouts, Tls, TlsVersion, Upstream, UpstreamTls,
    },
    error::Exit,
    listener::{Listener, ListenerTls, Protocol, Role, Unmatched, UpstreamProtocol},
    raw::{Source, Sources},
    reference::reference,
};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run the proxy.
    Run(Box<Config>),
    /// The settings are good: say so and end, without listening.
    Check(Box<Config>),
    /// Print this to standard output and end: help, version, the reference page.
    Print(String),
}

/// Reads all settings. A flag wins over the environment, the environment over the file, the file over the default.
///
/// `args` begins with the program's name. `env` is the whole environment; only `SPURLINE_*` is looked at. `read_file` is
/// called with the path given as `--config`, if any.
///
/// # Errors
/// Every mistake in every source, one line each, and the exit code 64 (`EX_USAGE`).
pub fn parse(
    args: impl Iterator<Item = OsString>,
    env: impl Iterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<Command, Exit> {
    let (flags, print) = raw::read_flags(args)?;
    match print {
        Some(text) => Ok(Command::Print(text)),
        None => {
            let mut problems = Vec::new();
            let raw = raw::merge(flags, env, read_file, &mut problems);
            resolve::resolve(&raw, problems)
        }
    }
}
