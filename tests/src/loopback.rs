//! Free addresses for what a child process binds itself.
//!
//! A port found by binding port 0 can be taken by somebody's outgoing connection before the child binds it. Outgoing
//! loopback connections use 127.0.0.1, so every address handed out here is on an address of its own in 127/8.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address with a port that was free a moment ago and that nobody else is told.
pub fn free_address() -> SocketAddr {
    let process = std::process::id();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = process.to_be_bytes();
    let last = u8::try_from(next % 250).unwrap_or(0) + 2;
    let address = Ipv4Addr::new(127, 64 | (high & 0x3f), low, last);
    let listener = TcpListener::bind((IpAddr::V4(address), 0)).expect("bind a loopback address");
    listener.local_addr().expect("the address of a bound listener")
}
