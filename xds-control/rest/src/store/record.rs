//! How one record is written: the checksum of key and text, then the text, which is JSON that a person can read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the checksum in front of the text.
const CHECKSUM_BYTES: usize = 8;

/// A document and what the service knows of it beyond its own text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StoredRecord<D = Value> {
    /// Unique among all writes of this store, and greater than those before it. Heartbeats do not change it.
    pub(crate) version: u64,
    pub(crate) created_unix_ms: u64,
    /// When the document last changed.
    pub(crate) updated_unix_ms: u64,
    /// When somebody last said that it is in use: a `PUT`, changed or not, or a heartbeat.
    pub(crate) seen_unix_ms: u64,
    pub(crate) document: D,
}

/// The value to store under `key`.
pub(super) fn encode(key: &str, record: &StoredRecord<&Value>) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = vec![0; CHECKSUM_BYTES];
    serde_json::to_writer(&mut bytes, record)?;
    let (checksum, text) = bytes.split_at_mut(CHECKSUM_BYTES);
    checksum.copy_from_slice(&checksum_of(key, text).to_le_bytes());
    Ok(bytes)
}

/// The text of what [`encode`] wrote, or what is wrong with it.
pub(super) fn text<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((checksum, text)) = bytes.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!("it has {} bytes, too few for a checksum", bytes.len()));
    };
    if u64::from_le_bytes(*checksum) != checksum_of(key, text) {
        return Err("its checksum does not match its text".to_owned());
    }
    Ok(text)
}

/// What a stored pair adds to the sum of the whole store. Sums do not depend on the order of the pairs, so that a
/// write updates them without reading the rest.
pub(super) fn weight(key: &str, bytes: &[u8]) -> u64 {
    checksum_of(key, bytes)
}

/// The key counts as well: a record is not valid under another name.
fn checksum_of(key: &str, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, xxh3_64(key.as_bytes()))
}
