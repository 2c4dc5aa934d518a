//! Bearer tokens: who a request comes from, and what it may do (RFC 6750).
//!
//! A token's SHA-256 is compared, in constant time and with every known one, so that neither the time nor the memory
//! of the process gives a token away. This is no defence against guessing: tokens have to be long and random.

mod read;

use std::{fmt, fs, hint::black_box, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use spurline_core::document::Fault;

/// The kinds of documents that a scope can name.
const KINDS: [&str; 3] = ["sandbox", "routegroup", "workload"];

/// The tokens that may use the API.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<[Arc<Token>]>);

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    /// It is no JSON.
    #[error("{path}: is not JSON: {error}; allowed: {{\"tokens\": [...]}}")]
    NoJson { path: String, error: serde_json::Error },
    /// It says something that is not allowed. No token is quoted.
    #[error("{path}: {}", list(faults))]
    Faults { path: String, faults: Vec<Fault> },
}

pub(crate) struct Token {
    name: Arc<str>,
    sha256: [u8; 32],
    scopes: Vec<Scope>,
}

/// One thing a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Read,
    /// Everything, or what is of this kind and whose name begins like this.
    Write(Option<(&'static str, Box<str>)>),
}

// === impl Tokens ===

impl Tokens {
    /// Reads a file of the form
    /// `{"tokens": [{"name": "ci", "sha256": "<hex>", "scopes": ["read", "write:sandbox/ci-"]}]}`.
    ///
    /// Instead of `sha256` an entry may hold the `token` itself. Scopes are `read`, `write` and
    /// `write:<kind>/<prefix>` with a kind of `sandbox`, `routegroup` or `workload`; none implies another.
    ///
    /// # Errors
    /// When the file cannot be read or breaks that form, with everything that is wrong at once.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let shown = || path.display().to_string();
        let text = fs::read(path).map_err(|error| TokensError::Unreadable { path: shown(), error })?;
        let value =
            serde_json::from_slice(&text).map_err(|error| TokensError::NoJson { path: shown(), error })?;
        let tokens = read::tokens(&value).map_err(|faults| TokensError::Faults { path: shown(), faults })?;
        Ok(Self(tokens.into_iter().map(Arc::new).collect()))
    }

    /// How many there are; never none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The token that `presented` is, if any. Takes the same time whichever it is.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<&Arc<Token>> {
        let sha256: [u8; 32] = Sha256::digest(presented).into();
        self.0.iter().fold(None, |found, token| {
            if is_equal(black_box(&token.sha256), black_box(&sha256)) { Some(token) } else { found }
        })
    }
}

// === impl Token ===

impl Token {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn may_read(&self) -> bool {
        self.scopes.contains(&Scope::Read)
    }

    /// `kind` in lower case.
    pub(crate) fn may_write(&self, kind: &str, name: &str) -> bool {
        self.scopes.iter().any(|scope| match scope {
            Scope::Read => false,
            Scope::Write(None) => true,
            Scope::Write(Some((of, prefix))) => *of == kind && name.starts_with(&**prefix),
        })
    }
}

/// A token is never shown, not even its hash.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

fn is_equal(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}: {}; allowed: {}", fault.pointer, fault.what, fault.allowed))
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests;
