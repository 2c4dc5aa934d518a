//! Preview host names: `<key>--<endpoint>.<domain>`.
//!
//! Only the shape is known here; whether the endpoint is one of the allowed ones is for the gateway to say.

use std::{fmt, str::FromStr};

/// Which host names hold a routing key, written in one of two forms:
///
/// * `{key}.preview.example.com`: the first DNS label is the key;
/// * `{key}--*.preview.example.com`: the first label is the key, a separator, and the name of an endpoint. The separator
///   is 1 to 8 of `[a-z0-9-]`, and the key ends where it first occurs.
///
/// Host names do not distinguish cases (RFC 4343), so the key is read in lower case; keys with `.`, `_` or capital
/// letters, or with the separator in them, cannot be written as a host name. A port and one final dot are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    // `None` for the form without an endpoint.
    separator: Option<String>,
    // With its leading dot.
    suffix: String,
}

/// A host name that fits a [`HostPattern`]. The two parts are slices of the authority, in its own case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewHost<'a> {
    /// Where the key stands; not yet checked against the grammar of keys.
    pub key: &'a [u8],
    /// What follows the separator; empty for patterns without one.
    pub endpoint: &'a [u8],
}

/// Why some text is not a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host pattern is {{key}}.<domain> or {{key}}<separator>*.<domain>, in lower case")]
pub struct HostPatternError;

const SEPARATOR_LEN_MAX: usize = 8;
const DOMAIN_LEN_MAX: usize = 253;

// === impl HostPattern ===

impl HostPattern {
    /// Reads one of the two forms.
    ///
    /// # Errors
    /// When the text is of neither.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let rest = text.strip_prefix("{key}").ok_or(HostPatternError)?;
        let dot = rest.find('.').ok_or(HostPatternError)?;
        let (label, suffix) = rest.split_at(dot);
        let separator = match label {
            "" => None,
            label => Some(label.strip_suffix('*').ok_or(HostPatternError)?.to_owned()),
        };
        let separator_fits = separator.as_deref().is_none_or(|separator| {
            (1..=SEPARATOR_LEN_MAX).contains(&separator.len()) && separator.bytes().all(is_label_byte)
        });
        let mut labels = suffix.split('.').skip(1);
        let domain_fits = suffix.len() <= DOMAIN_LEN_MAX
            && labels.all(|label| (1..=63).contains(&label.len()) && label.bytes().all(is_label_byte));
        if separator_fits && domain_fits {
            Ok(Self { separator, suffix: suffix.to_owned() })
        } else {
            Err(HostPatternError)
        }
    }

    /// Finds the parts of an authority (`host[:port]`); `None` when it does not fit the pattern.
    #[must_use]
    pub fn read<'a>(&self, authority: &'a [u8]) -> Option<PreviewHost<'a>> {
        let host = match authority.iter().rposition(|&byte| byte == b':') {
            Some(colon) => authority.get(..colon)?,
            None => authority,
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        let (label, suffix) = host.split_at_checked(host.len().checked_sub(self.suffix.len())?)?;
        if label.is_empty() || label.contains(&b'.') || !suffix.eq_ignore_ascii_case(self.suffix.as_bytes()) {
            return None;
        }
        let Some(separator) = &self.separator else {
            return Some(PreviewHost { key: label, endpoint: b"" });
        };
        let separator = separator.as_bytes();
        let at = label.windows(separator.len()).position(|window| window.eq_ignore_ascii_case(separator))?;
        let (key, rest) = label.split_at_checked(at)?;
        let endpoint = rest.get(separator.len()..)?;
        (!endpoint.is_empty()).then_some(PreviewHost { key, endpoint })
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.separator {
            Some(separator) => write!(f, "{{key}}{separator}*{}", self.suffix),
            None => write!(f, "{{key}}{}", self.suffix),
        }
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(pattern: &str, authority: &'a str) -> Option<(&'a str, &'a str)> {
        let pattern: HostPattern = pattern.parse().unwrap();
        let host = pattern.read(authority.as_bytes())?;
        Some((std::str::from_utf8(host.key).unwrap(), std::str::from_utf8(host.endpoint).unwrap()))
    }

    #[test]
    fn the_first_label_holds_the_key_and_the_endpoint() {
        const PATTERN: &str = "{key}--*.preview.example.com";
        assert_eq!(read(PATTERN, "k3v9--web.preview.example.com"), Some(("k3v9", "web")));
        assert_eq!(read(PATTERN, "K3--Web.Preview.Example.COM.:8443"), Some(("K3", "Web")));
        assert_eq!(read(PATTERN, "k3--web--two.preview.example.com"), Some(("k3", "web--two")));
        assert_eq!(read(PATTERN, "--web.preview.example.com"), Some(("", "web")));
        for foreign in [
            "",
            "preview.example.com",
            ".preview.example.com",
            "www.preview.example.com",
            "k3--.preview.example.com",
            "a.k3--web.preview.example.com",
            "k3--web.preview.example.com.evil.org",
            "k3--web.preview.example.org",
            "[::1]:80",
        ] {
            assert_eq!(read(PATTERN, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_endpoint_is_optional_in_the_pattern() {
        assert_eq!(read("{key}.preview.example.com", "k3--v9.preview.example.com"), Some(("k3--v9", "")));
    }

    #[test]
    fn patterns_print_as_they_were_written_and_others_are_refused() {
        for text in ["{key}.x", "{key}--*.preview.example.com", "{key}-on-*.a.b"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
        for text in
            ["", "{key}", "{key}.", "{key}*.a", "{key}--.a", "a.{key}.b", "{key}--*.A.b", "{key}--*.a..b"]
        {
            assert_eq!(text.parse::<HostPattern>(), Err(HostPatternError), "{text}");
        }
    }
}
