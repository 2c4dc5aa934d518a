//! A routes file that changes the way a deployment tool changes it: written beside, then renamed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// One override of a routes file.
#[derive(Debug, Clone)]
pub struct Override {
    workload: String,
    key: String,
    fork: String,
    or_baseline: bool,
    ports: Vec<(String, Vec<SocketAddr>)>,
}

impl Override {
    /// "For this workload and this key, `fork` answers"; its ports are still to be given.
    pub fn new(workload: &str, key: &str, fork: &str) -> Self {
        let (workload, key, fork) = (workload.to_owned(), key.to_owned(), fork.to_owned());
        Self { workload, key, fork, or_baseline: false, ports: Vec::new() }
    }

    /// Maps one port.
    #[must_use]
    pub fn port(mut self, port: u16, endpoints: &[SocketAddr]) -> Self {
        self.ports.push((port.to_string(), endpoints.to_vec()));
        self
    }

    /// Maps every port that is not named.
    #[must_use]
    pub fn any_port(mut self, endpoints: &[SocketAddr]) -> Self {
        self.ports.push(("\"*\"".to_owned(), endpoints.to_vec()));
        self
    }

    /// Lets the baseline answer when the fork cannot.
    #[must_use]
    pub fn or_baseline(mut self) -> Self {
        self.or_baseline = true;
        self
    }
}

/// A routes file in a directory of its own.
#[derive(Debug)]
pub struct Routes {
    directory: TempDir,
    workloads: Vec<(String, u16, Vec<SocketAddr>)>,
    sandboxes: Vec<(String, String)>,
    overrides: Vec<Override>,
}

impl Routes {
    /// An empty table; nothing is on disk before [`Routes::publish`].
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        Self { directory, workloads: Vec::new(), sandboxes: Vec::new(), overrides: Vec::new() }
    }

    /// The file's path.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("routes.yaml")
    }

    /// The directory that holds the file.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Names the baseline endpoints of a workload's port.
    #[must_use]
    pub fn workload(mut self, name: &str, port: u16, endpoints: &[SocketAddr]) -> Self {
        self.workloads.push((name.to_owned(), port, endpoints.to_vec()));
        self
    }

    /// Names a sandbox and its key.
    #[must_use]
    pub fn sandbox(mut self, name: &str, key: &str) -> Self {
        self.sandboxes.push((name.to_owned(), key.to_owned()));
        self
    }

    /// Adds an override.
    #[must_use]
    pub fn with(mut self, one: Override) -> Self {
        self.overrides.push(one);
        self
    }

    /// Adds or replaces the override of the same workload and key. Call [`Routes::publish`] after it.
    pub fn set(&mut self, one: Override) {
        self.remove(&one.workload, &one.key);
        self.overrides.push(one);
    }

    /// Takes the override of a workload and a key away. Call [`Routes::publish`] after it.
    pub fn remove(&mut self, workload: &str, key: &str) {
        self.overrides.retain(|one| one.workload != workload || one.key != key);
    }

    /// Writes the table and returns itself, to end a chain.
    #[must_use]
    pub fn published(self) -> Self {
        self.publish();
        self
    }

    /// Writes the table beside the file and renames it over.
    pub fn publish(&self) {
        self.write(&self.text());
    }

    /// Puts any text in the file's place, atomically.
    pub fn write(&self, text: &str) {
        let beside = self.directory.path().join("routes.yaml.new");
        std::fs::write(&beside, text).expect("write a routes file");
        std::fs::rename(&beside, self.path()).expect("rename a routes file");
    }

    /// The table as YAML.
    pub fn text(&self) -> String {
        let mut text = String::from("workloads:");
        text.push_str(if self.workloads.is_empty() { " []\n" } else { "\n" });
        for (name, port, endpoints) in &self.workloads {
            let _ = writeln!(text, "  - name: {name}\n    ports: {{ {port}: {} }}", list(endpoints));
        }
        text.push_str("sandboxes:");
        text.push_str(if self.sandboxes.is_empty() { " []\n" } else { "\n" });
        for (name, key) in &self.sandboxes {
            let _ = writeln!(text, "  - name: {name}\n    key: {key}");
        }
        text.push_str("overrides:");
        text.push_str(if self.overrides.is_empty() { " []\n" } else { "\n" });
        for one in &self.overrides {
            let _ = writeln!(
                text,
                "  - workload: {}\n    key: {}\n    fork: {}",
                one.workload, one.key, one.fork
            );
            if one.or_baseline {
                text.push_str("    onUnavailable: Baseline\n");
            }
            let ports: Vec<_> = one.ports.iter().map(|(port, to)| format!("{port}: {}", list(to))).collect();
            let _ = writeln!(text, "    ports: {{ {} }}", ports.join(", "));
        }
        text
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

fn list(endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    format!("[{}]", endpoints.join(", "))
}
