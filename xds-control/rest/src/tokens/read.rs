//! The file of tokens, checked field by field.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use spurline_core::document::Fault;

use super::{KINDS, Scope, Token};

/// A token this short could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 1024;
const TOKENS_MAX: usize = 1000;
const SCOPES_MAX: usize = 64;
/// Too few to give away a token.
const SCOPE_SHOWN_CHARS: usize = 12;
const SCOPES_ALLOWED: &str =
    "read, write, write:sandbox/<prefix>, write:routegroup/<prefix>, write:workload/<prefix>";

pub(super) fn tokens(value: &Value) -> Result<Vec<Token>, Vec<Fault>> {
    let list = value.as_object().filter(|object| object.keys().all(|key| key == "tokens"));
    let list = list.and_then(|object| object.get("tokens")?.as_array());
    let Some(list) = list.filter(|list| !list.is_empty() && list.len() <= TOKENS_MAX) else {
        return Err(vec![fault("", "no list of tokens", r#"{"tokens": [...]} with 1 to 1000 entries"#)]);
    };
    let mut faults = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let Some(token) = token(entry, &format!("/tokens/{index}"), &mut faults) else { continue };
        if tokens.iter().any(|other| other.name == token.name || other.sha256 == token.sha256) {
            let pointer = format!("/tokens/{index}");
            faults.push(fault(&pointer, "the name or the token stands here twice", "one entry per token"));
        }
        tokens.push(token);
    }
    if faults.is_empty() { Ok(tokens) } else { Err(faults) }
}

fn token(entry: &Value, at: &str, faults: &mut Vec<Fault>) -> Option<Token> {
    let Some(entry) = entry.as_object() else {
        faults.push(fault(at, "not an object", "name, sha256 or token, scopes"));
        return None;
    };
    for key in entry.keys().filter(|key| !["name", "sha256", "token", "scopes"].contains(&key.as_str())) {
        faults.push(fault(&format!("{at}/{key}"), "unknown field", "name, sha256 or token, scopes"));
    }
    let name = entry.get("name").and_then(Value::as_str).filter(|name| is_name(name));
    if name.is_none() {
        faults.push(fault(&format!("{at}/name"), "missing or no name", "1 to 63 of A-Z a-z 0-9 . _ -"));
    }
    let sha256 = secret(entry, at, faults);
    let scopes = scopes(entry.get("scopes"), &format!("{at}/scopes"), faults);
    Some(Token { name: name?.into(), sha256: sha256?, scopes: scopes? })
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The hash that is given or that of the token that is given.
fn secret(entry: &Map<String, Value>, at: &str, faults: &mut Vec<Fault>) -> Option<[u8; 32]> {
    let found = match (entry.get("sha256"), entry.get("token")) {
        (Some(sha256), None) => {
            let parsed = sha256.as_str().and_then(hex);
            parsed.ok_or_else(|| fault(&format!("{at}/sha256"), "no SHA-256", "64 hexadecimal digits"))
        }
        (None, Some(token)) => {
            let token = token.as_str().filter(|token| is_token(token));
            token.map(|token| Sha256::digest(token).into()).ok_or_else(|| {
                let allowed = "16 to 1024 of A-Z a-z 0-9 - . _ ~ + / =";
                fault(&format!("{at}/token"), "too short, too long or other characters", allowed)
            })
        }
        _ => Err(fault(at, "needs one of sha256 and token", "sha256 or token, not both")),
    };
    found.map_err(|fault| faults.push(fault)).ok()
}

/// What can stand in a header after `Bearer` (RFC 6750 section 2.1).
fn is_token(token: &str) -> bool {
    (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| (byte << 4) | d)).collect();
    (digits.len() == 64).then_some(())?;
    bytes.try_into().ok()
}

fn scopes(value: Option<&Value>, at: &str, faults: &mut Vec<Fault>) -> Option<Vec<Scope>> {
    let list = value.and_then(Value::as_array).filter(|list| (1..=SCOPES_MAX).contains(&list.len()));
    let Some(list) = list else {
        faults.push(fault(at, "missing, empty or too long", SCOPES_ALLOWED));
        return None;
    };
    let mut scopes = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        match value.as_str().and_then(scope) {
            Some(scope) => scopes.push(scope),
            None => {
                // A scope is no secret, but somebody may have put one in its place.
                let shown: String =
                    value.as_str().unwrap_or_default().chars().take(SCOPE_SHOWN_CHARS).collect();
                let what = format!("unknown scope {shown:?}");
                faults.push(fault(&format!("{at}/{index}"), &what, SCOPES_ALLOWED));
            }
        }
    }
    Some(scopes)
}

fn scope(text: &str) -> Option<Scope> {
    match text {
        "read" => Some(Scope::Read),
        "write" => Some(Scope::Write(None)),
        _ => {
            let (kind, prefix) = text.strip_prefix("write:")?.split_once('/')?;
            let kind = KINDS.into_iter().find(|known| *known == kind)?;
            (prefix.len() <= 512).then(|| Scope::Write(Some((kind, prefix.into()))))
        }
    }
}

fn fault(pointer: &str, what: &str, allowed: &str) -> Fault {
    Fault { pointer: pointer.to_owned(), what: what.to_owned(), allowed: allowed.to_owned() }
}
