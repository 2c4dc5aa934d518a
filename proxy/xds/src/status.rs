//! What an operator may want to know of the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the table in force comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing was received yet, nor found on disk.
    #[default]
    None,
    /// From disk; the control service has not been heard since the start, or not completely.
    Snapshot,
    /// From the control service.
    Control,
}

/// A resource or response that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The name of the resource, or the type of the response.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
    /// When it came.
    pub at_unix_s: u64,
}

/// The state of a client. Times are in seconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where the table in force comes from.
    pub source: Source,
    /// The server whose stream is open.
    pub server: Option<String>,
    /// Since when it is.
    pub connected_since_unix_s: Option<u64>,
    /// When something was last received.
    pub last_contact_unix_s: Option<u64>,
    /// When a table was last put in force.
    pub last_update_unix_s: Option<u64>,
    /// Resources that are known, each of one version.
    pub resources: usize,
    /// The last that was rejected.
    pub last_rejection: Option<Rejection>,
    /// How the last stream ended, or why there was none.
    pub last_error: Option<String>,
    /// When the snapshot in use, or last written, was written.
    pub snapshot_saved_unix_s: Option<u64>,
}

/// A shared view of the state.
#[derive(Clone, Debug, Default)]
pub struct StatusHandle(Arc<Mutex<Status>>);

// === impl Source ===

impl Source {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snapshot => "snapshot",
            Self::Control => "control",
        }
    }
}

// === impl StatusHandle ===

impl StatusHandle {
    /// The state now.
    #[must_use]
    pub fn read(&self) -> Status {
        self.lock().clone()
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Status)) {
        edit(&mut self.lock());
    }

    /// Every edit leaves a state that makes sense, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
