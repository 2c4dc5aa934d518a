//! HTTP/2 (RFC 9113), both roles: a [`Connection`] turns bytes into events of its streams and what is sent on them into
//! bytes. Heads are the same as HTTP/1 has, so whatever stands between does not ask which version a peer speaks.
//!
//! Not here: sockets, clocks, and who waits for which stream; the relay passes these in and decides.

mod budget;
mod connection;
mod error;
mod flow;
mod frame;
mod head;
pub(crate) mod hpack;
mod settings;
mod stream;

pub use budget::Rate;
pub use connection::{Connection, End, Event, GoAway, Gone, OpenError, ResetBy, Role, StreamStatus};
pub use error::{ErrorCode, Flood, Violation};
pub use head::{HeadMeta, Scheme, Section};
pub use hpack::{BlockError, Decoder, Encoder};
pub use settings::Settings;
pub use stream::StreamId;
