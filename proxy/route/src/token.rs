//! Signed routing keys: proof that somebody who holds a secret allowed a client to use a key.
//!
//! ```text
//! token     = key "." expires "." kid "." signature        parsed from the right: a key may contain dots
//! expires   = 1*20DIGIT                                    seconds since the Unix epoch
//! kid       = 1*64( ALPHA / DIGIT / "_" / "-" )            names the verifying key, so that keys can be rotated
//! signature = base64url without padding (RFC 4648 section 5) of HMAC-SHA256 (RFC 2104) or Ed25519 (RFC 8032) over
//!             "spurline-routing-key/1" LF audience LF key "." expires "." kid
//! ```
//!
//! The audience is the cluster or environment; it is signed, never sent. A verifying key has one algorithm, so that a
//! token cannot choose. A token can be used again until it expires: it selects, it does not authenticate.

use std::fmt;

use ring::{hmac, signature};

use crate::{KeyError, RoutingKey};

mod base64url;

const DOMAIN: &str = "spurline-routing-key/1";
const KID_LEN_MAX: usize = 64;
const AUDIENCE_LEN_MAX: usize = 255;
const SIGNATURE_LEN_MAX: usize = 64;

/// RFC 2104 section 3: shorter secrets than the hash weaken it.
const SECRET_LEN_MIN: usize = 32;
const ED25519_PUBLIC_LEN: usize = 32;

/// Checks tokens for one audience.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<(String, Check)>,
    audience: String,
    skew_seconds: u64,
}

/// A key that tokens are checked with.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// Its name: 1 to 64 of `[A-Za-z0-9_-]`.
    pub kid: String,
    /// Its bytes, and with them the algorithm.
    pub material: KeyMaterial,
}

/// See [`VerifyingKey::material`]. Its `Debug` form shows no secret.
#[derive(Clone)]
pub enum KeyMaterial {
    /// The shared secret of HMAC-SHA256, at least 32 bytes.
    Hmac(Vec<u8>),
    /// The public key of Ed25519, 32 bytes.
    Ed25519(Vec<u8>),
}

/// What a token says, and for whom it was made.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The key it allows.
    pub key: RoutingKey,
    /// When it ends, in seconds since the Unix epoch.
    pub expires_unix_seconds: u64,
    /// The name of the key that signs it.
    pub kid: &'a str,
    /// The cluster or environment it is for.
    pub audience: &'a str,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not four parts, or one of them not of its grammar.
    #[error("a token is key.expires.kid.signature")]
    Shape,
    /// The first part is no routing key.
    #[error("the token's routing key is malformed")]
    Key(#[from] KeyError),
    /// No verifying key has its name.
    #[error("the token names a verifying key that is not configured")]
    UnknownKid,
    /// Forged, changed, or made for another audience.
    #[error("the token's signature does not hold")]
    Signature,
    /// Too late, clock skew allowed for.
    #[error("the token has expired")]
    Expired,
    /// This request has shown too many tokens.
    #[error("the request holds too many different tokens")]
    TooMany,
}

/// Why a [`Verifier`] cannot be made, or a token not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Not of its grammar.
    #[error("kid {0:?} is not 1 to 64 of A-Z a-z 0-9 _ -")]
    Kid(String),
    /// Two verifying keys with one name.
    #[error("kid {0:?} is configured twice")]
    DuplicateKid(String),
    /// Not of its grammar.
    #[error("audience {0:?} is not 1 to 255 visible ASCII characters")]
    Audience(String),
    /// Too short a secret.
    #[error("the HMAC secret of kid {0:?} is shorter than 32 bytes")]
    Secret(String),
    /// Not a public key.
    #[error("the Ed25519 public key of kid {0:?} is not 32 bytes")]
    Public(String),
}

enum Check {
    Hmac(hmac::Key),
    Ed25519(signature::UnparsedPublicKey<Vec<u8>>),
}

// === impl Verifier ===

impl Verifier {
    /// The longest token that is looked at, in bytes.
    pub const TOKEN_LEN_MAX: usize = RoutingKey::LEN_MAX + 20 + KID_LEN_MAX + 86 + 3;

    /// Checks the keys. A token counts until `skew_seconds` after its end, for clocks that differ.
    ///
    /// # Errors
    /// When a name, the audience or a key's length is wrong, or two keys have one name.
    pub fn new(
        keys: Vec<VerifyingKey>,
        audience: impl Into<String>,
        skew_seconds: u64,
    ) -> Result<Self, VerifierError> {
        let audience = audience.into();
        check_audience(&audience)?;
        let mut checks: Vec<(String, Check)> = Vec::with_capacity(keys.len());
        for VerifyingKey { kid, material } in keys {
            check_kid(&kid)?;
            if checks.iter().any(|(taken, _)| *taken == kid) {
                return Err(VerifierError::DuplicateKid(kid));
            }
            let check = match material {
                KeyMaterial::Hmac(secret) => Check::Hmac(hmac_key(&secret, &kid)?),
                KeyMaterial::Ed25519(public) if public.len() == ED25519_PUBLIC_LEN => {
                    Check::Ed25519(signature::UnparsedPublicKey::new(&signature::ED25519, public))
                }
                KeyMaterial::Ed25519(_) => return Err(VerifierError::Public(kid)),
            };
            checks.push((kid, check));
        }
        Ok(Self { keys: checks, audience, skew_seconds })
    }

    /// The key a token allows at a point in time.
    ///
    /// # Errors
    /// When the token does not count. The signature is checked before the time, so that nothing is said about tokens
    /// that are not ours.
    pub fn verify(&self, token: &[u8], now_unix_seconds: u64) -> Result<RoutingKey, TokenError> {
        if token.len() > Self::TOKEN_LEN_MAX {
            return Err(TokenError::Shape);
        }
        let token = std::str::from_utf8(token).map_err(|_| TokenError::Shape)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (rest, kid) = signed.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (key, expires) = rest.rsplit_once('.').ok_or(TokenError::Shape)?;
        let key = RoutingKey::parse(key.as_bytes())?;
        let expires = decimal(expires).ok_or(TokenError::Shape)?;
        let mut buffer = [0; SIGNATURE_LEN_MAX];
        let signature = base64url::decode(signature, &mut buffer).ok_or(TokenError::Shape)?;
        let check = self.keys.iter().find(|(name, _)| name == kid).ok_or(TokenError::UnknownKid)?;
        let message = message(&self.audience, signed);
        let holds = match &check.1 {
            // Compares in constant time.
            Check::Hmac(key) => hmac::verify(key, message.as_bytes(), signature),
            Check::Ed25519(key) => key.verify(message.as_bytes(), signature),
        };
        holds.map_err(|_| TokenError::Signature)?;
        match now_unix_seconds > expires.saturating_add(self.skew_seconds) {
            true => Err(TokenError::Expired),
            false => Ok(key),
        }
    }
}

// === impl KeyMaterial ===

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac(..)",
            Self::Ed25519(_) => "Ed25519(..)",
        })
    }
}

// === impl Check ===

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

/// Makes a token with HMAC-SHA256, for tools and tests; the proxy itself signs nothing.
///
/// # Errors
/// When the secret is shorter than 32 bytes, or the kid or the audience is not of its grammar.
pub fn sign_hmac(secret: &[u8], claims: &Claims<'_>) -> Result<String, VerifierError> {
    let Claims { key, expires_unix_seconds, kid, audience } = *claims;
    check_kid(kid)?;
    check_audience(audience)?;
    let signed = format!("{key}.{expires_unix_seconds}.{kid}");
    let tag = hmac::sign(&hmac_key(secret, kid)?, message(audience, &signed).as_bytes());
    Ok(format!("{signed}.{}", base64url::encode(tag.as_ref())))
}

fn message(audience: &str, signed: &str) -> String {
    format!("{DOMAIN}\n{audience}\n{signed}")
}

fn hmac_key(secret: &[u8], kid: &str) -> Result<hmac::Key, VerifierError> {
    if secret.len() < SECRET_LEN_MIN {
        return Err(VerifierError::Secret(kid.to_owned()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

fn check_kid(kid: &str) -> Result<(), VerifierError> {
    let is_kid_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=KID_LEN_MAX).contains(&kid.len()) && kid.bytes().all(is_kid_byte) {
        true => Ok(()),
        false => Err(VerifierError::Kid(kid.to_owned())),
    }
}

fn check_audience(audience: &str) -> Result<(), VerifierError> {
    let fits = (1..=AUDIENCE_LEN_MAX).contains(&audience.len());
    match fits && audience.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(VerifierError::Audience(audience.to_owned())),
    }
}

/// Digits only: `str::parse` would take a sign.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
