//! base64url without padding (RFC 4648 section 5), for signatures.
//!
//! Decoding is strict: no padding, no white space, no second spelling of the same bytes (section 3.5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn encode(bytes: &[u8]) -> String {
    let digit = |bits: u32| ALPHABET.get((bits & 63) as usize).copied().map_or('A', char::from);
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        text.extend([18, 12, 6, 0].into_iter().take(chunk.len() + 1).map(|shift| digit(bits >> shift)));
    }
    text
}

/// Decodes into `buffer`; `None` when the text is not base64url, or its bytes do not fit.
pub(super) fn decode<'a>(text: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let (mut bits, mut held, mut len) = (0u32, 0u32, 0usize);
    for byte in text.bytes() {
        bits = (bits << 6 | digit(byte)?) & 0xfff;
        held += 6;
        if held >= 8 {
            held -= 8;
            *buffer.get_mut(len)? = (bits >> held & 0xff) as u8;
            len += 1;
        }
    }
    // Six bits over are half a byte missing; bits that are not zero spell the same bytes differently.
    let rest = bits & ((1 << held) - 1);
    if held == 6 || rest != 0 { None } else { buffer.get(..len) }
}

fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc_hold_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text, &mut [0; 8]), Some(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["Z", "Zh", "Zm9", "Zg==", "Zm9v ", "Zm+v", "Zm9vZ"] {
            assert_eq!(decode(text, &mut [0; 8]), None, "{text}");
        }
        assert_eq!(decode("Zm9v", &mut [0; 2]), None);
    }
}
