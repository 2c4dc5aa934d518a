//! As much of X.509 as is told to people: who issued a certificate and until when it is valid (RFC 5280 section 4.1).
//!
//! Nothing is decided from it; verifying is left to the TLS library. Total: whatever is not as expected is `None`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
/// `id-at-commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Who issued a certificate, and when it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// The common name, if it has one.
    pub(super) issuer: Option<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// Elements of DER, one after the other.
struct Reader<'a>(&'a [u8]);

// === impl Summary ===

impl Summary {
    /// Reads a certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Reader(Reader(certificate).expect(SEQUENCE)?);
        let mut fields = Reader(outer.expect(SEQUENCE)?);
        if fields.tag() == Some(VERSION) {
            fields.next()?;
        }
        fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer = common_name(fields.expect(SEQUENCE)?);
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        Some(Self { issuer, not_before, not_after })
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and its contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Reader(name);
    while let Some(set) = sets.expect(SET) {
        let mut attribute = Reader(Reader(set).expect(SEQUENCE)?);
        if attribute.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
            return Some(String::from_utf8_lossy(attribute.next()?.1).escape_debug().to_string());
        }
    }
    None
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`. Years before 1970 are 1970: long ago either way.
fn time((tag, text): (u8, &[u8])) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            // RFC 5280 section 4.1.2.5.1.
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = [0; 5];
    let mut chunks = rest.chunks_exact(2);
    for (part, chunk) in parts.iter_mut().zip(&mut chunks) {
        *part = number(chunk)?;
    }
    let [month, day, hour, minute, second] = parts;
    let in_range = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days of the Gregorian calendar; the year begins in March, so that the day of a leap year is its last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_says_who_issued_it_and_until_when() {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Shop");
        params.distinguished_name.push(rcgen::DnType::CommonName, "the shop's authority");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let summary = Summary::of(certificate.der()).unwrap();
        assert_eq!(summary.issuer.as_deref(), Some("the shop\\'s authority"));
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds(summary.not_before), 1_709_164_800);
        assert_eq!(seconds(summary.not_after), 2_524_608_000);
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_stumble(bytes: Vec<u8>) {
            let _summary = Summary::of(&bytes);
        }

        #[test]
        fn no_changed_certificate_makes_it_stumble(at in 0..300_usize, byte: u8) {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let mut der = params.self_signed(&key).unwrap().der().to_vec();
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            let _summary = Summary::of(&der);
        }
    }
}
