//! Listening sockets.
//!
//! Only opens them; [`crate::Acceptor`] accepts. No `SO_REUSEPORT`: one acceptor hands connections to the
//! workers evenly, whereas the kernel's hash lets one worker starve beside an idle one.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How a listening socket is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections the kernel completes ahead of `accept`. The kernel clamps it to `net.core.somaxconn`.
    pub backlog: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096 }
    }
}

/// Opens a non-blocking listening socket on `addr`.
///
/// `SO_REUSEADDR` is set, so that a restart does not wait for `TIME_WAIT`, and `TCP_NODELAY`, which what is accepted
/// inherits; whether `[::]` takes IPv4 too is left to the system's `bindv6only`.
///
/// # Errors
///
/// The system's error with its kind, worded with the address and, where there is one, what to do about it.
pub fn listen(addr: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let ListenOptions { backlog } = options;
    open(addr, backlog).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}{}", hint(error.kind())))
    })
}

fn open(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Linux does not hand it down to what is in the backlog already when it is set.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "; another process holds this port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has this address",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_a_hint() {
        let first = listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = listen(addr, ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
        assert!(error.to_string().contains("another process"), "{error}");
    }

    #[test]
    fn an_address_of_another_host_is_named_with_a_hint() {
        let error = listen("192.0.2.1:0".parse().unwrap(), ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("no interface"), "{error}");
    }
}
