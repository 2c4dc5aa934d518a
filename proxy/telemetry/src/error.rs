//! The errors of this crate: all of them are errors of setting up, never of recording.

use std::{io, path::PathBuf};

/// Why a log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The file of the access log could not be opened for appending.
    #[error("access log {} cannot be opened", path.display())]
    AccessLog {
        /// The file as configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A second subscriber in one process.
    #[error("logging is already initialised in this process")]
    AlreadyInitialised,
    /// A log level or filter that cannot be understood; nothing changed.
    #[error("log level {level:?} is neither off|error|warn|info|debug|trace nor a list of target=level")]
    Level {
        /// What was asked for.
        level: String,
    },
    /// The thread that writes lines could not be started.
    #[error("the thread {name} cannot be started")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
