//! What the control service knows, shared by everything that writes to it and everything that serves from it.
//!
//! One [`Hub`] holds the model and the catalog that is derived from it. Writers call [`Hub::apply`]; readers take short
//! looks with [`Hub::model`] and [`Hub::catalog`]. The [`Publisher`] decides when streams are woken, and [`Streams`]
//! knows who is connected, what they asked for and how far they got, which is what [`Programmed`] is counted from.
//!
//! It does not speak any protocol, persists nothing and spawns nothing; the binary runs the publisher.

mod hub;
mod programmed;
mod publisher;
mod readiness;
mod streams;
mod withdrawn;

pub use crate::{
    hub::Hub,
    programmed::{Programmed, Rejected},
    publisher::{Debounce, Publisher},
    streams::{
        Node, REASON_BYTES_MAX, REJECTIONS_MAX, Rejection, StreamGuard, StreamStatus, Streams, TypeSet,
    },
};
