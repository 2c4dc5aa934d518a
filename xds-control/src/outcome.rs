//! How a command that did not do what was asked says so.

use std::fmt::Display;

/// Why it did not, for people, and an exit code for programs.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

// === impl Failure ===

impl Failure {
    /// Wrong settings or arguments (`EX_USAGE` of sysexits.h).
    pub(crate) const USAGE: u8 = 64;

    /// It was tried and did not work.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// It is done, but not every proxy has it.
    pub(crate) fn not_programmed(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// It cannot be tried like this.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: Self::USAGE }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Both messages, and the lower code: who retries what was only late must not overlook what failed.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self { message: format!("{}\n{}", self.message, other.message), code: self.code.min(other.code) }
    }
}
