//! Documents from a directory of YAML and JSON files.
//!
//! [`Directory`] keeps the hub in step with the files: all of them or none, the last good set kept. [`text`] reads one
//! file into JSON values that still know their lines, which the command line uses as well. Faults are
//! `file:line: pointer: what; allowed: …`, every one of every file at once, as far as a file can be read.
//!
//! Neither decides what documents mean together, resolves names, writes files or looks into subdirectories.

mod directory;
mod set;
pub mod text;

use std::{fmt, io, path::PathBuf};

pub use self::{
    directory::{Counters, Directory, Places, SOURCE},
    set::{Files, read},
};

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most files of a directory.
pub const FILES_MAX: usize = 20_000;
/// The most faults that are displayed; the rest is counted.
pub const FAULTS_MAX: usize = 100;

/// Why a directory gives no documents.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: more than {FILES_MAX} files, the most that is allowed", .path.display())]
    TooManyFiles { path: PathBuf },
    #[error(transparent)]
    Wrong(#[from] Faults),
}

/// Everything that is wrong, in the order of files and lines. Displayed as one fault a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub path: PathBuf,
    /// From one; of a fault of the whole file, one.
    pub line: u64,
    /// What is wrong, and what is allowed.
    pub text: String,
}

// === impl Faults ===

impl Faults {
    /// Puts them in order.
    #[must_use]
    pub fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        Self(faults)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(FAULTS_MAX).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{fault}")?;
        }
        match self.0.len().saturating_sub(FAULTS_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.text)
    }
}
