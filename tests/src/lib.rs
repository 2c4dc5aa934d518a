//! The harness: what a suite needs to watch the real `spurline-proxy` binary from both sides.
//!
//! Four nouns, built by chaining: [`TestProxy`] (the binary under test), [`Recorder`] (a strict upstream that keeps
//! every byte and judges it), [`RawClient`] (a client that says exactly the bytes it is told) and [`Pod`] (a network
//! namespace with real redirection). Around them: [`ledger`] (accounts for every request of a load), [`Relay`]
//! (injects faults between proxy and upstream), [`servers`] (real nginx, HAProxy, Node, Python, Redis, PostgreSQL).
//!
//! It deliberately shares no code with the proxy: [`wire`] is a second reading of RFC 9112, so that a mistake of the
//! codec is not repeated by its judge. Everything is blocking `std`; a thread per peer is what a test can be reasoned
//! about with. Nothing sleeps to synchronise: waits have a condition and a deadline ([`eventually()`]).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a harness fails a test by panicking, and tells on stdout what it skipped"
)]

mod client;
mod control;
mod disk;
mod eventually;
pub mod h2;
pub mod ledger;
mod loopback;
mod pod;
mod process;
mod proxy;
mod recorder;
mod relay;
mod routes;
pub mod servers;
pub mod wire;
pub mod xds;

pub use client::{End, RawClient, ReadError, Transcript};
pub use control::{Control, Document, Event, Rest, TestControl, Watch, control_binary, json_of};
pub use disk::SmallDisk;
pub use eventually::{DEADLINE, eventually, eventually_within};
pub use loopback::free_address;
pub use pod::{Pod, Redirect, skip_netns};
pub use process::{Finished, Process, run, tool};
pub use proxy::{Builder, Metrics, TestProxy, binary};
pub use recorder::{Gate, Recorded, Recorder, Step};
pub use relay::{Fault, Relay};
pub use routes::{Override, Routes};
