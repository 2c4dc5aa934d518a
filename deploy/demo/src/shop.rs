//! The shop: four services, each behind its own proxy, a gateway before them, one routes file for all.
//!
//! ```text
//! curl ─► gateway ─► [proxy] frontend ─► [proxy] cart ──────► [proxy] inventory
//!                                           └key► [proxy] cart@alice ─┘
//! ```

mod admin;
mod map;
mod process;
mod routes;

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

pub(crate) use self::admin::Generations;
pub(crate) use self::map::Map;
pub(crate) use self::process::Processes;
pub(crate) use self::routes::KEY;
use crate::service::Version;

/// A port that was free a moment ago may be taken when a child binds it; then everything starts afresh.
const START_ATTEMPTS: u32 = 5;

/// The running shop.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) processes: Processes,
    pub(crate) map: Map,
    dir: TempDir,
}

// === impl Shop ===

impl Shop {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// A process ended or was not ready in time. Nothing is left running.
    pub(crate) async fn start(proxy: &Path) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut shop = Self::spawn(proxy)?;
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

    fn spawn(proxy: &Path) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("spurline-demo-").tempdir().context("no temporary directory")?;
        let map = Map::on_free_ports(dir.path())?;
        map.routes.write(Version::Fork)?;
        let mut processes = Processes::new(dir.path());
        let this_program = std::env::current_exe()?;
        for (name, args) in map.service_commands() {
            processes.start(&name, &this_program, &args)?;
        }
        for (name, args) in map.proxy_commands() {
            processes.start(&name, proxy, &args)?;
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
