//! What was received and taken, as it was received.
//!
//! Kept for two reasons: the server asks on a new stream which versions a client has, and the snapshot on disk must hold
//! what a later version of the proxy may understand better than this one.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use foldhash::HashSet;

use crate::ResourceType;

/// The longest name of a resource: a workload, a key and the sign between them.
pub(crate) const RESOURCE_NAME_BYTES_MAX: usize = 512;
/// The longest version.
pub(crate) const VERSION_BYTES_MAX: usize = 255;

/// Name, version, end and body of one resource in one allocation, for there may be very many.
///
/// `expires: u64, name length: u16, version length: u8, name, version, body`, integers in little-endian order.
#[derive(Clone, Debug)]
pub struct Record(Box<[u8]>);

const HEADER_BYTES: usize = 11;

/// Resources by type and name.
#[derive(Debug, Default)]
pub struct Known {
    owners: HashSet<Record>,
    baselines: HashSet<Record>,
    overrides: HashSet<Record>,
    bytes: usize,
}

// === impl Record ===

impl Record {
    /// `None` when the name or the version is empty or too long.
    #[must_use]
    pub fn new(name: &str, version: &str, body: &[u8], expires_unix_s: Option<u64>) -> Option<Self> {
        let name_len = u16::try_from(name.len()).ok().filter(|len| *len > 0)?;
        let version_len = u8::try_from(version.len()).ok().filter(|len| *len > 0)?;
        if name.len() > RESOURCE_NAME_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + version.len() + body.len());
        bytes.extend_from_slice(&expires_unix_s.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&name_len.to_le_bytes());
        bytes.push(version_len);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(version.as_bytes());
        bytes.extend_from_slice(body);
        Some(Self(bytes.into_boxed_slice()))
    }

    /// The name of the resource.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text(HEADER_BYTES, self.name_len())
    }

    /// The version that the server gave it.
    #[must_use]
    pub fn version(&self) -> &str {
        self.text(HEADER_BYTES + self.name_len(), self.version_len())
    }

    /// The encoded message.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.0.get(HEADER_BYTES + self.name_len() + self.version_len()..).unwrap_or_default()
    }

    /// When it ends by itself.
    #[must_use]
    pub fn expires_unix_s(&self) -> Option<u64> {
        let bytes = self.0.first_chunk().copied().unwrap_or_default();
        Some(u64::from_le_bytes(bytes)).filter(|expires| *expires != 0)
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    fn name_len(&self) -> usize {
        let bytes = self.0.get(8..10).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        usize::from(u16::from_le_bytes(bytes))
    }

    fn version_len(&self) -> usize {
        self.0.get(10).copied().map_or(0, usize::from)
    }

    /// What went in was text, so that the fall-back is never taken.
    fn text(&self, at: usize, len: usize) -> &str {
        self.0.get(at..at + len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Record {}

// Hashes as the name does, which `Borrow` demands.
impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl Borrow<str> for Record {
    fn borrow(&self) -> &str {
        self.name()
    }
}

// === impl Known ===

impl Known {
    /// How many resources there are, of all types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len() + self.baselines.len() + self.overrides.len()
    }

    /// How many bytes they take, without what their places in the sets take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, ty: ResourceType, name: &str) -> Option<&Record> {
        self.of(ty).get(name)
    }

    /// All resources of a type, in no particular order.
    pub fn iter(&self, ty: ResourceType) -> impl Iterator<Item = &Record> {
        self.of(ty).iter()
    }

    pub(crate) fn put(&mut self, ty: ResourceType, record: Record) {
        self.bytes += record.bytes();
        let before = self.of_mut(ty).replace(record);
        self.bytes -= before.map_or(0, |before| before.bytes());
    }

    pub(crate) fn remove(&mut self, ty: ResourceType, name: &str) -> bool {
        let before = self.of_mut(ty).take(name);
        self.bytes -= before.as_ref().map_or(0, Record::bytes);
        before.is_some()
    }

    fn of(&self, ty: ResourceType) -> &HashSet<Record> {
        match ty {
            ResourceType::KeyOwner => &self.owners,
            ResourceType::Baseline => &self.baselines,
            ResourceType::Override => &self.overrides,
        }
    }

    fn of_mut(&mut self, ty: ResourceType) -> &mut HashSet<Record> {
        match ty {
            ResourceType::KeyOwner => &mut self.owners,
            ResourceType::Baseline => &mut self.baselines,
            ResourceType::Override => &mut self.overrides,
        }
    }
}
