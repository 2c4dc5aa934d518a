use crate::{Error, Method, authority::authority_is_valid};

/// The form of a request target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`: the authority and the path as ranges of the target. An empty path stays
    /// empty: it stands for `/`, and for `*` in an OPTIONS request.
    Absolute { authority: (usize, usize), path: usize },
    /// `*`, only for OPTIONS.
    Asterisk,
}

/// Reads the form of a target and refuses what peers would read differently: bytes outside RFC 3986, fragments,
/// an encoded NUL, another scheme than `http` (the connection is not TLS), user information.
///
/// Dot segments, repeated slashes and encoded slashes are none of a relay's business and stay as they are.
pub fn target_form(method: Method<'_>, target: &[u8]) -> Result<TargetForm, Error> {
    bytes_are_valid(target)?;
    if method.is("CONNECT") {
        // A valid authority-form is refused for what it asks, anything else for how it asks.
        let valid = memchr::memchr(b':', target).is_some() && authority_is_valid(target);
        return Err(if valid { Error::Method } else { Error::Target });
    }
    match target {
        [b'/', ..] => Ok(TargetForm::Origin),
        b"*" if method.is("OPTIONS") => Ok(TargetForm::Asterisk),
        _ => absolute(target),
    }
}

/// Whether a target of any form may have these bytes.
pub(crate) fn bytes_are_valid(target: &[u8]) -> Result<(), Error> {
    let (mut valid, mut escaped) = (true, false);
    for byte in target {
        valid &= is_target_byte(*byte);
        escaped |= *byte == b'%';
    }
    let valid = valid && !(escaped && has_encoded_nul(target));
    if valid { Ok(()) } else { Err(Error::Target) }
}

fn absolute(target: &[u8]) -> Result<TargetForm, Error> {
    const SCHEME: &[u8] = b"http://";
    let Some((scheme, rest)) =
        target.split_at_checked(SCHEME.len()).filter(|(s, _)| s.eq_ignore_ascii_case(SCHEME))
    else {
        let other = memchr::memmem::find(target, b"://").is_some_and(|at| at > 0);
        return Err(if other { Error::Scheme } else { Error::Target });
    };
    debug_assert_eq!(scheme.len(), SCHEME.len());
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = rest.get(..length).unwrap_or_default();
    if !authority_is_valid(authority) {
        return Err(Error::Authority);
    }
    let path = SCHEME.len() + length;
    Ok(TargetForm::Absolute { authority: (SCHEME.len(), path), path })
}

/// Unreserved, reserved without `#`, and `%` of RFC 3986. Brackets pass: they are common in queries.
fn is_target_byte(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut table = [false; 256];
        let allowed = b"-._~:/?[]@!$&'()*+,;=%";
        let mut i = 0;
        while i < allowed.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
            {
                table[allowed[i] as usize] = true;
            }
            i += 1;
        }
        let mut byte = 0;
        while byte < 128 {
            #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
            if (byte as u8).is_ascii_alphanumeric() {
                table[byte] = true;
            }
            byte += 1;
        }
        table
    };
    ALLOWED.get(usize::from(byte)).copied().unwrap_or(false)
}

fn has_encoded_nul(target: &[u8]) -> bool {
    memchr::memchr_iter(b'%', target).any(|at| target.get(at + 1..at + 3) == Some(b"00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(method: &str, target: &str) -> Result<TargetForm, Error> {
        target_form(Method(method.as_bytes()), target.as_bytes())
    }

    #[test]
    fn the_four_forms_are_told_apart() {
        assert_eq!(form("GET", "/a?b=[1]"), Ok(TargetForm::Origin));
        assert_eq!(form("OPTIONS", "*"), Ok(TargetForm::Asterisk));
        assert_eq!(form("GET", "http://a:80/p?q"), Ok(TargetForm::Absolute { authority: (7, 11), path: 11 }));
        assert_eq!(form("GET", "HTTP://a"), Ok(TargetForm::Absolute { authority: (7, 8), path: 8 }));
        assert_eq!(form("CONNECT", "a:443"), Err(Error::Method));
    }

    #[test]
    fn odd_path_spellings_stay_as_they_are() {
        for target in ["/%0d%0a", "/%2f", "/..;/", "/./", "//", "/%2e%2e/", "/%"] {
            assert_eq!(form("GET", target), Ok(TargetForm::Origin), "{target}");
        }
    }

    #[test]
    fn what_peers_read_differently_is_refused() {
        for target in [
            "",
            "*",
            "admin",
            "host:80",
            "?a",
            "#",
            "/a#b",
            "/a b",
            "/a\\b",
            "/\"",
            "/<",
            "/>",
            "/^",
            "/`",
            "/{",
            "/|",
            "/}",
            "/\u{7f}",
            "/é",
            "/%00",
            "https://a/",
            "ftp://a/",
            "http:/a",
            "http:///",
        ] {
            assert!(form("GET", target).is_err(), "{target}");
        }
        for target in ["/", "host", "host:", "a@b:443"] {
            assert!(matches!(form("CONNECT", target), Err(Error::Target | Error::Method)), "{target}");
        }
        assert_eq!(form("OPTIONS", "*/test"), Err(Error::Target));
    }
}
