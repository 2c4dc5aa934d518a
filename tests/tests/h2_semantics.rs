//! HTTP/2 through the proxy: streams, resets, going away, windows, and every pair of versions.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "h2_semantics/away.rs"]
mod away;
#[path = "h2_semantics/neighbours.rs"]
mod neighbours;
#[path = "h2_semantics/pairs.rs"]
mod pairs;
#[path = "h2_semantics/storms.rs"]
mod storms;
#[path = "h2_semantics/streams.rs"]
mod streams;
#[path = "h2_semantics/websocket.rs"]
mod websocket;

use std::net::SocketAddr;

use spurline_tests::{Builder, TestProxy};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";

/// A sidecar listener before an upstream, with more keys.
fn listening(upstream: SocketAddr, more: &str) -> Builder {
    let keys = format!("workload={WORKLOAD},port=8080,baseline={upstream}{more}");
    TestProxy::build().listener("app", &keys)
}

/// The same before an upstream of HTTP/2.
fn before_http2(upstream: SocketAddr) -> Builder {
    listening(upstream, ",upstream_protocol=http2")
}
