//! What the data plane tells its operators: log, access log, metrics.
//!
//! Everything here obeys two rules. A worker never waits: log and access lines go through bounded queues to a
//! thread of their own ([`lines`]), counters are plain stores into the worker's own memory ([`metrics`]). And memory
//! does not grow with traffic, whether or not anybody reads or scrapes.
//!
//! This crate knows no domain types: labels are the closed enums of [`metrics`], access fields are strings and numbers.
//! It serves nothing itself; the admin server renders [`metrics::Registry`].

pub mod access;
mod error;
pub mod lines;
pub mod log;
pub mod metrics;

pub use error::TelemetryError;
