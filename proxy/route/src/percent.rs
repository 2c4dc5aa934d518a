//! Percent-decoding (RFC 3986 section 2.1) of values that are short by their own grammar.

/// Longer than any key or signed token is when nothing in it is encoded.
pub(crate) const DECODED_LEN_MAX: usize = 256;

/// Decodes a value; `None` when an escape is broken or the result does not fit. Values without `%` are not copied.
pub(crate) fn decode<'a>(value: &'a [u8], buffer: &'a mut [u8; DECODED_LEN_MAX]) -> Option<&'a [u8]> {
    if !value.contains(&b'%') {
        return Some(value);
    }
    let mut bytes = value.iter();
    let mut len = 0;
    while let Some(&byte) = bytes.next() {
        let slot = buffer.get_mut(len)?;
        *slot = match byte {
            b'%' => nibble(*bytes.next()?)? << 4 | nibble(*bytes.next()?)?,
            byte => byte,
        };
        len += 1;
    }
    buffer.get(..len)
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(value: &[u8]) -> Option<Vec<u8>> {
        decode(value, &mut [0; DECODED_LEN_MAX]).map(<[u8]>::to_vec)
    }

    #[test]
    fn escapes_are_decoded_in_either_case() {
        assert_eq!(decoded(b"plain").as_deref(), Some(b"plain".as_slice()));
        assert_eq!(decoded(b"a%2Eb%2ec%00").as_deref(), Some(b"a.b.c\0".as_slice()));
    }

    #[test]
    fn broken_escapes_and_long_values_are_refused() {
        for broken in [b"%".as_slice(), b"a%2", b"%g0", b"%+1", &[b'%'; 9]] {
            assert_eq!(decoded(broken), None, "{broken:?}");
        }
        assert_eq!(decoded(&b"%41".repeat(DECODED_LEN_MAX)).map(|value| value.len()), Some(256));
        assert_eq!(decoded(&b"%41".repeat(DECODED_LEN_MAX + 1)), None);
    }
}
