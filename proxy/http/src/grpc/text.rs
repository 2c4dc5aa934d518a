//! The base64 of gRPC-web text (RFC 4648 section 4), as a stream: pieces with padding of their own may follow one another
//! (PROTOCOL-WEB.md, "Text-encoded (response) streams"), which is why no decoder of whole strings will do.

use crate::Error;

/// Decodes a stream of pieces that arrives in chunks of any size. Strict: no white space, nothing left over, no bits that
/// mean nothing.
#[derive(Clone, Debug, Default)]
pub struct TextDecoder {
    /// The values of the letters of a group that is not complete, six bits each.
    bits: u32,
    letters: u8,
    /// Padding that the group had so far.
    padding: u8,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING: u8 = b'=';
const NONE: u8 = 0xff;

/// The value of each letter, by its octet.
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

// === impl TextDecoder ===

impl TextDecoder {
    /// Appends what `input` decodes to, at most three bytes for four and what was left over before.
    ///
    /// # Errors
    /// [`Error::Base64`]; the stream cannot be decoded any further, and what was appended by this call is of no use.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.reserve(input.len() / 4 * 3 + 3);
        let mut rest = input;
        loop {
            if self.letters == 0 {
                rest = decode_groups(rest, out);
            }
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            self.take(*byte, out)?;
            rest = after;
        }
    }

    /// To be called when the stream ends.
    ///
    /// # Errors
    /// [`Error::Base64`] when it ends within a group.
    pub fn finish(&self) -> Result<(), Error> {
        if self.letters == 0 { Ok(()) } else { Err(Error::Base64) }
    }

    /// Takes one letter or sign of padding.
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Error> {
        if byte == PADDING {
            self.padding += 1;
        } else {
            let value = value_of(byte);
            if value == NONE || self.padding > 0 {
                return Err(Error::Base64);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.letters += 1;
        }
        if self.letters + self.padding < 4 {
            return if self.letters < 2 && self.padding > 0 { Err(Error::Base64) } else { Ok(()) };
        }
        let Self { bits, padding, .. } = std::mem::take(self);
        let [_, first, second, third] = (bits << (6 * u32::from(padding))).to_be_bytes();
        match padding {
            0 => out.extend_from_slice(&[first, second, third]),
            1 if third == 0 => out.extend_from_slice(&[first, second]),
            2 if (second, third) == (0, 0) => out.push(first),
            _ => return Err(Error::Base64),
        }
        Ok(())
    }
}

/// Decodes whole groups without padding from the start of `input`, and returns what is left: a group that has
/// something else in it, or is not complete.
fn decode_groups<'a>(input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = input;
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk() {
        let [a, b, c, d] = [*a, *b, *c, *d].map(value_of);
        if (a | b | c | d) & 0xc0 != 0 {
            break;
        }
        let [a, b, c, d] = [a, b, c, d].map(u32::from);
        let [_, decoded @ ..] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
        out.extend_from_slice(&decoded);
        rest = after;
    }
    rest
}

fn value_of(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(NONE)
}

/// Appends `data` as a piece of its own, with its padding, so that nothing of it has to wait for what follows. An empty
/// piece is empty.
pub fn encode_text(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len().div_ceil(3) * 4);
    let letter = |bits: u32| ALPHABET.get(bits as usize & 0x3f).copied().unwrap_or(PADDING);
    let group = |bits: u32| [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)];
    let (groups, last) = data.as_chunks::<3>();
    for [first, second, third] in groups {
        out.extend_from_slice(&group(u32::from_be_bytes([0, *first, *second, *third])));
    }
    match *last {
        [first, second] => {
            let [a, b, c, _] = group(u32::from_be_bytes([0, first, second, 0]));
            out.extend_from_slice(&[a, b, c, PADDING]);
        }
        [first] => {
            let [a, b, ..] = group(u32::from_be_bytes([0, first, 0, 0]));
            out.extend_from_slice(&[a, b, PADDING, PADDING]);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&str]) -> Result<Vec<u8>, Error> {
        let (mut decoder, mut out) = (TextDecoder::default(), Vec::new());
        for piece in pieces {
            decoder.decode(piece.as_bytes(), &mut out)?;
        }
        decoder.finish().map(|()| out)
    }

    /// RFC 4648 section 10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn the_vectors_of_the_rfc_hold_both_ways() {
        for (data, text) in VECTORS {
            let mut out = Vec::new();
            encode_text(data.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode(&[text]), Ok(data.as_bytes().to_vec()));
        }
    }

    #[test]
    fn padded_pieces_follow_one_another_however_they_are_cut() {
        let text: String = VECTORS.iter().map(|(_, text)| *text).collect();
        let data: String = VECTORS.iter().map(|(data, _)| *data).collect();
        for size in 1..=text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            assert_eq!(decode(&pieces), Ok(data.clone().into_bytes()), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in [
            "Z",
            "Zg",
            "Zg=",
            "Zm8",
            "=",
            "====",
            "Z===",
            "Zg=a",
            "Zg==Z",
            "Zh==",
            "Zm9=",
            "Zm9v\n",
            "Zm 9v",
            "Zm-_",
            "Zg==\0",
            "Zm9v=",
            "\u{e9}m8=",
        ] {
            assert_eq!(decode(&[text]), Err(Error::Base64), "{text}");
        }
    }
}
