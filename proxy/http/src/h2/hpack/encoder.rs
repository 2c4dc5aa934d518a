use std::{
    hash::{BuildHasher, Hasher},
    iter,
};

use crate::{
    Field, Head, Name, Start,
    h2::{
        head::Scheme,
        hpack::{
            Token,
            dynamic_table::{DynamicTable, ENTRY_OVERHEAD_BYTES},
            huffman, integer, static_table,
            token::Policy,
        },
    },
};

/// What the table never exceeds, whatever the peer allows, so that a connection's memory is ours to bound. It is also
/// what holds until the peer says something else (RFC 9113 section 6.5.2).
const TABLE_BYTES_MAX: usize = 4096;
/// A field that takes more of the table than this part is not worth what it evicts.
const FIELD_PART: usize = 4;
/// Lists of entries by the hash of their field, and by that of their name.
const LISTS: usize = 64;
/// Fields that were sent lately and are in no table.
const SEEN: usize = 64;
/// The number of an entry that is not in the table.
const NO_ENTRY: u32 = u32::MAX;
/// Shorter cookies could be guessed one by one (RFC 7541 section 7.1.3).
const COOKIE_BYTES_MIN: usize = 20;

/// The encoder of the header blocks that are sent on one connection.
///
/// What repeats is indexed: the first time a value is sent its hash is kept, the second time it is inserted, from the
/// third time on it is one byte. So values that change with each message (identifiers, times, lengths) evict nothing.
/// A new name is inserted at once, for it saves its bytes whatever the value is next time.
#[derive(Clone, Debug)]
pub struct Encoder {
    table: DynamicTable<Links>,
    /// The newest entry of each list. Entries leave a list by leaving the table.
    by_field: [u32; LISTS],
    by_name: [u32; LISTS],
    seen: Seen,
    /// The smallest and the last table size that the peer set since the last block.
    pending_limits: Option<(usize, usize)>,
    hasher: foldhash::fast::RandomState,
    /// Room for a name that has to be written in lower case.
    lower: Vec<u8>,
}

/// What finds an entry; its bytes are name and value, or the value alone where a token names it.
#[derive(Clone, Copy, Debug)]
struct Links {
    field_hash: u32,
    name_hash: u32,
    next_by_field: u32,
    next_by_name: u32,
    name_bytes: u32,
    token: Token,
}

/// The hashes of the fields that were sent last and are in no table.
#[derive(Clone, Copy, Debug)]
struct Seen {
    hashes: [u32; SEEN],
    oldest: usize,
}

/// A field on its way out.
#[derive(Clone, Copy)]
struct Outgoing<'a> {
    token: Token,
    /// In lower case; empty where the token says it.
    name: &'a [u8],
    value: &'a [u8],
}

/// The name of a literal.
#[derive(Clone, Copy)]
enum NameRef<'a> {
    Index(usize),
    New(&'a [u8]),
}

/// The kinds of literals (RFC 7541 section 6.2).
#[derive(Clone, Copy)]
enum Kind {
    Incremental,
    NeverIndexed,
    Unindexed,
}

// === impl Encoder ===

impl Encoder {
    pub fn new() -> Self {
        Self {
            table: DynamicTable::new(TABLE_BYTES_MAX),
            by_field: [NO_ENTRY; LISTS],
            by_name: [NO_ENTRY; LISTS],
            seen: Seen { hashes: [0; SEEN], oldest: 0 },
            pending_limits: None,
            hasher: foldhash::fast::RandomState::default(),
            lower: Vec::new(),
        }
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE; to be called when the setting is acknowledged. The next block tells
    /// the peer what of it is used (RFC 7541 section 4.2).
    pub fn set_peer_table_bytes(&mut self, bytes: u32) {
        let limit = usize::try_from(bytes).map_or(TABLE_BYTES_MAX, |bytes| bytes.min(TABLE_BYTES_MAX));
        let least = self.pending_limits.map_or_else(|| self.table.limit(), |(least, _)| least);
        self.pending_limits = Some((least.min(limit), limit));
    }

    /// Appends the block of a request (RFC 9113 section 8.3.1). `host` becomes `:authority`, names become lower case.
    /// Fields of the connection must be gone; a `connection` that only nominates what was kept for HTTP/1 is left out.
    pub fn encode_request(&mut self, head: &Head, scheme: Scheme, out: &mut Vec<u8>) {
        self.begin_block(out);
        let method = head.method().0;
        self.encode(Outgoing { token: Token::METHOD, name: b"", value: method }, out);
        let protocol = head.protocol();
        if !protocol.is_empty() {
            self.encode(Outgoing { token: Token::PROTOCOL, name: b"", value: protocol }, out);
        }
        self.encode(Outgoing { token: Token::SCHEME, name: b"", value: scheme.name() }, out);
        if let Some(host) = head.value(Name::Host) {
            self.encode(Outgoing { token: Token::AUTHORITY, name: b"", value: host }, out);
        }
        self.encode(Outgoing { token: Token::PATH, name: b"", value: head.target() }, out);
        self.encode_fields(head, out);
    }

    /// Appends the block of a response, final or interim (RFC 9113 section 8.3.2).
    pub fn encode_response(&mut self, head: &Head, out: &mut Vec<u8>) {
        debug_assert!(matches!(head.start(), Start::Response(_)));
        self.begin_block(out);
        let mut digits = itoa::Buffer::new();
        let status = digits.format(head.status()).as_bytes();
        self.encode(Outgoing { token: Token::STATUS, name: b"", value: status }, out);
        self.encode_fields(head, out);
    }

    /// Appends the block of a trailer section.
    pub fn encode_trailers(&mut self, trailers: &Head, out: &mut Vec<u8>) {
        self.begin_block(out);
        self.encode_fields(trailers, out);
    }

    fn begin_block(&mut self, out: &mut Vec<u8>) {
        let Some((least, last)) = self.pending_limits.take() else { return };
        for limit in [least, last] {
            if limit != self.table.limit() {
                self.table.set_limit(limit);
                integer::encode(limit, 5, 0x20, out);
            }
        }
    }

    fn encode_fields(&mut self, head: &Head, out: &mut Vec<u8>) {
        for field in head.fields.iter().filter(|field| !field.removed) {
            match field.known {
                Name::Connection | Name::Host => continue,
                known => debug_assert!(
                    !matches!(
                        known,
                        Name::KeepAlive | Name::ProxyConnection | Name::TransferEncoding | Name::Upgrade
                    ),
                    "{known:?} belongs to a connection"
                ),
            }
            self.encode_field(head, field, out);
        }
    }

    fn encode_field(&mut self, head: &Head, field: &Field, out: &mut Vec<u8>) {
        let (name, value) = (field.name.of(&head.block), field.value.of(&head.block));
        let token = if field.token == Token::UNSEEN { Token::of(name) } else { field.token };
        let name = if token.has_name() { b"" } else { name };
        if name.iter().any(u8::is_ascii_uppercase) {
            let mut lower = std::mem::take(&mut self.lower);
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            self.encode_as(Outgoing { token, name: &lower, value }, field, out);
            self.lower = lower;
        } else {
            self.encode_as(Outgoing { token, name, value }, field, out);
        }
    }

    fn encode_as(&mut self, outgoing: Outgoing<'_>, field: &Field, out: &mut Vec<u8>) {
        if field.never_indexed { self.encode_never(outgoing, out) } else { self.encode(outgoing, out) }
    }

    fn encode(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let Outgoing { token, value, .. } = outgoing;
        if let Some(index) = static_table::find(token, value) {
            return integer::encode(index, 7, 0x80, out);
        }
        match token.policy() {
            Policy::Never => self.encode_never(outgoing, out),
            Policy::Cookie if value.len() < COOKIE_BYTES_MIN => self.encode_never(outgoing, out),
            Policy::Literal => self.encode_changing(outgoing, out),
            Policy::Cookie | Policy::Repeated => self.encode_repeated(outgoing, out),
        }
    }

    /// RFC 7541 section 6.2.3.
    fn encode_never(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let name = self.name_of(outgoing, self.name_hash(outgoing));
        encode_literal(name, outgoing.value, Kind::NeverIndexed, out);
    }

    /// A value that is not worth a place in the table; its name is, once.
    fn encode_changing(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let name_hash = self.name_hash(outgoing);
        let name = self.name_of(outgoing, name_hash);
        if matches!(name, NameRef::New(_)) && self.is_worth_inserting(outgoing) {
            encode_literal(name, outgoing.value, Kind::Incremental, out);
            self.insert(outgoing, name_hash, self.field_hash(name_hash, outgoing.value));
        } else {
            encode_literal(name, outgoing.value, Kind::Unindexed, out);
        }
    }

    fn encode_repeated(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let name_hash = self.name_hash(outgoing);
        let field_hash = self.field_hash(name_hash, outgoing.value);
        if let Some(age) = self.find_field(outgoing, field_hash) {
            return integer::encode(static_table::ENTRIES + 1 + age, 7, 0x80, out);
        }
        let name = self.name_of(outgoing, name_hash);
        let is_new = matches!(name, NameRef::New(_));
        if (self.seen.has(field_hash) || is_new) && self.is_worth_inserting(outgoing) {
            encode_literal(name, outgoing.value, Kind::Incremental, out);
            self.insert(outgoing, name_hash, field_hash);
        } else {
            encode_literal(name, outgoing.value, Kind::Unindexed, out);
        }
    }

    fn is_worth_inserting(&self, outgoing: Outgoing<'_>) -> bool {
        outgoing.size() <= self.table.limit() / FIELD_PART
    }

    fn name_hash(&self, outgoing: Outgoing<'_>) -> u32 {
        if outgoing.token.has_name() {
            return u32::from(outgoing.token.number());
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(outgoing.name);
        hasher.finish() as u32
    }

    fn field_hash(&self, name_hash: u32, value: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(name_hash);
        hasher.write(value);
        hasher.finish() as u32
    }

    fn find_field(&self, outgoing: Outgoing<'_>, hash: u32) -> Option<usize> {
        let newest = self.by_field.get(hash as usize % LISTS);
        self.list(newest, |links| links.next_by_field)
            .find(|(_, bytes, links)| {
                links.field_hash == hash
                    && links.token == outgoing.token
                    && bytes.split_at_checked(links.name_bytes as usize)
                        == Some((outgoing.name, outgoing.value))
            })
            .map(|(age, ..)| age)
    }

    /// How the name of a literal is written best.
    fn name_of<'a>(&self, outgoing: Outgoing<'a>, hash: u32) -> NameRef<'a> {
        let index = outgoing.token.first_index().or_else(|| self.find_name(outgoing, hash));
        match index {
            Some(index) => NameRef::Index(index),
            None if outgoing.token.has_name() => NameRef::New(outgoing.token.name()),
            None => NameRef::New(outgoing.name),
        }
    }

    fn find_name(&self, outgoing: Outgoing<'_>, hash: u32) -> Option<usize> {
        let newest = self.by_name.get(hash as usize % LISTS);
        self.list(newest, |links| links.next_by_name)
            .find(|(_, bytes, links)| {
                links.name_hash == hash
                    && links.token == outgoing.token
                    && bytes.get(..links.name_bytes as usize) == Some(outgoing.name)
            })
            .map(|(age, ..)| static_table::ENTRIES + 1 + age)
    }

    /// The entries of a list with their ages, from new to old: it ends where the table does.
    fn list<'a>(
        &'a self,
        newest: Option<&u32>,
        next: fn(&Links) -> u32,
    ) -> impl Iterator<Item = (usize, &'a [u8], &'a Links)> {
        let older = |number: u32, than: Option<usize>| {
            let age = self.table.age(number).filter(|age| than.is_none_or(|than| *age > than))?;
            self.table.get(age).map(|(bytes, links)| (age, bytes, links))
        };
        let first = newest.and_then(|number| older(*number, None));
        iter::successors(first, move |(age, _, links)| older(next(links), Some(*age)))
    }

    fn insert(&mut self, outgoing: Outgoing<'_>, name_hash: u32, field_hash: u32) {
        let number = self.table.next_number();
        let link = |lists: &mut [u32; LISTS], hash: u32| match lists.get_mut(hash as usize % LISTS) {
            Some(newest) => std::mem::replace(newest, number),
            None => number,
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

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Seen ===

impl Seen {
    /// Whether a field was sent lately; from now on it was.
    fn has(&mut self, hash: u32) -> bool {
        // Without an early end, so that it is a handful of vector instructions.
        let has = self.hashes.iter().fold(false, |has, one| has | (*one == hash));
        if !has {
            if let Some(oldest) = self.hashes.get_mut(self.oldest) {
                *oldest = hash;
            }
            self.oldest = (self.oldest + 1) % SEEN;
        }
        has
    }
}

// === impl Outgoing ===

impl Outgoing<'_> {
    /// Whether these are the bytes of an entry with the same token and the same hash.
    fn is(self, bytes: &[u8], name_bytes: u32) -> bool {
        if self.name.is_empty() {
            return name_bytes == 0 && bytes == self.value;
        }
        bytes.split_at_checked(name_bytes as usize) == Some((self.name, self.value))
    }

    /// What it costs in a table (RFC 7541 section 4.1).
    fn size(self) -> usize {
        self.token.name().len() + self.name.len() + self.value.len() + ENTRY_OVERHEAD_BYTES
    }
}

/// Writes a literal (RFC 7541 section 6.2).
///
/// Only what goes into the table, and thus is sent once, is worth the Huffman code. What is sent each time would cost
/// both ends more to code than the quarter of its bytes that it saves.
fn encode_literal(name: NameRef<'_>, value: &[u8], kind: Kind, out: &mut Vec<u8>) {
    let (prefix_bits, pattern) = match kind {
        Kind::Incremental => (6, 0x40),
        Kind::NeverIndexed => (4, 0x10),
        Kind::Unindexed => (4, 0x00),
    };
    match name {
        NameRef::Index(index) => integer::encode(index, prefix_bits, pattern, out),
        NameRef::New(name) => {
            out.push(pattern);
            encode_string(name, out);
        }
    }
    match kind {
        Kind::Incremental => encode_string(value, out),
        Kind::NeverIndexed | Kind::Unindexed => encode_plain_string(value, out),
    }
}

/// Writes a string literal, in the Huffman code where that is shorter (RFC 7541 section 5.2).
fn encode_string(string: &[u8], out: &mut Vec<u8>) {
    let encoded_bytes = huffman::encoded_bytes(string);
    if encoded_bytes < string.len() {
        integer::encode(encoded_bytes, 7, 0x80, out);
        huffman::encode(string, out);
    } else {
        encode_plain_string(string, out);
    }
}

fn encode_plain_string(string: &[u8], out: &mut Vec<u8>) {
    integer::encode(string.len(), 7, 0x00, out);
    out.extend_from_slice(string);
}
