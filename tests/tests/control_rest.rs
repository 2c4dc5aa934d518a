//! The REST API of the real control service: documents in and out, conditions, problems, watches, lifetimes, tokens.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "control_rest/access.rs"]
mod access;
#[path = "control_rest/commands.rs"]
mod commands;
#[path = "control_rest/documents.rs"]
mod documents;
#[path = "control_rest/files.rs"]
mod files;
#[path = "control_rest/live.rs"]
mod live;
#[path = "control_rest/problems.rs"]
mod problems;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spurline_tests::{
    Control, DEADLINE, Document, Event, Recorder, Rest, TestControl, TestProxy, Watch, eventually,
    eventually_within, free_address, json_of,
};

const CART: &str = "shop/Deployment/cart";

fn cart(name: &str) -> Document {
    Document::sandbox(name).fork(CART, &format!("cart-{name}"), &[([127, 0, 0, 1], 9102).into()])
}

fn status_of(rest: &Rest, method: &str, target: &str, fields: &str, body: &str) -> u16 {
    rest.send(method, target, fields, body).status
}

/// The entity tag of a document.
fn tag(rest: &Rest, document: &Document) -> String {
    let answer = rest.send("GET", &document.target(), "", "");
    answer.field("etag").expect("an ETag").to_owned()
}
