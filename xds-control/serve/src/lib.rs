//! The sockets of the control service: where it listens, who may connect, and how connections end.
//!
//! [`Server::bind`] takes a [`Listen`] address, optionally [`Tls`] whose files are read again when they change, and
//! [`Limits`]; [`Server::serve`] runs an `axum::Router` on it over HTTP/1.1 and HTTP/2, or the latter alone, until it is
//! told to drain. Every request carries a [`Peer`] extension that says who sent it. [`must_authenticate`] is the rule
//! which addresses may be served without authentication.
//!
//! It knows nothing of what is served: no paths, no bearer tokens, no metrics library ([`Counters`] are plain numbers).

mod counters;
mod first_bytes;
mod listen;
mod peer;
mod server;
mod tls;
mod unread;

use std::{io, path::PathBuf};

pub use self::{
    counters::Counters,
    listen::{Listen, Tokens, must_authenticate},
    peer::{Identity, Peer},
    server::{Limits, Server, Versions},
    tls::{Tls, TlsFiles},
};

/// Why something cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "listen address \"{text}\"; allowed: an IP address and a port such as 127.0.0.1:7777, or unix:/path"
    )]
    Address { text: String },
    #[error(
        "{listen} is reachable from other machines and has no authentication; allowed: {allowed}, \
         a loopback address, or unix:/path"
    )]
    Unauthenticated { listen: Listen, allowed: &'static str },
    #[error("cannot listen on {listen}: {error}")]
    Bind { listen: Listen, error: io::Error },
    #[error("cannot listen on {listen}: another process listens there")]
    InUse { listen: Listen },
    #[error("cannot listen on {listen}: the path exists and is not a socket")]
    NotASocket { listen: Listen },
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: {what}", .path.display())]
    Tls { path: PathBuf, what: String },
}
