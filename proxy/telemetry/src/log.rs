//! The process log: `tracing` events to stderr as text or JSON, with a level that can be changed while running.
//!
//! Events pass through a queue ([`crate::lines`]), so a blocked stderr costs log lines and not requests. It logs what
//! operators act on; one line per request is the access log's business.

use std::{fmt, io, time::Duration};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt::MakeWriter, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::{
    error::TelemetryError,
    lines::{Lines, LinesGuard},
    metrics::{Counter, Shared},
};

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, target, message, fields.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Reads and changes the log level of the running process. Clones change the same level.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

/// Keep it until the process ends, then flush it.
#[derive(Debug)]
#[must_use = "the last log lines are lost unless the guard is flushed"]
pub struct LogGuard(LinesGuard);

/// Installs the log of this process. `level` is `off|error|warn|info|debug|trace` or a list of `target=level`.
///
/// # Errors
/// [`TelemetryError::Level`], [`TelemetryError::Thread`], or [`TelemetryError::AlreadyInitialised`] on a second call.
pub fn init(
    level: &str,
    format: LogFormat,
    metrics: Shared,
) -> Result<(LevelHandle, LogGuard), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let (lines, guard) = Lines::start("log", Box::new(io::stderr()), metrics, Counter::LogDropped)?;
    let output = tracing_subscriber::fmt::layer().with_writer(Queue(lines)).with_ansi(false);
    let output = match format {
        LogFormat::Text => output.boxed(),
        LogFormat::Json => output.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .try_init()
        .map_err(|_| TelemetryError::AlreadyInitialised)?;
    Ok((LevelHandle(handle), LogGuard(guard)))
}

/// `EnvFilter` alone takes any word for a target to be logged in full, so `verbose` would mean `trace` for nobody.
fn parse(level: &str) -> Result<EnvFilter, TelemetryError> {
    let plausible = level.split(',').all(|part| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        matches!(level.trim(), "off" | "error" | "warn" | "info" | "debug" | "trace")
    });
    plausible
        .then(|| EnvFilter::builder().parse(level).ok())
        .flatten()
        .ok_or_else(|| TelemetryError::Level { level: level.to_owned() })
}

// === impl LevelHandle ===

impl LevelHandle {
    /// Changes the level for all threads, from the next event on.
    ///
    /// # Errors
    /// [`TelemetryError::Level`] when `level` cannot be understood; the old one stays.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = parse(level)?;
        self.0.reload(filter).map_err(|_| TelemetryError::Level { level: level.to_owned() })
    }

    /// The level in force.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LevelHandle").field(&self.get()).finish()
    }
}

// === impl LogGuard ===

impl LogGuard {
    /// Writes what is queued; false when stderr took longer than `deadline`.
    pub fn flush(self, deadline: Duration) -> bool {
        self.0.flush(deadline)
    }
}

/// Lets `tracing` write its finished lines into the queue; it writes each event with one call.
struct Queue(Lines);

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list_of_targets() {
        for level in ["off", "info", "warn,spurline_app=debug", "spurline_net=trace"] {
            assert!(parse(level).is_ok(), "{level}");
        }
        for level in ["", "verbose", "info,", "spurline_app=loud", "INFO!"] {
            assert!(parse(level).is_err(), "{level}");
        }
    }
}
