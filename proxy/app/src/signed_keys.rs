//! The file of keys with which routing keys are signed.

use std::path::Path;

use serde::Deserialize;
use spurline_route::{KeyMaterial, Verifier, VerifyingKey};

use crate::AppError;

/// How far the clocks of signer and proxy may be apart.
const SKEW_SECONDS: u64 = 60;
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One entry: a key id and one of the two kinds of key, in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kid: String,
    hmac: Option<String>,
    ed25519: Option<String>,
}

/// Reads the keys from a YAML list of `{kid, hmac}` or `{kid, ed25519}`.
///
/// # Errors
/// What is wrong with the file; never what is in it.
pub(crate) fn read(path: &Path, audience: &str) -> Result<Verifier, AppError> {
    let fail = |reason: String| AppError::SignedKeys { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(fail(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let entries: Vec<Entry> = serde_saphyr::from_str(&text)
        .map_err(|_| fail("not a list of {kid, hmac: base64} or {kid, ed25519: base64}".to_owned()))?;
    let keys = entries
        .into_iter()
        .map(|entry| {
            let kid = entry.kid.clone();
            key(entry)
                .ok_or_else(|| fail(format!("key {kid}: needs hmac or ed25519, one of them, in base64")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Verifier::new(keys, audience, SKEW_SECONDS).map_err(|error| fail(error.to_string()))
}

fn key(entry: Entry) -> Option<VerifyingKey> {
    let material = match (entry.hmac, entry.ed25519) {
        (Some(secret), None) => KeyMaterial::Hmac(decode(&secret)?),
        (None, Some(public)) => KeyMaterial::Ed25519(decode(&public)?),
        _ => return None,
    };
    Some(VerifyingKey { kid: entry.kid, material })
}

/// Base64 with or without padding (RFC 4648 sections 4 and 5).
fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose};
    let text = text.trim().trim_end_matches('=');
    general_purpose::STANDARD_NO_PAD
        .decode(text)
        .or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(text))
        .ok()
}
