//! Questions to and orders for one connected socket.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::SockRef;
use tokio::net::TcpStream;

/// Makes closing this socket send a reset instead of an orderly end.
///
/// For messages cut short: the peer must not take what it has for the whole (RFC 9112 section 8). What was
/// written but not yet acknowledged is lost with it.
///
/// # Errors
///
/// When the socket is not open any more.
pub fn set_linger_reset(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Whether an idle connection must not be used again: the peer ended or reset it, or sent bytes nobody asked
/// for (a late `408` for instance, which would be taken for the answer to the next request).
///
/// Consumes nothing. It asks the kernel, so it knows of everything that has arrived; what arrives later is met when
/// writing.
pub fn peer_closed(stream: &TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    let peek = recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(peek, Err(Errno::WOULDBLOCK))
}
