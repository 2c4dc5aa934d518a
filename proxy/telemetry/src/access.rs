//! The access log: one JSON object per request, off unless asked for.
//!
//! Field names and their order are fixed. A target is written as it was received, without its query: queries carry
//! credentials. Bodies, cookies and header values never appear; the routing key does.

mod entry;

use std::{cell::RefCell, fs::OpenOptions, io, path::PathBuf, time::Duration};

pub use entry::{AccessEntry, Flag, Flags};

use crate::{
    error::TelemetryError,
    lines::{Lines, LinesGuard},
    metrics::{Counter, Shared},
};

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere: nothing is formatted either.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error, between the lines of the process log.
    Stderr,
    /// Appended to this file, which is created when missing and kept open: rotate it with copy and truncate.
    File(PathBuf),
}

/// One worker's access log. A clone for another worker writes to the same target.
#[derive(Debug)]
pub struct AccessLog {
    lines: Option<Lines>,
    /// Reused for every line of this worker.
    scratch: RefCell<Vec<u8>>,
}

/// Keep it until the last worker is done, then flush it.
#[derive(Debug)]
#[must_use = "the last access-log lines are lost unless the guard is flushed"]
pub struct AccessGuard(Option<LinesGuard>);

// === impl AccessLog ===

impl AccessLog {
    /// Opens `target` and starts the thread that writes to it. Lost lines count as `access_log_dropped_total`.
    ///
    /// # Errors
    /// [`TelemetryError::AccessLog`] when the file cannot be opened, [`TelemetryError::Thread`].
    pub fn open(target: &AccessTarget, metrics: Shared) -> Result<(Self, AccessGuard), TelemetryError> {
        let output: Box<dyn io::Write + Send> = match target {
            AccessTarget::Off => return Ok((Self::off(), AccessGuard(None))),
            AccessTarget::Stdout => Box::new(io::stdout()),
            AccessTarget::Stderr => Box::new(io::stderr()),
            AccessTarget::File(path) => Box::new(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|source| TelemetryError::AccessLog { path: path.clone(), source })?,
            ),
        };
        let (lines, guard) = Lines::start("access-log", output, metrics, Counter::AccessLogDropped)?;
        Ok((Self { lines: Some(lines), scratch: RefCell::default() }, AccessGuard(Some(guard))))
    }

    /// An access log that drops everything.
    #[must_use]
    pub fn off() -> Self {
        Self { lines: None, scratch: RefCell::default() }
    }

    /// Whether [`AccessLog::write`] does anything; ask before collecting what only an entry needs.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Queues one line. Never waits.
    pub fn write(&self, entry: &AccessEntry<'_>) {
        let Some(lines) = &self.lines else { return };
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        // Neither the serialiser nor a Vec can refuse an entry: all keys are strings, all values finite.
        if serde_json::to_writer(&mut *scratch, entry).is_ok() {
            scratch.push(b'\n');
            lines.send(&scratch);
        }
    }
}

impl Clone for AccessLog {
    fn clone(&self) -> Self {
        Self { lines: self.lines.clone(), scratch: RefCell::default() }
    }
}

// === impl AccessGuard ===

impl AccessGuard {
    /// Writes what is queued; false when the target took longer than `deadline`.
    pub fn flush(self, deadline: Duration) -> bool {
        self.0.is_none_or(|guard| guard.flush(deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    #[test]
    fn a_file_gets_one_line_per_entry_and_is_appended_to() {
        let (registry, _) = Registry::new(0, "0");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        for _ in 0..2 {
            let (log, guard) = AccessLog::open(&AccessTarget::File(path.clone()), registry.shared()).unwrap();
            assert!(log.is_on());
            log.write(&AccessEntry::default());
            log.clone().write(&AccessEntry::default());
            assert!(guard.flush(Duration::from_secs(10)));
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
        let (registry, _) = Registry::new(0, "0");
        let target = AccessTarget::File("/nonexistent/access.log".into());
        let error = AccessLog::open(&target, registry.shared()).unwrap_err();
        assert_eq!(error.to_string(), "access log /nonexistent/access.log cannot be opened");
    }

    #[test]
    fn off_is_off() {
        let (registry, _) = Registry::new(0, "0");
        let (log, guard) = AccessLog::open(&AccessTarget::Off, registry.shared()).unwrap();
        assert!(!log.is_on());
        log.write(&AccessEntry::default());
        assert!(guard.flush(Duration::ZERO));
    }
}
