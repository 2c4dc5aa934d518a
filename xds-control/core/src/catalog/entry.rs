//! One resource as it goes over the wire.

use std::{borrow::Borrow, cmp::Ordering};

use bytes::Bytes;
use prost::Message;
use spurline_api::{envoy::service::discovery::v3::Resource, google::protobuf::Any};
use xxhash_rust::xxh3::xxh3_64;

use super::{ResourceName, Revision};

/// A version is this many hexadecimal digits.
const VERSION_LEN: usize = 16;
/// Where the version begins: the first field of the encoding, behind its tag and its length.
const VERSION_AT: usize = 2;

/// A resource, encoded once and shared by all who send it.
///
/// Name and version are read out of the encoding: each of a million entries holds them once. Entries compare by name.
#[derive(Clone, Debug)]
pub struct Entry {
    resource: Bytes,
    revision: Revision,
    /// The name is the last field, so that its length says where it begins.
    name_len: u32,
}

// === impl Entry ===

impl Entry {
    /// Encodes a resource whose message is already encoded.
    pub(super) fn encode(name: &ResourceName, body: Bytes, revision: Revision) -> Self {
        let version = format!("{:0width$x}", xxh3_64(&body), width = VERSION_LEN);
        let any = Any { type_url: name.ty.type_url().to_owned(), value: body };
        let resource =
            Resource { version, resource: Some(any), name: name.name.to_string(), ..Resource::default() };
        // Documents bound names to far less than 4 GiB.
        let name_len = u32::try_from(name.name.len()).unwrap_or(u32::MAX);
        Self { resource: resource.encode_to_vec().into(), revision, name_len }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        let at = self.resource.len().saturating_sub(self.name_len as usize);
        text(self.resource.get(at..))
    }

    /// Its version: the xxh3-64 hash of its encoded message, as 16 hexadecimal digits. The same content has the same
    /// version, in every process.
    #[must_use]
    pub fn version(&self) -> &str {
        text(self.resource.get(VERSION_AT..VERSION_AT + VERSION_LEN))
    }

    /// When it last changed.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The encoding of `envoy.service.discovery.v3.Resource` with version, body and name.
    #[must_use]
    pub fn resource(&self) -> &Bytes {
        &self.resource
    }
}

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        self.name()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Names and versions are encoded from text, so that the fall-back is never taken.
fn text(bytes: Option<&[u8]>) -> &str {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}
