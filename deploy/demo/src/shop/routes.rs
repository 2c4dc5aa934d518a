//! The routes file that all proxies of the shop read, and the one change the demo makes to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::service::Version;

/// The routing key of the demo's sandbox.
pub(crate) const KEY: &str = "k3v6m2x7q4ab";
/// The port the shop's services declare. The real ones are whatever was free on this machine.
pub(crate) const SERVICE_PORT: u16 = 8080;

/// The file, and where the fork of `cart` can be reached.
#[derive(Clone, Debug)]
pub(crate) struct RoutesFile {
    path: PathBuf,
    fork: SocketAddr,
}

// === impl RoutesFile ===

impl RoutesFile {
    pub(crate) fn new(path: PathBuf, fork: SocketAddr) -> Self {
        Self { path, fork }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file in one step, so that no proxy can ever read half of it. `keyed` says which copy of
    /// `cart` answers requests with the key: `Fork` lists the sandbox, `Baseline` is a file without it.
    pub(crate) fn write(&self, keyed: Version) -> Result<()> {
        let fresh = self.path.with_extension("fresh");
        std::fs::write(&fresh, self.text(keyed))
            .and_then(|()| std::fs::rename(&fresh, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn text(&self, keyed: Version) -> String {
        match keyed {
            Version::Baseline => "# The sandbox of alice is gone.\nsandboxes: []\noverrides: []\n".to_owned(),
            Version::Fork => format!(
                "# Requests with alice's routing key go to her copy of cart, all others to the baseline.\n\
                 sandboxes:\n\
                 \x20 - name: alice\n\
                 \x20   key: {KEY}\n\
                 overrides:\n\
                 \x20 - workload: shop/Deployment/cart\n\
                 \x20   sandbox: alice\n\
                 \x20   fork: cart@alice\n\
                 \x20   ports: {{ {SERVICE_PORT}: [\"{}\"] }}\n",
                self.fork
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_listed_only_while_the_fork_is() {
        let file = RoutesFile::new(PathBuf::from("routes.yaml"), SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert!(file.text(Version::Fork).contains(KEY));
        assert!(file.text(Version::Fork).contains("    ports: { 8080: [\"127.0.0.1:4711\"] }\n"));
        assert!(!file.text(Version::Baseline).contains(KEY));
    }

    #[test]
    fn a_rewrite_leaves_one_file() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = RoutesFile::new(dir.path().join("routes.yaml"), SocketAddr::from(([127, 0, 0, 1], 1)));
        file.write(Version::Fork)?;
        file.write(Version::Baseline)?;
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
        assert_eq!(std::fs::read_to_string(file.path())?, file.text(Version::Baseline));
        Ok(())
    }
}
