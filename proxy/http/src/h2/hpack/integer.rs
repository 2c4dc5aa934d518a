//! Integers with a prefix (RFC 7541 section 5.1).

use crate::h2::hpack::BlockError;

/// More octets after the prefix than these are refused: 28 bits are more than any index, length or table size here
/// can mean (RFC 7541 section 5.1 lets an implementation set its limit).
const OCTETS_MAX: usize = 4;

/// Reads the integer that begins in `first` and goes on in `rest`.
///
/// # Errors
/// [`BlockError::Compression`] when it is truncated or too large.
#[inline]
pub(super) fn decode(first: u8, prefix_bits: u32, rest: &mut &[u8]) -> Result<usize, BlockError> {
    let full = u8::MAX >> (8 - prefix_bits);
    let prefix = first & full;
    if prefix < full { Ok(usize::from(prefix)) } else { decode_octets(usize::from(full), rest) }
}

#[cold]
fn decode_octets(prefix: usize, rest: &mut &[u8]) -> Result<usize, BlockError> {
    let mut value = 0;
    for place in 0..OCTETS_MAX {
        let (octet, after) = rest.split_first().ok_or(BlockError::Compression)?;
        *rest = after;
        value |= usize::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return Ok(value + prefix);
        }
    }
    Err(BlockError::Compression)
}

/// Writes an integer whose prefix shares its octet with the bits of `pattern`.
#[inline]
pub(super) fn encode(value: usize, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let full = u8::MAX >> (8 - prefix_bits);
    match value.checked_sub(usize::from(full)) {
        None => out.push(pattern | value as u8),
        Some(left) => {
            out.push(pattern | full);
            encode_octets(left, out);
        }
    }
}

fn encode_octets(mut left: usize, out: &mut Vec<u8>) {
    while left >= 0x80 {
        out.push(0x80 | left as u8);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        // RFC 7541 C.1.1 to C.1.3.
        for (value, bits, wire) in [(10, 5, &[0x0a_u8][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            let mut out = Vec::new();
            encode(value, bits, 0, &mut out);
            assert_eq!(out, wire);
            let mut rest = &wire[1..];
            assert_eq!(decode(wire[0], bits, &mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn every_prefix_and_magnitude_reads_back() {
        for bits in 4..=8 {
            for value in (0..30).map(|shift| 1_usize << shift).flat_map(|v| [v - 1, v, v + 1]) {
                let mut out = Vec::new();
                encode(value, bits, 0, &mut out);
                let mut rest = &out[1..];
                let read = decode(out[0], bits, &mut rest);
                let fits = value < (1 << 28);
                assert_eq!(read.is_ok(), fits || out.len() <= 5, "{value}");
                assert!(read.is_err() || read == Ok(value));
            }
        }
    }

    #[test]
    fn a_truncated_or_overlong_integer_is_refused() {
        for octets in [&[][..], &[0x80], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x80, 0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(decode(0x1f, 5, &mut &octets[..]), Err(BlockError::Compression), "{octets:?}");
        }
        // Leading zeros within the limit are the same number.
        assert_eq!(decode(0x1f, 5, &mut &[0x81, 0x80, 0x00][..]), Ok(32));
    }
}
