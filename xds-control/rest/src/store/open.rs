//! Opening the database file: created whole or not at all, checked page by page, and never a panic.

use std::{
    fmt, fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, StorageError, backends::FileBackend};

use super::StoreError;

/// What the database may hold of the file in memory. Everything is read once at the start and then only written.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A folder that was mistyped or is not mounted would be made on the wrong disk.
const NO_FOLDER: &str = "the folder does not exist, and is not made";

/// How a database file is opened; tests put a failing disk in between.
pub(super) struct Opener(Box<dyn Fn(fs::File) -> Result<Database, DatabaseError> + Send>);

/// Which file a path stood for, to notice that it was moved or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

// === impl Opener ===

impl Opener {
    #[cfg(test)]
    pub(super) fn new(open: impl Fn(fs::File) -> Result<Database, DatabaseError> + Send + 'static) -> Self {
        Self(Box::new(open))
    }

    /// Opens the existing database at `path`.
    pub(super) fn open(&self, path: &Path) -> Result<Database, StoreError> {
        let file =
            fs::OpenOptions::new().read(true).write(true).open(path).map_err(|error| failed(path, error))?;
        let bytes = file.metadata().map_err(|error| failed(path, error))?.len();
        if bytes == 0 {
            // The database would take an empty file for a new one.
            return Err(damaged(path, "the file is empty"));
        }
        fenced(path, || (self.0)(file).map_err(|error| unopened(path, error)))
    }

    /// Makes a new database with `init` and puts it at `path` when it is complete, so that a crash leaves either none
    /// or a whole one.
    pub(super) fn create(
        &self,
        path: &Path,
        init: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let unfinished = beside(path);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failed(path, io::Error::other(NO_FOLDER)),
                _ => failed(&unfinished, error),
            })?;
        let made = fenced(&unfinished, || {
            let database = (self.0)(file).map_err(|error| unopened(&unfinished, error))?;
            init(&database).map_err(|error| refused(&unfinished, error))
        });
        if made.is_err() {
            // It holds nothing, and on a full disk it is in the way.
            let _ = fs::remove_file(&unfinished);
        }
        made?;
        fs::rename(&unfinished, path).map_err(|error| failed(path, error))?;
        sync_folder(path)
    }
}

impl Default for Opener {
    fn default() -> Self {
        Self(Box::new(|file| {
            redb::Builder::new()
                .set_cache_size(CACHE_BYTES)
                // Without it the database trusts a file that was closed properly, and panics if it should not have.
                .set_check_integrity_on_open(true)
                .create_with_backend(FileBackend::new(file)?)
        }))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

// === impl Identity ===

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Replaced { path: path.display().to_string() },
            _ => failed(path, error),
        })?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

/// Runs `work` and makes an error of its panics: a damaged file is no reason to fall over.
pub(super) fn fenced<R>(path: &Path, work: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    // Nothing that `work` may have left half done is used again: the database is dropped with it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(damaged(path, &format!("the database gave up on it: {said}")))
    })
}

pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), what: what.to_owned() }
}

/// The error for a failed access to the file itself.
pub(super) fn failed(path: &Path, error: io::Error) -> StoreError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { path, error }
        }
        _ => StoreError::Io { path, what: error.to_string() },
    }
}

/// The error for a failed operation on an open database.
pub(super) fn refused(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => failed(path, error),
        redb::Error::Corrupted(what) => damaged(path, &what),
        error => StoreError::Io { path: path.display().to_string(), what: error.to_string() },
    }
}

fn unopened(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.display().to_string() },
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            // What the database says of a file that is too short or does not begin like one of its own.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                damaged(path, &format!("this is no store: {error}"))
            }
            _ => failed(path, error),
        },
        DatabaseError::UpgradeRequired(format) => {
            damaged(path, &format!("the database format {format} is not one that this version reads"))
        }
        error => refused(path, error.into()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// A rename is durable only once the folder is.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, error))
}
