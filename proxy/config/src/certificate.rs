//! Certificates that listeners show, and the text that describes one.

use std::path::PathBuf;

use crate::{fields::Fields, raw::RawMap};

/// Where a certificate and its key are, and the names they are shown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// In lower case; empty: the DNS names in the certificate.
    pub names: Vec<String>,
    /// The certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The form of a certificate on the command line.
pub(crate) const SYNTAX: &str = "names=NAME+...,cert=PATH,key=PATH";

const KEYS: [&str; 3] = ["names", "cert", "key"];
/// RFC 1035 section 2.3.4, without the dot at the end.
const NAME_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

impl Certificate {
    /// Checks what was typed. The error holds every reason, each naming its key.
    pub(crate) fn from_raw(raw: &RawMap) -> Result<Self, Vec<String>> {
        let mut fields = Fields::new(raw, &KEYS);
        let names = fields.get("names", parse_names).unwrap_or_default();
        let cert = fields.get("cert", parse_path);
        let key = fields.get("key", parse_path);
        fields.require("cert");
        fields.require("key");
        match (cert, key, fields.reasons.is_empty()) {
            (Some(cert), Some(key), true) => Ok(Self { names, cert, key }),
            _ => Err(fields.reasons),
        }
    }
}

fn parse_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("no path".to_owned()) } else { Ok(text.into()) }
}

fn parse_names(text: &str) -> Result<Vec<String>, String> {
    text.split('+').map(parse_name).collect()
}

/// A name as it stands in a ClientHello or a certificate: letters, digits, `-` and `_` (RFC 6125 section 6.4).
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=LABEL_LEN_MAX).contains(&label.len()) && label.bytes().all(plain);
    let exact = text.strip_prefix("*.").unwrap_or(text);
    if text == "*" || (text.len() <= NAME_LEN_MAX && exact.split('.').all(is_label)) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is not a DNS name, *.DOMAIN or *"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{defs::Id, raw::Source};

    fn certificate(text: &str) -> Result<Certificate, Vec<String>> {
        Certificate::from_raw(&RawMap::from_text(Id::TlsCertificate, text, Source::Flag).unwrap())
    }

    #[test]
    fn names_are_dns_names_or_stand_for_many() {
        let names = |text: &str| certificate(&format!("cert=a,key=b,names={text}")).map(|it| it.names);
        assert_eq!(names("A.example+*.b.example+*").unwrap(), ["a.example", "*.b.example", "*"]);
        for wrong in ["", "a..b", "*.", "a.*.b", "a b", "127.0.0.1+", "é.example"] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert_eq!(certificate("cert=a").unwrap_err(), ["key is missing"]);
        assert_eq!(certificate("cert=,key=a").unwrap_err(), ["cert: no path"]);
    }
}
