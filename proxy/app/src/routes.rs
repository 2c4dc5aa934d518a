//! The routes file: route tables for a proxy without a control service.
//!
//! [`read`] turns a YAML file into a table or into everything that is wrong with it; [`Watch`] keeps the table in
//! step with the file while the proxy runs. Neither resolves names, checks that an endpoint answers, or writes the
//! file.

mod file;
mod watch;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

pub use self::{file::read, watch::Watch};

/// The largest routes file that is read.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most faults that are listed of one file; the rest is counted.
pub const FAULTS_MAX: usize = 50;

/// Why a routes file gives no table.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: longer than {FILE_BYTES_MAX} bytes, the most that is allowed", .path.display())]
    TooLong { path: PathBuf },
    #[error(transparent)]
    Wrong(#[from] Faults),
}

/// Everything that is wrong with the text of one routes file, in the order of its lines. Displayed as one
/// `file:line: what, and what is allowed` per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    path: PathBuf,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    line: u64,
    text: String,
}

// === impl Faults ===

impl Faults {
    fn new(path: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.line);
        Self { path: path.to_owned(), faults }
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (index, fault) in self.faults.iter().take(FAULTS_MAX).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{path}:{}: {}", fault.line, fault.text)?;
        }
        match self.faults.len().saturating_sub(FAULTS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{path}: and {more} more"),
        }
    }
}
