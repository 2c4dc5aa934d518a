//! HTTP/2 without a stack: a client and an upstream that say exactly what they are told, frame by frame, and read strictly.
//!
//! [`Client`] keeps what comes on each of its streams; [`Upstream`] keeps what it was asked and plays what a script says.
//! Both acknowledge settings, answer pings and open windows, unless a test wants them not to ([`Manners`]).

pub mod attack;
mod client;
mod connection;
mod upstream;

use crate::client::End;
use crate::wire::hpack::Pair;

pub use client::{Answer, Client};
pub use connection::Manners;
pub use upstream::{Asked, Play, Respond, Upstream};

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// In order.
    Whole,
    /// Reset with this code.
    Reset(u32),
    /// Its connection ended before.
    Lost(End),
}

/// Fields from text.
pub fn fields(list: &[(&str, &str)]) -> Vec<Pair> {
    list.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// The head of a request to `app.test`.
pub fn request(method: &str, target: &str, more: &[(&str, &str)]) -> Vec<Pair> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", target)];
    fields(&[&pseudo[..], more].concat())
}

/// The first value of a field as text.
pub fn field<'a>(list: &'a [Pair], name: &str) -> Option<&'a str> {
    let found = list.iter().find(|(known, _)| known == name.as_bytes());
    found.and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// What is wrong with a field section, if anything is (RFC 9113 section 8.2 and 8.3).
fn objection(list: &[Pair], trailers: bool) -> Option<String> {
    let mut regular = trailers;
    for (name, value) in list {
        let shown = || format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        if name.first() == Some(&b':') {
            if regular {
                return Some(format!("a late pseudo-header field {}", shown()));
            }
            continue;
        }
        regular = true;
        let token = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && *byte != b':';
        if name.is_empty() || !name.iter().all(token) {
            return Some(format!("no field name: {}", shown()));
        }
        let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
            || edge(value.first())
            || edge(value.last())
        {
            return Some(format!("no field value: {}", shown()));
        }
        let te = name == b"te" && value != b"trailers";
        let hop = [&b"connection"[..], b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
        if te || hop.contains(&&name[..]) {
            return Some(format!("a field of a connection: {}", shown()));
        }
    }
    None
}
