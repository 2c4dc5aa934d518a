//! Header compression of HTTP/2 (RFC 7541): all of it read, strictly, and only the plainest of it written.

mod tables;

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use tables::{HUFFMAN, STATIC};

/// A field as HTTP/2 carries it; pseudo-header fields are among them.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The largest dynamic table that a reader here announces, which is what holds if nothing is said.
const TABLE_BYTES_MAX: usize = 4096;

/// Writes fields as literals without indexing and without Huffman codes, whatever is in them.
pub fn encode<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(name.as_ref(), &mut out);
        string(value.as_ref(), &mut out);
    }
    out
}

/// A string without Huffman codes.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    integer(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

/// An integer with a prefix of `bits` bits in an octet that begins with `first`.
pub fn integer(value: usize, bits: u8, first: u8, out: &mut Vec<u8>) {
    let limit = (1_usize << bits) - 1;
    let low = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
    if value < limit {
        out.push(first | low(value));
        return;
    }
    out.push(first | low(limit));
    let mut rest = value - limit;
    while rest >= 128 {
        out.push(low(rest & 127) | 128);
        rest >>= 7;
    }
    out.push(low(rest));
}

/// The state of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    /// The newest first.
    entries: VecDeque<Pair>,
    bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes_max: TABLE_BYTES_MAX }
    }
}

impl Decoder {
    /// Reads a whole header block; what is no such thing is the error.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Pair>, String> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                fields.push(self.entry(take_integer(&mut rest, 7)?)?);
            } else if first & 0xe0 == 0x20 {
                if !fields.is_empty() {
                    return Err("the table is resized after a field".to_owned());
                }
                let size = take_integer(&mut rest, 5)?;
                if size > TABLE_BYTES_MAX {
                    return Err(format!("a table of {size} bytes"));
                }
                self.bytes_max = size;
                self.evict();
            } else {
                let indexed = first & 0x40 != 0;
                let index = take_integer(&mut rest, if indexed { 6 } else { 4 })?;
                let name = if index == 0 { take_string(&mut rest)? } else { self.entry(index)?.0 };
                let field = (name, take_string(&mut rest)?);
                if indexed {
                    self.entries.push_front(field.clone());
                    self.evict();
                }
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Pair, String> {
        let missing = || format!("no entry {index}");
        let at = index.checked_sub(1).ok_or_else(missing)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.entries.get(at - STATIC.len()).cloned().ok_or_else(missing),
        }
    }

    fn evict(&mut self) {
        let size = |entries: &VecDeque<Pair>| {
            entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
        };
        while size(&self.entries) > self.bytes_max {
            self.entries.pop_back();
        }
    }
}

static SYMBOLS: LazyLock<HashMap<(u32, u8), usize>> =
    LazyLock::new(|| HUFFMAN.iter().copied().enumerate().map(|(symbol, code)| (code, symbol)).collect());

fn take_integer(rest: &mut &[u8], bits: u8) -> Result<usize, String> {
    let cut = || "an integer is cut".to_owned();
    let (first, mut tail) = rest.split_first().ok_or_else(cut)?;
    let limit = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & limit;
    if value == limit {
        for shift in (0..).step_by(7) {
            let (next, after) = tail.split_first().ok_or_else(cut)?;
            if shift > 28 {
                return Err("an integer is too large".to_owned());
            }
            tail = after;
            value += usize::from(next & 127) << shift;
            if next & 128 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(value)
}

fn take_string(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = take_integer(rest, 7)?;
    let (text, tail) = rest.split_at_checked(length).ok_or("a string is cut")?;
    *rest = tail;
    if coded { unhuffman(text) } else { Ok(text.to_vec()) }
}

fn unhuffman(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0_u32, 0_u8);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at) & 1)) {
        code = code << 1 | bit;
        length += 1;
        if let Some(symbol) = SYMBOLS.get(&(code, length)) {
            out.push(u8::try_from(*symbol).map_err(|_| "the end of a string inside of it")?);
            (code, length) = (0, 0);
        } else if length > 30 {
            return Err("no such code".to_owned());
        }
    }
    // What fills the last octet is the beginning of the longest code.
    if length > 7 || code != (1 << length) - 1 {
        return Err("a string is filled up wrongly".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(fields: &[(&str, &str)]) -> Vec<Pair> {
        fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let mut decoder = Decoder::default();
        let first =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        let block = bytes("828684418cf1e3c2e5f23a6ba0ab90f4ff");
        assert_eq!(decoder.decode(&block).unwrap(), pairs(&first));
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(decoder.decode(&bytes("828684be5886a8eb10649cbf")).unwrap(), pairs(&second));
    }

    #[test]
    fn what_is_written_is_read() {
        let fields = pairs(&[(":path", "/"), ("x-long", &"v".repeat(1000)), ("", "")]);
        assert_eq!(Decoder::default().decode(&encode(&fields)).unwrap(), fields);
    }

    #[test]
    fn what_is_no_header_block_is_refused() {
        for wrong in ["80", "be", "41", "0001", "8285ff", "3fe21f", "8220", "ffffffffffff7f"] {
            assert!(Decoder::default().decode(&bytes(wrong)).is_err(), "{wrong}");
        }
    }
}
