//! HTTP/1.1 (RFC 9112), both roles: heads are read from and written to bytes, bodies are read event by event.
//!
//! Not here: when to read or write, and whether a connection is used again after a message; the relay decides that
//! from what these functions return.

mod body;
mod encode;
mod parse;
mod request;
mod response;
mod trailers;
mod upgrade;

pub use body::BodyDecoder;
pub use encode::{
    Persistence, ResponseEncoding, encode_chunk, encode_last_chunk, encode_request, encode_response,
};
pub use request::{RequestHead, read_request};
pub use response::{ResponseHead, read_response};
pub use upgrade::{Upgrade, accepted_protocol, requested_upgrade};
