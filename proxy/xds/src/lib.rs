//! The control service's client: from its resources to a route table, and a snapshot of them on disk.
//!
//! ```text
//! link ── events ──> engine ── session ──> mirror ──> route table, swapped for all workers at once
//!  │ one stream         │        │            │
//!  │ after another      │        │ protocol   └ what is known, and the table that follows from it
//!  └ sockets, TLS       └ snapshot on disk, readiness, status
//! ```
//!
//! [`Client`] is all that a proxy needs. `link` connects and waits; the engine does everything else, on the same thread,
//! and no worker ever waits for it. [`decode`], [`mirror`], [`session`] and [`snapshot`]'s format see neither sockets nor
//! clocks. What the server sends is checked, resource by resource: a wrong one changes nothing, is named to the server
//! with the reason, and its neighbours count.
//!
//! It does not decide where a request goes, and knows only delta discovery and the three resource types of
//! `spurline.routing.v1`.

mod backoff;
mod client;
pub mod decode;
mod engine;
mod known;
mod link;
pub mod mirror;
mod resource;
pub mod session;
mod settings;
pub mod snapshot;
mod status;

pub use crate::{
    client::{Client, Outputs},
    known::{Known, Record},
    resource::ResourceType,
    settings::{Identity, Node, Scope, Server, Settings, Timing, Tls},
    status::{Rejection, Source, Status, StatusHandle},
};
