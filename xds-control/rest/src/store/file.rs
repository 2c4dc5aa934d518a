//! The store on the disk, and how it comes back after a failed write.
//!
//! ```text
//!          commit fails                      at once, later, or with the next commit: open, take back
//! open ───────────────────▶ closed, `undo` ─────────────────────────────────────────────────────────▶ open
//!  ▲ │ commit succeeds          │ ▲
//!  └─┘                          └─┘ opening or taking back fails
//! ```
//!
//! A commit that failed may have reached the disk all the same. What it may have changed is kept in `undo` and put back
//! as soon as the disk lets it. Until then a restart would find it written, and whoever asked for it is told so.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{
    Found, Op, StoreError,
    open::{self, Identity, Opener},
    record,
};

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// What the file says of itself, as JSON under one key.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const MANIFEST: &str = "manifest";
/// The form of records and manifest that this version writes.
const FORMAT: u64 = 1;

/// What the whole file must add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u64,
    /// The greatest version given out, also to records that are gone.
    sequence: u64,
    records: u64,
    /// Wrapping sum of the weights of all records.
    sum: u64,
}

/// What a key held before a commit.
type Before = (String, Option<Vec<u8>>);

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    opener: Opener,
    identity: Identity,
    /// None from a failed commit until it is taken back.
    database: Option<Database>,
    manifest: Manifest,
    undo: Vec<Before>,
}

// === impl File ===

impl File {
    pub(super) fn open(path: &Path, opener: Opener) -> Result<(Self, Vec<Found>), StoreError> {
        if !path.try_exists().map_err(|error| open::failed(path, error))? {
            opener.create(path, |database| {
                let txn = begin(database)?;
                txn.open_table(RECORDS)?;
                write_manifest(&txn, &Manifest { format: FORMAT, sequence: 0, records: 0, sum: 0 })?;
                Ok(txn.commit()?)
            })?;
        }
        let database = opener.open(path)?;
        let (manifest, records) = open::fenced(path, || load(path, &database))?;
        let identity = Identity::of(path)?;
        let path = path.to_owned();
        Ok((Self { path, opener, identity, database: Some(database), manifest, undo: Vec::new() }, records))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn sequence(&self) -> u64 {
        self.manifest.sequence
    }

    pub(super) fn commit(&mut self, ops: &[Op<'_>], sequence: u64) -> Result<(), StoreError> {
        self.check_identity()?;
        let database = self.reopened()?;
        let mut manifest = Manifest { sequence, ..self.manifest };
        let mut undo = Vec::with_capacity(ops.len());
        let done = open::fenced(&self.path, || {
            write(&database, ops, &mut manifest, &mut undo).map_err(|error| open::refused(&self.path, error))
        });
        match done {
            Ok(()) => {
                self.database = Some(database);
                self.manifest = manifest;
                Ok(())
            }
            Err(error) => {
                self.undo = undo;
                self.close(database);
                Err(match self.take_back() {
                    Ok(()) => error,
                    Err(_) => StoreError::Unsure(Arc::new(error)),
                })
            }
        }
    }

    /// Opens the database again if a commit failed, and frees it of what that may have left.
    pub(super) fn take_back(&mut self) -> Result<(), StoreError> {
        if self.database.is_none() {
            self.check_identity()?;
            self.database = Some(self.reopened()?);
        }
        Ok(())
    }

    fn check_identity(&self) -> Result<(), StoreError> {
        if Identity::of(&self.path)? == self.identity {
            return Ok(());
        }
        Err(StoreError::Replaced { path: self.path.display().to_string() })
    }

    /// The database, opened again and freed of what a failed commit may have left in it.
    fn reopened(&mut self) -> Result<Database, StoreError> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let database = self.opener.open(&self.path)?;
        let restored = open::fenced(&self.path, || {
            take_back(&database, &self.manifest, &self.undo).map_err(|error| open::refused(&self.path, error))
        });
        match restored {
            Ok(()) => {
                self.undo.clear();
                Ok(database)
            }
            Err(error) => {
                self.close(database);
                Err(error)
            }
        }
    }

    /// Dropping a database writes to it, which on a failing disk may go wrong once more.
    fn close(&self, database: Database) {
        let _ = open::fenced(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

// === impl Manifest ===

impl Manifest {
    fn add(&mut self, key: &str, value: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(record::weight(key, value));
    }

    fn subtract(&mut self, key: &str, value: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(record::weight(key, value));
    }
}

/// Reads everything and holds it against the manifest.
fn load(path: &Path, database: &Database) -> Result<(Manifest, Vec<Found>), StoreError> {
    let refused = |error: redb::Error| open::refused(path, error);
    let Some(bytes) = read_manifest(database).map_err(refused)? else {
        return Err(open::damaged(path, "this is a database of something else"));
    };
    let format = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|manifest| manifest.get("format")?.as_u64());
    let manifest: Manifest = match format {
        Some(format) if format > FORMAT => {
            return Err(StoreError::Newer { path: path.display().to_string(), format, known: FORMAT });
        }
        _ => serde_json::from_slice(&bytes)
            .map_err(|error| open::damaged(path, &format!("its manifest is unreadable: {error}")))?,
    };
    let txn = database.begin_read().map_err(|error| refused(error.into()))?;
    let table = txn.open_table(RECORDS).map_err(|error| refused(error.into()))?;
    let mut found = Manifest { records: 0, sum: 0, ..manifest };
    let mut records = Vec::new();
    for pair in table.iter().map_err(|error| refused(error.into()))? {
        let (key, value) = pair.map_err(|error| refused(error.into()))?;
        found.add(key.value(), value.value());
        let text = record::text(key.value(), value.value()).map_err(|what| StoreError::Record {
            path: path.display().to_string(),
            record: key.value().to_owned(),
            what,
        })?;
        records.push(Found { key: key.value().to_owned(), text: text.into() });
    }
    if found != manifest {
        let (found, expected) = (found.records, manifest.records);
        let what = format!("{found} records that do not add up to the {expected} records last written");
        return Err(open::damaged(path, &what));
    }
    Ok((manifest, records))
}

/// Two phases, with a flush after each: the database then never has to guess after a crash whether its newest commit
/// is whole, so that a damaged one is an error and not a silent return to the one before.
fn begin(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_two_phase_commit(true);
    Ok(txn)
}

fn read_manifest(database: &Database) -> Result<Option<Vec<u8>>, redb::Error> {
    let txn = database.begin_read()?;
    let table = match txn.open_table(ABOUT) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    Ok(table.get(MANIFEST)?.map(|value| value.value().to_vec()))
}

fn write_manifest(txn: &redb::WriteTransaction, manifest: &Manifest) -> Result<(), redb::Error> {
    let text = serde_json::to_vec(manifest).map_err(|error| redb::Error::Io(error.into()))?;
    txn.open_table(ABOUT)?.insert(MANIFEST, text.as_slice())?;
    Ok(())
}

/// One durable transaction. `undo` is complete as soon as anything may have reached the disk.
fn write(
    database: &Database,
    ops: &[Op<'_>],
    manifest: &mut Manifest,
    undo: &mut Vec<Before>,
) -> Result<(), redb::Error> {
    let txn = begin(database)?;
    {
        let mut table = txn.open_table(RECORDS)?;
        for op in ops {
            let (key, before) = match op {
                Op::Put { key, record } => {
                    let value = record::encode(key, record).map_err(|error| redb::Error::Io(error.into()))?;
                    manifest.add(key, &value);
                    let before = table.insert(key.as_str(), value.as_slice())?;
                    (key, before.map(|before| before.value().to_vec()))
                }
                Op::Delete { key } => {
                    (key, table.remove(key.as_str())?.map(|before| before.value().to_vec()))
                }
            };
            if let Some(before) = &before {
                manifest.subtract(key, before);
            }
            undo.push((key.clone(), before));
        }
    }
    write_manifest(&txn, manifest)?;
    txn.commit()?;
    Ok(())
}

/// Makes the disk hold what `manifest` says again, if a commit that failed reached it after all.
fn take_back(database: &Database, manifest: &Manifest, undo: &[Before]) -> Result<(), redb::Error> {
    let wanted = serde_json::to_vec(manifest).map_err(|error| redb::Error::Io(error.into()))?;
    if read_manifest(database)?.as_deref() == Some(wanted.as_slice()) {
        return Ok(());
    }
    let txn = begin(database)?;
    {
        let mut table = txn.open_table(RECORDS)?;
        // Backwards, so that of two changes of one key the older value remains.
        for (key, before) in undo.iter().rev() {
            match before {
                Some(before) => drop(table.insert(key.as_str(), before.as_slice())?),
                None => drop(table.remove(key.as_str())?),
            }
        }
    }
    write_manifest(&txn, manifest)?;
    txn.commit()?;
    Ok(())
}
