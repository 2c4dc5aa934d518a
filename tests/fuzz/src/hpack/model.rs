//! HPACK written as plainly as its specification reads (RFC 7541): every field is owned, every bit is looked at alone.

use std::collections::VecDeque;

/// A field as it was in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    /// It was a never-indexed literal.
    pub never_indexed: bool,
}

/// Why there are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// More bytes than the caller wants.
    Bomb,
    Compression,
}

/// What a connection's decoder knows.
#[derive(Debug)]
pub struct Model {
    /// Newest first.
    pub entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    limit: usize,
    limit_max: usize,
}

type Outcome<T> = Result<T, Failure>;

// === impl Model ===

impl Model {
    pub fn new(limit_max: usize) -> Self {
        Self { entries: VecDeque::new(), limit: limit_max, limit_max }
    }

    /// The fields of a block, unless they count more than `bytes_max`.
    pub fn decode(&mut self, mut block: &[u8], bytes_max: usize) -> Outcome<Vec<Field>> {
        let mut fields: Vec<Field> = Vec::new();
        let mut bytes = 0;
        let mut begun = false;
        while let Some(first) = block.first().copied() {
            if first & 0xe0 == 0x20 {
                self.limit = integer(&mut block, 5)?;
                if begun || self.limit > self.limit_max {
                    return Err(Failure::Compression);
                }
                self.evict();
                continue;
            }
            begun = true;
            let field = if first & 0x80 != 0 {
                let (name, value) = self.entry(integer(&mut block, 7)?)?;
                Field { name, value, never_indexed: false }
            } else {
                let incremental = first & 0x40 != 0;
                let index = integer(&mut block, if incremental { 6 } else { 4 })?;
                let name = if index == 0 { string(&mut block)? } else { self.entry(index)?.0 };
                let value = string(&mut block)?;
                if incremental {
                    self.entries.push_front((name.clone(), value.clone()));
                    self.evict();
                }
                Field { name, value, never_indexed: first & 0xf0 == 0x10 }
            };
            bytes += counted(&field);
            if bytes > bytes_max {
                return Err(Failure::Bomb);
            }
            fields.push(field);
        }
        Ok(fields)
    }

    /// Bytes of the table (RFC 7541 section 4.1).
    pub fn size(&self) -> usize {
        self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn evict(&mut self) {
        while self.size() > self.limit {
            self.entries.pop_back();
        }
    }

    fn entry(&self, index: usize) -> Outcome<(Vec<u8>, Vec<u8>)> {
        let at = index.checked_sub(1).ok_or(Failure::Compression)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.entries.get(at - STATIC.len()).cloned().ok_or(Failure::Compression),
        }
    }
}

/// What a field counts in a head, where `:authority` is `host`.
pub fn counted(field: &Field) -> usize {
    let name = if field.name == b":authority" { 4 } else { field.name.len() };
    name + field.value.len() + 32
}

fn integer(block: &mut &[u8], prefix_bits: u32) -> Outcome<usize> {
    let (first, rest) = block.split_first().ok_or(Failure::Compression)?;
    *block = rest;
    let full = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*first) & full;
    if value < full {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let (octet, rest) = block.split_first().ok_or(Failure::Compression)?;
        *block = rest;
        value += usize::from(*octet & 0x7f) << shift;
        if *octet < 0x80 {
            return Ok(value);
        }
    }
    Err(Failure::Compression)
}

fn string(block: &mut &[u8]) -> Outcome<Vec<u8>> {
    let is_huffman = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(block, 7)?;
    let (octets, rest) = block.split_at_checked(length).ok_or(Failure::Compression)?;
    *block = rest;
    if is_huffman { huffman(octets) } else { Ok(octets.to_vec()) }
}

fn huffman(octets: &[u8]) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    let (mut code, mut length) = (0_u32, 0);
    for bit in octets.iter().flat_map(|octet| (0..8).rev().map(move |place| octet >> place & 1)) {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        match CODES.iter().position(|known| *known == (code, length)) {
            Some(symbol) => text.push(u8::try_from(symbol).map_err(|_| Failure::Compression)?),
            None if length > 30 => return Err(Failure::Compression),
            None => continue,
        }
        (code, length) = (0, 0);
    }
    if length < 8 && code + 1 == 1 << length { Ok(text) } else { Err(Failure::Compression) }
}

/// RFC 7541 Appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Code and length of each octet and of EOS (RFC 7541 Appendix B).
#[rustfmt::skip]
const CODES: [(u32, u32); 257] = [
    (0x1ff8, 13), (0x7fffd8, 23), (0xfffffe2, 28), (0xfffffe3, 28), (0xfffffe4, 28), (0xfffffe5, 28),
    (0xfffffe6, 28), (0xfffffe7, 28), (0xfffffe8, 28), (0xffffea, 24), (0x3ffffffc, 30), (0xfffffe9, 28),
    (0xfffffea, 28), (0x3ffffffd, 30), (0xfffffeb, 28), (0xfffffec, 28), (0xfffffed, 28), (0xfffffee, 28),
    (0xfffffef, 28), (0xffffff0, 28), (0xffffff1, 28), (0xffffff2, 28), (0x3ffffffe, 30), (0xffffff3, 28),
    (0xffffff4, 28), (0xffffff5, 28), (0xffffff6, 28), (0xffffff7, 28), (0xffffff8, 28), (0xffffff9, 28),
    (0xffffffa, 28), (0xffffffb, 28), (0x14, 6), (0x3f8, 10), (0x3f9, 10), (0xffa, 12),
    (0x1ff9, 13), (0x15, 6), (0xf8, 8), (0x7fa, 11), (0x3fa, 10), (0x3fb, 10),
    (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6), (0x17, 6), (0x18, 6),
    (0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6),
    (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6), (0x5c, 7), (0xfb, 8),
    (0x7ffc, 15), (0x20, 6), (0xffb, 12), (0x3fc, 10), (0x1ffa, 13), (0x21, 6),
    (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7), (0x61, 7), (0x62, 7),
    (0x63, 7), (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7),
    (0x69, 7), (0x6a, 7), (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7),
    (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7),
    (0xfd, 8), (0x1ffb, 13), (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14), (0x22, 6),
    (0x7ffd, 15), (0x3, 5), (0x23, 6), (0x4, 5), (0x24, 6), (0x5, 5),
    (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7),
    (0x28, 6), (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7),
    (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6), (0x77, 7), (0x78, 7),
    (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11), (0x3ffd, 14),
    (0x1ffd, 13), (0xffffffc, 28), (0xfffe6, 20), (0x3fffd2, 22), (0xfffe7, 20), (0xfffe8, 20),
    (0x3fffd3, 22), (0x3fffd4, 22), (0x3fffd5, 22), (0x7fffd9, 23), (0x3fffd6, 22), (0x7fffda, 23),
    (0x7fffdb, 23), (0x7fffdc, 23), (0x7fffdd, 23), (0x7fffde, 23), (0xffffeb, 24), (0x7fffdf, 23),
    (0xffffec, 24), (0xffffed, 24), (0x3fffd7, 22), (0x7fffe0, 23), (0xffffee, 24), (0x7fffe1, 23),
    (0x7fffe2, 23), (0x7fffe3, 23), (0x7fffe4, 23), (0x1fffdc, 21), (0x3fffd8, 22), (0x7fffe5, 23),
    (0x3fffd9, 22), (0x7fffe6, 23), (0x7fffe7, 23), (0xffffef, 24), (0x3fffda, 22), (0x1fffdd, 21),
    (0xfffe9, 20), (0x3fffdb, 22), (0x3fffdc, 22), (0x7fffe8, 23), (0x7fffe9, 23), (0x1fffde, 21),
    (0x7fffea, 23), (0x3fffdd, 22), (0x3fffde, 22), (0xfffff0, 24), (0x1fffdf, 21), (0x3fffdf, 22),
    (0x7fffeb, 23), (0x7fffec, 23), (0x1fffe0, 21), (0x1fffe1, 21), (0x3fffe0, 22), (0x1fffe2, 21),
    (0x7fffed, 23), (0x3fffe1, 22), (0x7fffee, 23), (0x7fffef, 23), (0xfffea, 20), (0x3fffe2, 22),
    (0x3fffe3, 22), (0x3fffe4, 22), (0x7ffff0, 23), (0x3fffe5, 22), (0x3fffe6, 22), (0x7ffff1, 23),
    (0x3ffffe0, 26), (0x3ffffe1, 26), (0xfffeb, 20), (0x7fff1, 19), (0x3fffe7, 22), (0x7ffff2, 23),
    (0x3fffe8, 22), (0x1ffffec, 25), (0x3ffffe2, 26), (0x3ffffe3, 26), (0x3ffffe4, 26), (0x7ffffde, 27),
    (0x7ffffdf, 27), (0x3ffffe5, 26), (0xfffff1, 24), (0x1ffffed, 25), (0x7fff2, 19), (0x1fffe3, 21),
    (0x3ffffe6, 26), (0x7ffffe0, 27), (0x7ffffe1, 27), (0x3ffffe7, 26), (0x7ffffe2, 27), (0xfffff2, 24),
    (0x1fffe4, 21), (0x1fffe5, 21), (0x3ffffe8, 26), (0x3ffffe9, 26), (0xffffffd, 28), (0x7ffffe3, 27),
    (0x7ffffe4, 27), (0x7ffffe5, 27), (0xfffec, 20), (0xfffff3, 24), (0xfffed, 20), (0x1fffe6, 21),
    (0x3fffe9, 22), (0x1fffe7, 21), (0x1fffe8, 21), (0x7ffff3, 23), (0x3fffea, 22), (0x3fffeb, 22),
    (0x1ffffee, 25), (0x1ffffef, 25), (0xfffff4, 24), (0xfffff5, 24), (0x3ffffea, 26), (0x7ffff4, 23),
    (0x3ffffeb, 26), (0x7ffffe6, 27), (0x3ffffec, 26), (0x3ffffed, 26), (0x7ffffe7, 27), (0x7ffffe8, 27),
    (0x7ffffe9, 27), (0x7ffffea, 27), (0x7ffffeb, 27), (0xffffffe, 28), (0x7ffffec, 27), (0x7ffffed, 27),
    (0x7ffffee, 27), (0x7ffffef, 27), (0x7fffff0, 27), (0x3ffffee, 26), (0x3fffffff, 30),
];
