//! What outlives the process: every document that was written through the REST API, in one file.
//!
//! A commit is one transaction of the embedded database and one flush to the disk, however many requests it serves.
//! When it returns, the data is on the disk; when it fails, nothing in memory has changed, and what may have reached the
//! disk is taken back at once. If the disk does not let it, the error is [`StoreError::Unsure`]: it is taken back as soon
//! as the disk does, by [`Store::take_back`] or the next commit, and is found written if the process ends before. The
//! store judges nothing: which write is allowed is the [`Writer`]'s affair.
//!
//! Three checks keep a damaged file from looking like fewer sandboxes: the database's own page checksums, a checksum
//! per record, and the number and sum of all records, which every commit updates. A file that fails one is not opened.
//! They do not notice a whole file that is older than it should be, such as a restored copy.
//!
//! [`Writer`]: crate::Writer

mod file;
mod open;
mod record;

use std::{io, path::Path, sync::Arc};

use serde_json::Value;

pub(crate) use self::record::StoredRecord;
use self::{file::File, open::Opener};

/// One change of the store. Keys are `Kind/name`.
#[derive(Debug)]
pub(crate) enum Op<'a> {
    Put { key: String, record: StoredRecord<&'a Value> },
    Delete { key: String },
}

/// Where documents are kept: a file, or nowhere.
#[derive(Debug)]
pub struct Store {
    keep: Keep,
    found: Vec<Found>,
    sequence: u64,
}

/// A record as text: read one by one it takes a fraction of the memory.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: String,
    text: Box<[u8]>,
}

#[derive(Debug)]
enum Keep {
    Memory,
    File(Box<File>),
}

/// Why a store cannot be opened, or did not take a write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is no store, or a damaged one.
    #[error(
        "{path}: {what}; nothing was changed. Restore the file from a backup, or move it away to start empty \
         and apply the documents again"
    )]
    Damaged { path: String, what: String },
    /// One record of the file is damaged, or of a form this version does not know.
    #[error(
        "{path}: record {record}: {what}; nothing was changed. Restore the file from a backup, start the version \
         that wrote it, or move it away to start empty and apply the documents again"
    )]
    Record { path: String, record: String, what: String },
    /// A later version wrote the file.
    #[error(
        "{path}: written in format {format}, and this version reads format {known}; start the later version"
    )]
    Newer { path: String, format: u64, known: u64 },
    /// Another process has the file open.
    #[error("{path}: in use by another process; stop it, or give this one a file of its own")]
    InUse { path: String },
    /// Somebody moved or replaced the file under the running process.
    #[error(
        "{path}: is no longer the file that was opened; put it back, or restart to use what is there now"
    )]
    Replaced { path: String },
    /// No space, no quota, or the file may not grow.
    #[error("{path}: no space left: {error}")]
    Full { path: String, error: io::Error },
    /// Any other failure to read or write.
    #[error("{path}: {what}")]
    Io { path: String, what: String },
    /// A commit failed, and what may have reached the disk could not be taken back.
    #[error(
        "{0}; what was to be written may be found so at the next start, unless it can be taken back before"
    )]
    Unsure(Arc<Self>),
}

// === impl Store ===

impl Store {
    /// A store that forgets everything with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { keep: Keep::Memory, found: Vec::new(), sequence: 0 }
    }

    /// Opens the store at `path` and reads it whole; creates it, readable for its owner only, if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or fails a check. It is left as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Opener::default())
    }

    fn open_with(path: &Path, opener: Opener) -> Result<Self, StoreError> {
        let (file, found) = File::open(path, opener)?;
        let sequence = file.sequence();
        Ok(Self { keep: Keep::File(Box::new(file)), found, sequence })
    }

    /// What was found at the start. The second call gives nothing.
    pub(crate) fn take_found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// The greatest version this store has given out.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes all of `ops` durable, or none of them. `sequence` is the greatest version given out by then.
    pub(crate) fn commit(&mut self, ops: &[Op<'_>], sequence: u64) -> Result<(), StoreError> {
        if let Keep::File(file) = &mut self.keep {
            file.commit(ops, sequence)?;
        }
        self.sequence = sequence;
        Ok(())
    }

    /// Makes the disk hold what the last good commit left, if a failed one may have changed it.
    pub(crate) fn take_back(&mut self) -> Result<(), StoreError> {
        match &mut self.keep {
            Keep::Memory => Ok(()),
            Keep::File(file) => file.take_back(),
        }
    }

    /// The error for a record that passed its checksum and still is none.
    pub(crate) fn unreadable(&self, record: String, what: String) -> StoreError {
        let path = self.path().map_or_else(String::new, |path| path.display().to_string());
        StoreError::Record { path, record, what }
    }

    /// The file, unless everything is in memory only.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.keep {
            Keep::Memory => None,
            Keep::File(file) => Some(file.path()),
        }
    }
}

// === impl Found ===

impl Found {
    /// The record, or why its text is none.
    pub(crate) fn read(&self) -> Result<StoredRecord, String> {
        serde_json::from_slice(&self.text).map_err(|error| format!("its text is no record: {error}"))
    }
}

#[cfg(test)]
mod tests;
