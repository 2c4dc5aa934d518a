//! HTTP as a proxy sees it: one message model and the codecs behind it.
//!
//! This crate is sans-IO: bytes go in, events and bytes come out. It has no sockets, no clock and no
//! environment, so it can be fuzzed, simulated and benched alone. Tokens of HTTP/1 are read by `httparse`;
//! everything a proxy must decide on top of them (framing, targets, hop-by-hop fields, what may be forwarded)
//! is decided here, strictly: a message is accepted only if every peer that follows the specification would
//! see the same framing.
//!
//! It deliberately does not know routing keys, peers, pools, timeouts or metrics.

mod ascii;
mod authority;
mod error;
mod head;
mod hop;
mod limits;
mod name;
mod target;
mod trailer;

pub mod grpc;
pub mod h1;
pub mod h2;

pub use authority::authority_is_valid;
pub use error::Error;
pub use head::{Field, Head, Method, Start, Version};
pub use hop::{ConnectionOptions, connection_options, remove_hop_by_hop};
pub use limits::Limits;
pub use name::Name;
pub use target::{TargetForm, target_form};

/// What a decoder found next in a message body. Together with [`Head`] these are all the events of a message, in
/// every version of HTTP: head, then data, then trailers where there are any, then the end. A reset is an
/// [`Error`] or the transport's own failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEvent {
    /// The input holds no further event; more bytes are needed.
    NeedMore,
    /// Bytes of the body: this range of the input that was given.
    Data(std::ops::Range<usize>),
    /// The trailer section; its fields are in the [`Head`] that was given.
    Trailers,
    /// The body is complete. Bytes after it belong to the next message.
    End,
}

/// How the length of a message body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// Until the connection closes. Only responses.
    Close,
}
