//! What subscriptions ask for.

use std::{fmt, sync::Arc};

use spurline_route::Workload;

/// The longest name that a subscription may have, in bytes.
pub const PATTERN_LEN_MAX: usize = 512;

/// Which resources of a type a subscription is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// All: `*`.
    All,
    /// All whose names begin so: `namespace/Kind/name/` of `namespace/Kind/name/*`.
    Prefix(Arc<str>),
    /// The one of this name.
    Exact(Arc<str>),
}

/// Why some text is not a [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than [`PATTERN_LEN_MAX`].
    #[error("the name of a subscription has at most {PATTERN_LEN_MAX} bytes")]
    TooLong,
    /// Nothing, or a byte that no name has.
    #[error("the name of a subscription is 1 or more of A-Z a-z 0-9 . _ - /, or *, or ends with /*")]
    Grammar,
    /// What stands before `/*` is not a workload.
    #[error("only the overrides of one workload can be asked for together, as namespace/Kind/name/*")]
    Prefix,
}

// === impl Pattern ===

impl Pattern {
    /// Reads the name of a subscription.
    ///
    /// # Errors
    /// When it is too long or breaks the grammar.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(PatternError::TooLong);
        }
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_of_names) {
            return Err(PatternError::Grammar);
        }
        if !prefix {
            return Ok(Self::Exact(name.into()));
        }
        let workload = name.strip_suffix('/').and_then(|workload| Workload::parse(workload).ok());
        workload.map(|_| Self::Prefix(name.into())).ok_or(PatternError::Prefix)
    }

    /// Whether a resource of this name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => name.starts_with(prefix.as_ref()),
            Self::Exact(exact) => name == exact.as_ref(),
        }
    }
}

/// As it was written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(name) => f.pad(name),
        }
    }
}
