//! The dynamic table of an encoder, and how its entries are found.

use std::hash::{BuildHasher, Hasher};

use crate::h2::hpack::{
    Token,
    dynamic_table::{DynamicTable, ENTRY_OVERHEAD_BYTES},
    static_table,
};

/// Lists of entries by the hash of their field, and by that of their name.
const LISTS: usize = 32;
/// Fields that were sent lately and are in no table.
const SEEN: usize = 64;
/// The number of an entry that is not in the table.
const NO_ENTRY: u16 = u16::MAX;

/// A field on its way out.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) token: Token,
    /// In lower case; empty where the token says it.
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// The dynamic table with its entries in two sets of lists, each list from new to old. An entry leaves its lists by
/// leaving the table: a list ends where the table does.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Bytes of an entry are name and value, or the value alone where a token names it.
    table: DynamicTable<Links>,
    /// The newest entry of each list.
    by_field: [u16; LISTS],
    by_name: [u16; LISTS],
    seen: Seen,
    /// With a seed of its own, so that nobody can send names that all end up in one list.
    hasher: foldhash::fast::RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    field_hash: u32,
    name_hash: u32,
    next_by_field: u16,
    next_by_name: u16,
    name_bytes: u32,
    token: Token,
}

/// The hashes of the fields that were sent last and are in no table.
#[derive(Clone, Copy, Debug)]
struct Seen {
    hashes: [u32; SEEN],
    oldest: usize,
}

// === impl Index ===

impl Index {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            table: DynamicTable::new(limit),
            by_field: [NO_ENTRY; LISTS],
            by_name: [NO_ENTRY; LISTS],
            seen: Seen { hashes: [0; SEEN], oldest: 0 },
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.table.limit()
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.table.set_limit(limit);
    }

    pub(super) fn name_hash(&self, outgoing: Outgoing<'_>) -> u32 {
        if outgoing.token.has_name() {
            return u32::from(outgoing.token.number());
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(outgoing.name);
        hasher.finish() as u32
    }

    pub(super) fn field_hash(&self, name_hash: u32, value: &[u8]) -> u32 {
        /// Odd, so that no two names share the hash of a value.
        const SPREAD: u32 = 0x9e37_79b1;
        let mut hasher = self.hasher.build_hasher();
        hasher.write(value);
        hasher.finish() as u32 ^ name_hash.wrapping_mul(SPREAD)
    }

    /// The index of the entry that is the field.
    pub(super) fn find_field(&self, outgoing: Outgoing<'_>, hash: u32) -> Option<usize> {
        let newest = self.by_field.get(hash as usize % LISTS)?;
        self.find(
            *newest,
            |links| links.next_by_field,
            |bytes, links| {
                links.field_hash == hash
                    && links.token == outgoing.token
                    && outgoing.is(bytes, links.name_bytes)
            },
        )
    }

    /// The index of an entry with the name of the field.
    pub(super) fn find_name(&self, outgoing: Outgoing<'_>, hash: u32) -> Option<usize> {
        let newest = self.by_name.get(hash as usize % LISTS)?;
        self.find(
            *newest,
            |links| links.next_by_name,
            |bytes, links| {
                links.name_hash == hash
                    && links.token == outgoing.token
                    && bytes.get(..links.name_bytes as usize) == Some(outgoing.name)
            },
        )
    }

    #[inline]
    fn find(
        &self,
        newest: u16,
        next: impl Fn(&Links) -> u16,
        is_sought: impl Fn(&[u8], &Links) -> bool,
    ) -> Option<usize> {
        let mut age = self.table.age(newest)?;
        loop {
            let (bytes, links) = self.table.get(age)?;
            if is_sought(bytes, links) {
                return Some(static_table::ENTRIES + 1 + age);
            }
            // A number that has come round would point to a newer entry.
            age = self.table.age(next(links)).filter(|older| *older > age)?;
        }
    }

    /// Whether the field was sent lately; from now on it was.
    pub(super) fn has_seen(&mut self, field_hash: u32) -> bool {
        let Seen { hashes, oldest } = &mut self.seen;
        // Without an early end, so that it is a handful of vector instructions.
        let has = hashes.iter().fold(false, |has, one| has | (*one == field_hash));
        if !has {
            if let Some(place) = hashes.get_mut(*oldest) {
                *place = field_hash;
            }
            *oldest = (*oldest + 1) % SEEN;
        }
        has
    }

    /// Inserts a field that is no larger than the table.
    pub(super) fn insert(&mut self, outgoing: Outgoing<'_>, name_hash: u32, field_hash: u32) {
        let number = self.table.next_number();
        let link = |lists: &mut [u16; LISTS], hash: u32| match lists.get_mut(hash as usize % LISTS) {
            Some(newest) => std::mem::replace(newest, number),
            None => NO_ENTRY,
        };
        let links = Links {
            field_hash,
            name_hash,
            next_by_field: link(&mut self.by_field, field_hash),
            next_by_name: link(&mut self.by_name, name_hash),
            name_bytes: outgoing.name.len() as u32,
            token: outgoing.token,
        };
        self.table.insert([outgoing.name, outgoing.value], outgoing.size(), links);
    }
}

// === impl Outgoing ===

impl Outgoing<'_> {
    /// Whether these are the bytes of an entry with the same token.
    #[inline]
    fn is(self, bytes: &[u8], name_bytes: u32) -> bool {
        if self.name.is_empty() {
            return bytes == self.value;
        }
        bytes.split_at_checked(name_bytes as usize) == Some((self.name, self.value))
    }

    /// What it costs in a table (RFC 7541 section 4.1).
    pub(super) fn size(self) -> usize {
        self.token.name().len() + self.name.len() + self.value.len() + ENTRY_OVERHEAD_BYTES
    }
}
