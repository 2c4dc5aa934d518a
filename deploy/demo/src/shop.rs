//! The shop: four services, each behind its own proxy, a gateway before them, a control service for all proxies.
//!
//! ```text
//! curl ─► gateway ─► [proxy] frontend ─► [proxy] cart ──────► [proxy] inventory
//!                                           └key► [proxy] cart@alice ─┘
//! ```

mod admin;
mod control;
mod map;
mod process;
mod sandbox;

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

pub(crate) use self::map::Map;
pub(crate) use self::process::Processes;
pub(crate) use self::sandbox::{Change, KEY, PATH, WAIT};

/// A port that was free a moment ago may be taken when a child binds it; then everything starts afresh.
const START_ATTEMPTS: u32 = 5;

/// The programs of this project that the shop runs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) proxy: PathBuf,
    pub(crate) control: PathBuf,
}

/// The running shop.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) processes: Processes,
    pub(crate) map: Map,
    dir: TempDir,
}

// === impl Shop ===

impl Shop {
    /// Starts everything and waits until it is ready. There is no sandbox yet.
    ///
    /// # Errors
    /// A process ended or was not ready in time. Nothing is left running.
    pub(crate) async fn start(programs: &Programs) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut shop = Self::spawn(programs)?;
            let death = tokio::select! {
                ready = shop.map.ready() => return ready.map(|()| shop),
                death = shop.processes.first_death() => death?,
            };
            let map = shop.map.clone();
            shop.stop().await;
            anyhow::ensure!(attempt < START_ATTEMPTS && map.is_any_port_taken(), "{death}");
            attempt += 1;
        }
    }

    fn spawn(programs: &Programs) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("spurline-demo-").tempdir().context("no temporary directory")?;
        let map = Map::on_free_ports(dir.path())?;
        let mut processes = Processes::new(dir.path());
        let this_program = std::env::current_exe()?;
        let (name, args) = map.control.command();
        processes.start(&name, &programs.control, &args)?;
        for (name, args) in map.service_commands() {
            processes.start(&name, &this_program, &args)?;
        }
        for (name, args) in map.proxy_commands() {
            processes.start(&name, &programs.proxy, &args)?;
        }
        Ok(Self { processes, map, dir })
    }

    /// Stops every process. Returns the names of those that did not stop by themselves.
    pub(crate) async fn stop(self) -> Vec<String> {
        let Self { processes, map: _, dir } = self;
        let killed = processes.stop().await;
        drop(dir);
        killed
    }
}
