//! Metrics: one table of series, one shard of counters per worker, summed when somebody scrapes.
//!
//! ```text
//! worker 0 ── Shard ──┐
//! worker 1 ── Shard ──┼── Registry::render() ── text for /metrics
//! other    ── Shared ─┘
//! ```
//!
//! A [`Shard`] has one writer, so counting is a load, an add and a store without a locked instruction, in memory no
//! other worker touches. All series exist from the start: memory is constant, a scrape never sees a series appear, and
//! no peer can create one. For the same reason a routing key, a workload or a host is never a label.
//!
//! To add a series, add a line to `defs.rs` (a family) or `labels.rs` (a label value) and regenerate the reference page.

mod defs;
mod labels;
mod process;
mod reference;
mod registry;
mod shard;

pub use defs::{Counter, Gauge, Histogram};
pub use labels::{
    Breaker, By, CarrierLabel, Closing, ConnectResult, ControlDirection, Detected, Direction, FileUpdate,
    Flood, Handshake, Limit, ListenerKind, Reason, Refusal, ResourceUpdate, RetryReason, SelectionLabel,
    Side, SnapshotEvent, StatusClass, StreamEnd, TableUpdate, TunnelKind,
};
pub use reference::reference;
pub use registry::{CONTENT_TYPE, Registry};
pub use shard::{Shard, Shared};
