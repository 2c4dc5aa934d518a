//! A response, put together from parts that were encoded once for everyone.

use std::{collections::HashSet, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use spurline_core::catalog::{Entry, ResourceType, Revision};

use crate::feed::Sink;

/// Field numbers of `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
const SYSTEM_VERSION_INFO: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED_RESOURCES: u32 = 6;
/// The flag of an uncompressed message and its length come first (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// One response of a session.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) ty: ResourceType,
    pub(crate) nonce: u64,
    /// The revision that the client is up to date with by this response; `None` if more of the update follows.
    pub(crate) complete: Option<Revision>,
    pub(crate) batch: Batch,
}

/// What a response tells. No name is in it twice.
#[derive(Debug)]
pub(crate) struct Batch {
    resources: Vec<Bytes>,
    removed: Vec<Arc<str>>,
    room: usize,
    /// Names so far, where several subscriptions can tell the same.
    names: Option<HashSet<Arc<str>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Only one subscription contributes.
    Impossible,
    Possible,
}

impl Batch {
    pub(crate) fn new(bytes_max: usize, overlap: Overlap) -> Self {
        Self {
            resources: Vec::new(),
            removed: Vec::new(),
            room: bytes_max,
            names: (overlap == Overlap::Possible).then(HashSet::new),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }

    fn is_new(&mut self, name: &str) -> bool {
        self.names.as_mut().is_none_or(|names| !names.contains(name) && names.insert(name.into()))
    }
}

impl Sink for Batch {
    fn room(&self) -> usize {
        self.room
    }

    fn changed(&mut self, entry: &Entry) {
        if self.is_new(entry.name()) {
            let resource = entry.resource().clone();
            self.room = self.room.saturating_sub(field_len(RESOURCES, resource.len()));
            self.resources.push(resource);
        }
    }

    fn removed(&mut self, name: &Arc<str>) {
        if self.is_new(name) {
            self.room = self.room.saturating_sub(field_len(REMOVED_RESOURCES, name.len()));
            self.removed.push(Arc::clone(name));
        }
    }
}

impl Response {
    /// The gRPC message, prefix included: each resource is copied once, into a buffer of exactly the size.
    pub(crate) fn encode(&self, identity: &str) -> Bytes {
        let version = self.complete.map(|revision| format!("{identity}/{revision}")).unwrap_or_default();
        let nonce = self.nonce.to_string();
        let texts = [
            (SYSTEM_VERSION_INFO, version.as_str()),
            (TYPE_URL, self.ty.type_url()),
            (NONCE, nonce.as_str()),
        ];
        let len = texts
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(tag, text)| field_len(*tag, text.len()))
            .sum::<usize>()
            + self.batch.resources.iter().map(|resource| field_len(RESOURCES, resource.len())).sum::<usize>()
            + self.batch.removed.iter().map(|name| field_len(REMOVED_RESOURCES, name.len())).sum::<usize>();
        let mut out = BytesMut::with_capacity(PREFIX_BYTES + len);
        out.put_u8(0);
        // A response is bounded far below 4 GiB.
        out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        for (tag, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            put_field(*tag, text.as_bytes(), &mut out);
        }
        for resource in &self.batch.resources {
            put_field(RESOURCES, resource, &mut out);
        }
        for name in &self.batch.removed {
            put_field(REMOVED_RESOURCES, name.as_bytes(), &mut out);
        }
        out.freeze()
    }
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn put_field(tag: u32, value: &[u8], out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.put_slice(value);
}

#[cfg(test)]
mod tests;
