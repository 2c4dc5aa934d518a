//! Mistakes in settings and how they are told.

use std::fmt;

use crate::{defs::Setting, raw::Source};

/// The process ends now: print `message` to standard error and exit with `code`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Exit {
    /// Exit code.
    pub code: u8,
    /// One line per mistake.
    pub message: String,
}

/// One mistake, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(String);

impl Exit {
    /// `EX_USAGE` of sysexits(3).
    pub const USAGE: u8 = 64;

    pub(crate) fn usage(problems: &[Problem]) -> Self {
        let lines: Vec<_> = problems.iter().map(|Problem(line)| line.as_str()).collect();
        Self { code: Self::USAGE, message: lines.join("\n") }
    }
}

impl Problem {
    /// A mistake that belongs to no single value.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }

    /// `setting (flag --x): value "v": reason; allowed: ...`
    pub(crate) fn of_value(
        setting: &Setting,
        source: &Source,
        value: &str,
        reason: impl fmt::Display,
    ) -> Self {
        let Setting { name, kind, .. } = setting;
        let origin = source.describe(setting);
        Self(format!("{name} ({origin}): value {value:?}: {reason}; allowed: {}", kind.allowed()))
    }
}
