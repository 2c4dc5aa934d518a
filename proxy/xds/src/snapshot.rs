//! What the control service sent, on disk: the last known good.
//!
//! ```text
//! magic 8 | format u32 | checksum u64 of all that follows
//! saved at u64, seconds since 1970
//! names subscribed to: count u32, each: type u8, length u16, text
//! resources: count u32, each: type u8, name length u16, version length u8, body length u32, name, version, body
//! ```
//!
//! Integers are in little-endian order. A file is either what [`encode`] made, whole, or it is ignored: a route table
//! that is half right is wrong. It is written beside itself and renamed, so that a crash leaves the old or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{Known, Record, ResourceType, Scope};

const MAGIC: &[u8; 8] = b"spurlsnp";
/// Grows with every change of the format; other formats are ignored.
const FORMAT: u32 = 1;
/// The largest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Magic, format, checksum.
const HEADER_BYTES: usize = 20;

/// What was read of a file.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was written.
    pub saved_at_unix_s: u64,
    /// The resources, as they were received.
    pub records: Vec<(ResourceType, Record)>,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// It is not what was written.
    #[error("damaged, or of another format: {0}")]
    Corrupt(&'static str),
    /// It was written for other workloads.
    #[error("written for other workloads")]
    OtherScope,
    /// It is too old.
    #[error("written {0:?} ago")]
    TooOld(Duration),
}

/// The bytes of a snapshot.
#[must_use]
pub fn encode(known: &Known, scope: &Scope, saved_at_unix_s: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(known.bytes() + HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&saved_at_unix_s.to_le_bytes());
    encode_scope(&mut out, scope);
    out.extend_from_slice(&u32::try_from(known.len()).unwrap_or(u32::MAX).to_le_bytes());
    for ty in ResourceType::ALL {
        for record in known.iter(ty) {
            let (name, version, body) = (record.name(), record.version(), record.body());
            out.push(ty.number());
            // A record holds no more than these hold.
            out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.push(u8::try_from(version.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(version.as_bytes());
            out.extend_from_slice(body);
        }
    }
    let checksum = xxh3_64(out.get(HEADER_BYTES..).unwrap_or_default());
    if let Some(place) = out.get_mut(12..HEADER_BYTES) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
    out
}

/// Reads the bytes of a snapshot.
///
/// # Errors
/// When they are not a whole snapshot for this scope, or too old.
pub fn decode(
    bytes: &[u8],
    scope: &Scope,
    now_unix_s: u64,
    age_max: Duration,
) -> Result<Snapshot, SnapshotError> {
    let mut input = Input(bytes);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(SnapshotError::Corrupt("it begins with something else"));
    }
    if u32::from_le_bytes(input.array()?) != FORMAT {
        return Err(SnapshotError::Corrupt("the number of its format is unknown"));
    }
    if u64::from_le_bytes(input.array()?) != xxh3_64(input.0) {
        return Err(SnapshotError::Corrupt("the checksum does not fit"));
    }
    let saved_at_unix_s = u64::from_le_bytes(input.array()?);
    let mut expected = Vec::new();
    encode_scope(&mut expected, scope);
    if input.take(expected.len()).ok() != Some(expected.as_slice()) {
        return Err(SnapshotError::OtherScope);
    }
    let age = Duration::from_secs(now_unix_s.saturating_sub(saved_at_unix_s));
    if age > age_max {
        return Err(SnapshotError::TooOld(age));
    }
    let count = u32::from_le_bytes(input.array()?);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(input.record()?);
    }
    if input.0.is_empty() {
        Ok(Snapshot { saved_at_unix_s, records })
    } else {
        Err(SnapshotError::Corrupt("something follows its end"))
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, and as [`decode`] does.
pub fn load(
    path: &Path,
    scope: &Scope,
    now_unix_s: u64,
    age_max: Duration,
) -> Result<Snapshot, SnapshotError> {
    let read = || {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::Missing,
        _ => SnapshotError::Io(error),
    })?;
    decode(&bytes, scope, now_unix_s, age_max)
}

/// Writes a file: all of it, or the one before stays. Only its owner may read it.
///
/// # Errors
/// When the file beside it cannot be written, or not be put in its place.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || {
        // What a crash left there may belong to somebody else's mode; the new file has ours.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    write().inspect_err(|_| {
        // What does not fit on the disk must not stay on it.
        let _ = fs::remove_file(&beside);
    })
}

fn encode_scope(out: &mut Vec<u8>, scope: &Scope) {
    let mut names = ResourceType::ALL.map(|ty| (ty, scope.names(ty)));
    names.sort_unstable_by_key(|(ty, _)| ty.number());
    let count: usize = names.iter().map(|(_, names)| names.len()).sum();
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    for (ty, names) in names {
        for name in names {
            out.push(ty.number());
            out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// What is left to read.
struct Input<'b>(&'b [u8]);

// === impl Input ===

impl<'b> Input<'b> {
    fn take(&mut self, len: usize) -> Result<&'b [u8], SnapshotError> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or(SnapshotError::Corrupt("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| SnapshotError::Corrupt("it ends too early"))
    }

    fn text(&mut self, len: usize) -> Result<&'b str, SnapshotError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| SnapshotError::Corrupt("a name is not text"))
    }

    fn record(&mut self) -> Result<(ResourceType, Record), SnapshotError> {
        let [number] = self.array()?;
        let ty = ResourceType::from_number(number).ok_or(SnapshotError::Corrupt("a type is unknown"))?;
        let name_len = u16::from_le_bytes(self.array()?);
        let [version_len] = self.array()?;
        let body_len = u32::from_le_bytes(self.array()?);
        let name = self.text(usize::from(name_len))?;
        let version = self.text(usize::from(version_len))?;
        let body = self.take(usize::try_from(body_len).unwrap_or(usize::MAX))?;
        let record = Record::new(name, version, body, crate::decode::expiry(ty, body));
        Ok((ty, record.ok_or(SnapshotError::Corrupt("a name or version is empty or too long"))?))
    }
}
