mod index;

use crate::{
    Field, Head, Name, Start,
    h2::{
        head::Scheme,
        hpack::{Token, huffman, integer, static_table, token::Policy},
    },
};
use index::{Index, Outgoing};

/// What the table never exceeds, whatever the peer allows, so that a connection's memory is ours to bound. It is also
/// what holds until the peer says something else (RFC 9113 section 6.5.2).
const TABLE_BYTES_MAX: usize = 4096;
/// A field that takes more of the table than this part is not worth what it evicts.
const FIELD_PART: usize = 4;
/// Shorter cookies could be guessed one by one (RFC 7541 section 7.1.3).
const COOKIE_BYTES_MIN: usize = 20;

/// The encoder of the header blocks that are sent on one connection.
///
/// What repeats is indexed: the first time a value is sent its hash is kept, the second time it is inserted, from the
/// third time on it is one byte. So values that change with each message (identifiers, times, lengths) evict nothing.
/// A new name is inserted at once, for it saves its bytes whatever the value is next time.
#[derive(Clone, Debug)]
pub struct Encoder {
    index: Index,
    /// The smallest and the last table size that the peer set since the last block.
    pending_limits: Option<(usize, usize)>,
    /// Room for a name that has to be written in lower case.
    lower: Vec<u8>,
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
        Self { index: Index::new(TABLE_BYTES_MAX), pending_limits: None, lower: Vec::new() }
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE; to be called when the setting is acknowledged. The next block tells
    /// the peer what of it is used (RFC 7541 section 4.2).
    pub fn set_peer_table_bytes(&mut self, bytes: u32) {
        let limit = usize::try_from(bytes).map_or(TABLE_BYTES_MAX, |bytes| bytes.min(TABLE_BYTES_MAX));
        let least = self.pending_limits.map_or_else(|| self.index.limit(), |(least, _)| least);
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
            if limit != self.index.limit() {
                self.index.set_limit(limit);
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
        if token.has_name() {
            self.encode_as(Outgoing { token, name: b"", value }, field, out);
        } else if name.iter().any(u8::is_ascii_uppercase) {
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
        let name = self.name_of(outgoing, self.index.name_hash(outgoing));
        encode_literal(name, outgoing.value, Kind::NeverIndexed, out);
    }

    /// A value that is not worth a place in the table; its name is, once.
    fn encode_changing(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let name_hash = self.index.name_hash(outgoing);
        let name = self.name_of(outgoing, name_hash);
        if matches!(name, NameRef::New(_)) && self.is_worth_inserting(outgoing) {
            encode_literal(name, outgoing.value, Kind::Incremental, out);
            self.index.insert(outgoing, name_hash, self.index.field_hash(name_hash, outgoing.value));
        } else {
            encode_literal(name, outgoing.value, Kind::Unindexed, out);
        }
    }

    fn encode_repeated(&mut self, outgoing: Outgoing<'_>, out: &mut Vec<u8>) {
        let name_hash = self.index.name_hash(outgoing);
        let field_hash = self.index.field_hash(name_hash, outgoing.value);
        if let Some(index) = self.index.find_field(outgoing, field_hash) {
            return integer::encode(index, 7, 0x80, out);
        }
        let name = self.name_of(outgoing, name_hash);
        let is_new = matches!(name, NameRef::New(_));
        if (self.index.has_seen(field_hash) || is_new) && self.is_worth_inserting(outgoing) {
            encode_literal(name, outgoing.value, Kind::Incremental, out);
            self.index.insert(outgoing, name_hash, field_hash);
        } else {
            encode_literal(name, outgoing.value, Kind::Unindexed, out);
        }
    }

    fn is_worth_inserting(&self, outgoing: Outgoing<'_>) -> bool {
        outgoing.size() <= self.index.limit() / FIELD_PART
    }

    /// How the name of a literal is written best.
    fn name_of<'a>(&self, outgoing: Outgoing<'a>, hash: u32) -> NameRef<'a> {
        let index = outgoing.token.first_index().or_else(|| self.index.find_name(outgoing, hash));
        match index {
            Some(index) => NameRef::Index(index),
            None if outgoing.token.has_name() => NameRef::New(outgoing.token.name()),
            None => NameRef::New(outgoing.name),
        }
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
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

#[cfg(test)]
mod tests;
