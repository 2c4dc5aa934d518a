//! Byte classes of RFC 9110 section 5.6.2 and RFC 3986.

/// `tchar` of RFC 9110 section 5.6.2.
pub(crate) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `token` of RFC 9110 section 5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_tchar(*byte))
}

/// Whether these bytes may be sent as a field value: no control but the tab, and no white space around it (RFC 9110
/// section 5.5, RFC 9113 section 8.2.1).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    let control =
        value.iter().fold(false, |any, byte| any | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    !control && !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// Optional white space taken off both ends.
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list, trimmed; empty ones are left out (RFC 9110 section 5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_ows).filter(|member| !member.is_empty())
}

/// A whole number in plain decimal digits without sign, spaces or superfluous zeros.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    /// More digits than this overflow the signed 64 bits in which many servers keep a length.
    const DIGITS_MAX: usize = 18;
    let canonical = value == b"0" || value.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    if !canonical || value.len() > DIGITS_MAX {
        return None;
    }
    value
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_canonical_decimal_number_is_read() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"999999999999999999"), Some(999_999_999_999_999_999));
        for bad in ["", "+5", "-5", "0x5", "5_0", "5 0", "5.0", "007", "00", "1000000000000000000", "\u{665}"]
        {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_list_leaves_out_empty_members_and_white_space() {
        let members: Vec<_> = list(b" a ,, \t,b\t, c d").collect();
        assert_eq!(members, [b"a".as_slice(), b"b", b"c d"]);
    }
}
