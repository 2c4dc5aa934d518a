//! The Huffman code of string literals (RFC 7541 section 5.2 and Appendix B).
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, and a longer code follows
//! the shorter ones. So the lengths say it all, and every table below is computed from them when this is compiled.

use crate::h2::hpack::BlockError;

/// The length in bits of the code of each octet and, last, of EOS (RFC 7541 Appendix B).
#[rustfmt::skip]
const BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The longest code.
const BITS_MAX: u32 = 30;
/// How many bits one step of the decoder looks at: two symbols of the common ones.
const PEEK_BITS: u32 = 12;

/// The code of each symbol in its low bits, and the symbols in the order of their codes.
const CANONICAL: ([u32; 257], [u16; 257]) = {
    let mut codes = [0; 257];
    let mut sorted = [0; 257];
    let (mut code, mut count, mut bits) = (0_u32, 0, 1);
    while bits <= BITS_MAX {
        let mut symbol = 0;
        while symbol < 257 {
            #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
            if BITS[symbol] as u32 == bits {
                codes[symbol] = code;
                sorted[count] = symbol as u16;
                code += 1;
                count += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        bits += 1;
    }
    (codes, sorted)
};

/// What the next [`PEEK_BITS`] bits mean: one or two symbols, packed so that a step is one load.
#[derive(Clone, Copy)]
struct Step(u32);

impl Step {
    const NONE: Self = Self(0);

    const fn of_one(symbol: u8, bits: u8) -> Self {
        Self(bits as u32 | ((bits as u32) << 8) | ((symbol as u32) << 16))
    }

    const fn and(self, second: Self) -> Self {
        Self((self.0 + second.bits()) | ((second.0 >> 16) << 24))
    }

    /// Bits of all symbols; 0 when the code is longer than what is looked at.
    const fn bits(self) -> u32 {
        self.0 & 0xff
    }

    const fn first_bits(self) -> u32 {
        (self.0 >> 8) & 0xff
    }

    /// The first symbol and, where there is one, the second.
    fn symbols(self) -> [u8; 2] {
        ((self.0 >> 16) as u16).to_le_bytes()
    }

    fn count(self) -> usize {
        1 + usize::from(self.bits() != self.first_bits())
    }
}

static STEPS: [Step; 1 << PEEK_BITS] = {
    let mut steps = [Step::NONE; 1 << PEEK_BITS];
    let mut symbol = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
    while symbol < 256 {
        let bits = BITS[symbol];
        if bits as u32 <= PEEK_BITS {
            let spare = PEEK_BITS - bits as u32;
            let mut at = (CANONICAL.0[symbol] as usize) << spare;
            let end = at + (1 << spare);
            while at < end {
                steps[at] = Step::of_one(symbol as u8, bits);
                at += 1;
            }
        }
        symbol += 1;
    }
    let singles = steps;
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
    while at < steps.len() {
        let first = singles[at].bits();
        if first > 0 {
            let second = singles[(at << first) & (steps.len() - 1)];
            if second.bits() > 0 && first + second.bits() <= PEEK_BITS {
                steps[at] = singles[at].and(second);
            }
        }
        at += 1;
    }
    steps
};

/// For each length: the end of its codes, left-aligned in 32 bits, and what to add to a code to find its symbol in the
/// canonical order.
const LONG: [(u32, u64, i64); BITS_MAX as usize + 1] = {
    let mut long = [(0, 0, 0); BITS_MAX as usize + 1];
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
    while at < 257 {
        let symbol = CANONICAL.1[at] as usize;
        let (bits, code) = (BITS[symbol] as u32, CANONICAL.0[symbol]);
        long[bits as usize] = (bits, ((code + 1) as u64) << (32 - bits), at as i64 - code as i64);
        at += 1;
    }
    long
};

/// The symbol whose code begins `window`, and its bits.
///
/// # Errors
/// [`BlockError::Compression`] for EOS, which must not be there (RFC 7541 section 5.2).
#[cold]
fn long_symbol(window: u32) -> Result<(u8, u32), BlockError> {
    let found = LONG.iter().find(|(bits, end, _)| *bits > 0 && u64::from(window) < *end).and_then(|long| {
        let (bits, _, shift) = *long;
        let code = i64::from(window >> (32 - bits));
        let symbol = CANONICAL.1.get(usize::try_from(code + shift).ok()?)?;
        Some((u8::try_from(*symbol).ok()?, bits))
    });
    found.ok_or(BlockError::Compression)
}

/// Appends the string that `input` encodes.
///
/// # Errors
/// [`BlockError::Compression`] for EOS and for padding that is longer than 7 bits or not all ones; `out` has grown by
/// some of the string then.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), BlockError> {
    /// The shortest code has 5 bits; a step always writes two symbols and counts one or two.
    const SPARE: usize = 2;
    let start = out.len();
    out.resize(start + input.len() * 8 / 5 + SPARE, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = decode_into(input, room)?;
    out.truncate(start + written);
    Ok(())
}

fn decode_into(mut input: &[u8], room: &mut [u8]) -> Result<usize, BlockError> {
    let mut written = 0;
    // The next bits, left-aligned, and how many of them count; what stands behind them is the input or zero.
    let (mut next, mut count) = (0_u64, 0_u32);
    while let Some(eight) = input.first_chunk::<8>() {
        next |= u64::from_be_bytes(*eight) >> count;
        input = input.get((63 - count as usize) / 8..).unwrap_or_default();
        count |= 56;
        while count >= PEEK_BITS {
            let step = peek(next);
            let mut bits = step.bits();
            if bits > 0 {
                put(room, written, step.symbols());
                written += step.count();
            } else if count < BITS_MAX {
                break;
            } else {
                let (symbol, long) = long_symbol((next >> 32) as u32)?;
                put(room, written, [symbol, 0]);
                written += 1;
                bits = long;
            }
            next = next.wrapping_shl(bits);
            count = count.wrapping_sub(bits);
        }
    }
    next &= !(u64::MAX >> count);
    decode_end(input, room, written, (next, count))
}

/// The end of a string, where the bits have to be counted.
fn decode_end(
    mut input: &[u8],
    room: &mut [u8],
    mut written: usize,
    (mut next, mut count): (u64, u32),
) -> Result<usize, BlockError> {
    loop {
        while let ([octet, rest @ ..], ..=56) = (input, count) {
            next |= u64::from(*octet) << (56 - count);
            count += 8;
            input = rest;
        }
        // Behind the input stand ones, as the padding must be.
        let window = next | u64::MAX.checked_shr(count).unwrap_or(0);
        let step = peek(window);
        let (mut symbols, mut taken, mut octets) = (step.count(), step.bits(), step.symbols());
        if taken == 0 || taken > count {
            if window == u64::MAX && count < 8 {
                return Ok(written);
            }
            (symbols, taken) = (1, step.first_bits());
            if taken == 0 {
                let (symbol, bits) = long_symbol((window >> 32) as u32)?;
                (octets, taken) = ([symbol, 0], bits);
            }
            if taken > count {
                return Err(BlockError::Compression);
            }
        }
        put(room, written, octets);
        written += symbols;
        next <<= taken;
        count -= taken;
    }
}

fn peek(next: u64) -> Step {
    STEPS.get((next >> (64 - PEEK_BITS)) as usize).copied().unwrap_or(Step::NONE)
}

fn put(room: &mut [u8], at: usize, symbols: [u8; 2]) {
    if let Some((place, _)) = room.get_mut(at..).and_then(|room| room.split_first_chunk_mut()) {
        *place = symbols;
    }
}

/// The bytes that `value` takes when it is encoded.
pub(super) fn encoded_bytes(value: &[u8]) -> usize {
    let bits: usize =
        value.iter().map(|octet| BITS.get(usize::from(*octet)).map_or(0, |b| usize::from(*b))).sum();
    bits.div_ceil(8)
}

/// Appends the code of `value`, padded with ones.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    let (mut codes, mut count) = (0_u64, 0_u32);
    for octet in value {
        let symbol = usize::from(*octet);
        let (Some(code), Some(bits)) = (CODES.get(symbol), BITS.get(symbol)) else { continue };
        codes = (codes << bits) | u64::from(*code);
        count += u32::from(*bits);
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((codes >> count) as u32).to_be_bytes());
        }
    }
    let octets = count.div_ceil(8) as usize;
    let padded = (codes << (32 - count)) as u32 | (u32::MAX >> count);
    out.extend_from_slice(padded.to_be_bytes().get(..octets).unwrap_or_default());
}

static CODES: [u32; 257] = CANONICAL.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, BlockError> {
        let mut out = b"before".to_vec();
        decode(input, &mut out)?;
        Ok(out.strip_prefix(b"before").unwrap().to_vec())
    }

    #[test]
    fn known_codes_hold() {
        // RFC 7541 C.4.1, C.4.2, C.6.1.
        for (text, code) in [
            ("www.example.com", &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("302", b"\x64\x02"),
        ] {
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, code);
            assert_eq!(encoded_bytes(text.as_bytes()), code.len());
            assert_eq!(decoded(code), Ok(text.as_bytes().to_vec()));
        }
        assert_eq!(CANONICAL.0[256], 0x3fff_ffff);
        assert_eq!((CANONICAL.0[0], CANONICAL.0[255], CANONICAL.0[10]), (0x1ff8, 0x03ff_ffee, 0x3fff_fffc));
    }

    #[test]
    fn every_symbol_reads_back_after_every_other() {
        for first in 0..=255_u8 {
            for second in 0..=255 {
                let text = [first, second, first, b'0', second];
                let mut out = Vec::new();
                encode(&text, &mut out);
                assert_eq!(out.len(), encoded_bytes(&text));
                assert_eq!(decoded(&out), Ok(text.to_vec()));
            }
        }
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    #[test]
    fn eos_and_wrong_padding_are_refused() {
        for bad in [
            &b"\xff"[..],
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x1f\xff",
            b"\x18",
            b"\x1e",
            b"\x00",
            b"\x64\x02\xff",
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xfe",
            // A long code that is cut.
            b"\xff\xff\xfe",
        ] {
            assert_eq!(decoded(bad), Err(BlockError::Compression), "{bad:02x?}");
        }
        // 7 bits of ones are padding: "0" is 00000.
        assert_eq!(decoded(b"\x07"), Ok(b"0".to_vec()));
        assert_eq!(decoded(b"\xfe\x3f"), Ok(b"!".to_vec()));
    }
}
