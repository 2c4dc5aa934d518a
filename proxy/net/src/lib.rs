//! Sockets for the data plane: listening and accepting, original destination, protocol detection,
//! connecting, TLS, byte tunnels and drain.
//!
//! This crate moves bytes and knows nothing of what they mean: no HTTP, no routing keys, no settings and
//! no metrics. What an operator may want to count comes back as a return value or through a callback.

mod accept;
mod buffer;
mod connect;
mod destination;
mod detect;
pub mod drain;
mod limit;
mod listen;
mod socket;
pub mod tls;
mod transport;
mod tunnel;

pub use accept::{AcceptFault, Accepted, Acceptor};
pub use buffer::{BUFFER_BYTES, Buffer};
pub use connect::{ConnectError, connect, connect_tls};
pub use destination::original_destination;
pub use detect::{DETECT_BYTES_MAX, Detection, detect};
pub use limit::descriptor_limit;
pub use listen::{ListenOptions, listen};
pub use socket::{peer_closed, set_linger_reset};
pub use transport::{Secure, Session, Transport};
pub use tunnel::{Side, Tunnel, TunnelCause, TunnelEnd, TunnelOptions, TunnelTraffic};
