//! The relay on Pingora, which is a crate and a workspace of its own in `bench/relays/pingora`: one thread, Pingora's defaults.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::work::{Job, Protocol, keys};

/// Where `bench/setup.sh` puts it, from the root of the repository.
const RELAY: &str = "target/tools/pingora-relay";
const VARIABLE: &str = "SPURLINE_BENCH_PINGORA";

pub(super) fn command(job: &Job, count: u32) -> Result<Command> {
    let Job { dir, listen, baseline, fork, .. } = job;
    let protocol = match job.protocol {
        Protocol::Http1 | Protocol::WebSocket => None,
        Protocol::Http2 => Some("h2c"),
        Protocol::Tls | Protocol::TlsToUpstream | Protocol::Tcp => {
            bail!("the relay on Pingora speaks HTTP without TLS")
        }
    };
    let path = dir.join("pingora-keys");
    fs::write(&path, keys(count).map(|key| key + "\n").collect::<String>())?;
    let mut command = Command::new(program()?);
    command.args([listen, baseline, fork].map(ToString::to_string)).arg(path).args(protocol);
    Ok(command)
}

/// What `bench/setup.sh` built, or what `SPURLINE_BENCH_PINGORA` names.
pub(crate) fn program() -> Result<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named
        .or_else(|| Some(PathBuf::from(RELAY)))
        .filter(|path| path.is_file())
        .with_context(|| format!("no relay on Pingora: run bench/setup.sh, or name one in {VARIABLE}"))
}
