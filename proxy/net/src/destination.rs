//! Where a redirected connection was headed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use socket2::SockRef;

/// The destination a connection had before the kernel redirected it (`SO_ORIGINAL_DST`, for IPv6
/// `IP6T_SO_ORIGINAL_DST`), or `None` when nothing redirected it.
///
/// Works for `REDIRECT` and `DNAT` of iptables and nft. An IPv4 connection to a dual-stack socket is answered
/// with a plain IPv4 address. `None` also stands for a connection that was sent to the listener's own address:
/// connecting "back" to it would be a loop. Under `TPROXY` nothing is rewritten: the local address is the
/// destination already, and this is `None`.
///
/// # Errors
///
/// Whatever the system says besides "there is no record of this connection", on a socket that is no longer
/// connected for instance.
pub fn original_destination(socket: &impl AsFd) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(socket);
    let Some(local) = socket.local_addr()?.as_socket() else { return Ok(None) };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let answer = match local.ip() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    match answer {
        Ok(original) => Ok(original.as_socket().filter(|original| !same_place(original, &local))),
        Err(error) if is_unrecorded(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Compares without scope and flow label, which conntrack does not keep.
fn same_place(a: &SocketAddr, b: &SocketAddr) -> bool {
    a.ip() == b.ip() && a.port() == b.port()
}

/// Without a conntrack entry the answer is `ENOENT`; without conntrack or its option there is no such option.
fn is_unrecorded(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOPROTOOPT | Errno::OPNOTSUPP))
}
