//! The REST API: sandboxes, route groups and workloads, kept in a local store and watched as server-sent events, and
//! the Routes API over HTTP.
//!
//! A [`Store`] keeps what was written, the [`Writer`] alone writes it, and [`router`] serves it. What documents mean is
//! decided in `spurline-core`; which proxies have them is known to `spurline-hub`.
//!
//! It opens no sockets and speaks no TLS; who may listen without tokens is decided by whoever does.

mod api;
mod feed;
mod metrics;
mod problem;
mod store;
mod tokens;
mod writer;

pub use crate::{
    api::{CallerName, FileOf, Hosts, Preconditions, Settings, duration, router},
    store::{Store, StoreError},
    tokens::{Tokens, TokensError},
    writer::{Clock, StartError, Writer},
};
