//! The routing key itself: grammar and inline storage.
//!
//! It knows nothing of where a key is read from; see [`Carrier`](crate::Carrier) for that.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    num::NonZeroU8,
    str::FromStr,
};

/// RFC 4648 section 6, in lower case: safe in a DNS label, a URL and a Kubernetes name.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// How many base32 characters a generated key has: 60 random bits.
const GENERATED_LEN: usize = 12;

/// Names a sandbox or a route group: 1 to 64 bytes of `[A-Za-z0-9._-]`, compared byte for byte.
///
/// Stored inline, so that copying and looking up never allocate. Opaque: nothing is derived from its bytes.
#[derive(Clone, Copy)]
pub struct RoutingKey {
    // Never zero, so that `Option<RoutingKey>` costs no extra byte.
    len: NonZeroU8,
    bytes: [u8; Self::LEN_MAX],
}

/// Why some bytes are not a routing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There was nothing at all.
    #[error("a routing key has at least one character")]
    Empty,
    /// More bytes than [`RoutingKey::LEN_MAX`].
    #[error("a routing key has at most 64 characters")]
    TooLong,
    /// A byte outside `[A-Za-z0-9._-]`.
    #[error("byte 0x{0:02x} is not one of A-Z a-z 0-9 . _ -")]
    BadByte(u8),
}

// === impl RoutingKey ===

impl RoutingKey {
    /// The longest key, in bytes.
    pub const LEN_MAX: usize = 64;

    /// Reads a bare key. Surrounding white space is not trimmed, nothing is decoded.
    ///
    /// # Errors
    /// When the bytes break the grammar.
    pub fn parse(value: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = [0; Self::LEN_MAX];
        let slot = bytes.get_mut(..value.len()).ok_or(KeyError::TooLong)?;
        slot.copy_from_slice(value);
        let len = u8::try_from(value.len()).map_err(|_| KeyError::TooLong)?;
        let len = NonZeroU8::new(len).ok_or(KeyError::Empty)?;
        match value.iter().find(|&&byte| !is_key_byte(byte)) {
            Some(&byte) => Err(KeyError::BadByte(byte)),
            None => Ok(Self { len, bytes }),
        }
    }

    /// Makes a key of 12 lower-case base32 characters from the top 60 of 64 random bits.
    ///
    /// As unpredictable as `random`; whether the key is already taken is for the caller to check.
    #[must_use]
    pub fn generate(random: [u8; 8]) -> Self {
        let mut bits = u64::from_be_bytes(random);
        let mut bytes = [0; Self::LEN_MAX];
        for byte in bytes.iter_mut().take(GENERATED_LEN) {
            // The five top bits are below 32 by construction.
            *byte = BASE32.get((bits >> 59) as usize).copied().unwrap_or(b'a');
            bits <<= 5;
        }
        Self { len: NonZeroU8::MIN.saturating_add(GENERATED_LEN as u8 - 1), bytes }
    }

    /// The key as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len.get())).unwrap_or_default()
    }

    /// The key with its letters in lower case: a different key, if it had others.
    pub(crate) fn to_lowercase(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // ASCII by the grammar, so that the fall-back is never taken.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl FromStr for RoutingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text.as_bytes())
    }
}

impl TryFrom<&[u8]> for RoutingKey {
    type Error = KeyError;

    fn try_from(value: &[u8]) -> Result<Self, KeyError> {
        Self::parse(value)
    }
}

impl PartialEq for RoutingKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RoutingKey {}

impl Ord for RoutingKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for RoutingKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

// Hashes as the slice does, which `Borrow<[u8]>` demands.
impl Hash for RoutingKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for RoutingKey {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for RoutingKey {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_has_1_to_64_bytes_of_its_alphabet() {
        assert_eq!(RoutingKey::parse(b""), Err(KeyError::Empty));
        assert!(RoutingKey::parse(&[b'a'; 64]).is_ok());
        assert_eq!(RoutingKey::parse(&[b'a'; 65]), Err(KeyError::TooLong));
        assert_eq!(RoutingKey::parse(&[b'a'; 300]), Err(KeyError::TooLong));
        for byte in 0..=255u8 {
            let legal = byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert_eq!(RoutingKey::parse(&[b'a', byte]).is_ok(), legal, "byte 0x{byte:02x}");
        }
    }

    #[test]
    fn a_key_prints_and_parses_back() {
        let key: RoutingKey = "Vf0ju8.vw_50-wpu".parse().unwrap();
        assert_eq!(key.to_string(), "Vf0ju8.vw_50-wpu");
        assert_eq!(format!("{key:?}"), "Vf0ju8.vw_50-wpu");
    }

    #[test]
    fn keys_that_differ_in_case_are_different_keys() {
        assert_ne!("Abc".parse::<RoutingKey>().unwrap(), "abc".parse().unwrap());
    }

    #[test]
    fn maps_look_up_by_slice() {
        let map = HashMap::from([("k3v9".parse::<RoutingKey>().unwrap(), 7)]);
        assert_eq!(map.get(b"k3v9".as_slice()), Some(&7));
    }

    #[test]
    fn generated_keys_are_twelve_lower_case_base32_characters() {
        assert_eq!(RoutingKey::generate([0; 8]).as_str(), "aaaaaaaaaaaa");
        assert_eq!(RoutingKey::generate([0xff; 8]).as_str(), "777777777777");
        let key = RoutingKey::generate(*b"\x01\x23\x45\x67\x89\xab\xcd\xef");
        assert_eq!(key.as_str(), "aerukz4jvpg6");
        assert_eq!(key, key.as_str().parse().unwrap());
    }

    #[test]
    fn an_absent_key_costs_no_extra_byte() {
        assert_eq!(size_of::<Option<RoutingKey>>(), size_of::<RoutingKey>());
    }
}
