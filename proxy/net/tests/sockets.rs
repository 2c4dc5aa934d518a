//! Accepting, connecting and the questions to one socket, over loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use spurline_net::{
    Acceptor, ConnectError, ListenOptions, connect, listen, original_destination, peer_closed,
    set_linger_reset,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn listening(addr: &str) -> (TcpListener, SocketAddr) {
    let listener = listen(addr.parse().unwrap(), ListenOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn acceptor(listeners: Vec<TcpListener>) -> Acceptor {
    Acceptor::new(listeners, |fault| panic!("unexpected {fault:?}")).unwrap()
}

/// A connected pair: the pooled connection under test, and its peer.
async fn pooled() -> (tokio::net::TcpStream, TcpStream) {
    let (listener, addr) = listening("127.0.0.1:0");
    let stream = connect(addr, PATIENCE).await.unwrap();
    let peer = acceptor(vec![listener]).accept().await.stream;
    peer.set_nonblocking(false).unwrap();
    (stream, peer)
}

async fn becomes_closed(stream: &tokio::net::TcpStream) {
    timeout(PATIENCE, stream.readable()).await.expect("an event").unwrap();
    assert!(peer_closed(stream));
    assert!(peer_closed(stream), "asking consumes nothing");
}

// === accepting ===

#[tokio::test]
async fn an_accepted_connection_is_ready_for_any_runtime() {
    let (listener, addr) = listening("127.0.0.1:0");
    let client = TcpStream::connect(addr).unwrap();
    let accepted = acceptor(vec![listener]).accept().await;
    assert_eq!(accepted.peer, client.local_addr().unwrap());
    assert!(accepted.stream.nodelay().unwrap());
    let mut stream = accepted.stream;
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn listeners_take_turns() {
    let (first, first_addr) = listening("127.0.0.1:0");
    let (second, second_addr) = listening("127.0.0.1:0");
    let _clients: Vec<_> = (0..20)
        .flat_map(|_| [TcpStream::connect(first_addr).unwrap(), TcpStream::connect(second_addr).unwrap()])
        .collect();
    let mut acceptor = acceptor(vec![first, second]);
    let mut taken = Vec::new();
    for _ in 0..40 {
        taken.push(acceptor.accept().await.listener);
    }
    assert_eq!(taken, [0, 1].repeat(20));
}

#[tokio::test]
async fn a_dropped_accept_loses_no_connection() {
    let (listener, addr) = listening("127.0.0.1:0");
    let mut acceptor = acceptor(vec![listener]);
    for _ in 0..50 {
        assert!(timeout(Duration::ZERO, acceptor.accept()).await.is_err());
        let client = TcpStream::connect(addr).unwrap();
        let accepted = timeout(PATIENCE, acceptor.accept()).await.unwrap();
        assert_eq!(accepted.peer, client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn connections_reset_in_the_backlog_do_not_stop_the_loop() {
    let (listener, addr) = listening("127.0.0.1:0");
    for _ in 0..100 {
        set_linger_reset(&TcpStream::connect(addr).unwrap()).unwrap();
    }
    let client = TcpStream::connect(addr).unwrap();
    let mut acceptor = Acceptor::new(vec![listener], |_| {}).unwrap();
    let found = async { while acceptor.accept().await.peer != client.local_addr().unwrap() {} };
    timeout(PATIENCE, found).await.unwrap();
}

#[tokio::test]
async fn an_unredirected_connection_has_no_original_destination() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, addr) = listening(addr);
        let _client = TcpStream::connect(addr).unwrap();
        let accepted = acceptor(vec![listener]).accept().await;
        assert_eq!(original_destination(&accepted.stream).unwrap(), None);
    }
}

// === connecting ===

#[tokio::test]
async fn connecting_sets_no_delay() {
    let (_listener, addr) = listening("127.0.0.1:0");
    assert!(connect(addr, PATIENCE).await.unwrap().nodelay().unwrap());
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let (listener, addr) = listening("127.0.0.1:0");
    drop(listener);
    assert!(matches!(connect(addr, PATIENCE).await, Err(ConnectError::Refused)));
}

#[tokio::test]
async fn a_full_backlog_times_out() {
    let listener = listen("127.0.0.1:0".parse().unwrap(), ListenOptions { backlog: 0 }).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let outcome = loop {
        match connect(addr, Duration::from_millis(300)).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 16, "the backlog does not fill");
    };
    assert!(matches!(outcome, ConnectError::Timeout), "{outcome:?}");
}

#[test]
fn system_errors_become_their_reason() {
    let reason = |errno: rustix::io::Errno| ConnectError::from(io::Error::from(errno)).label();
    assert_eq!(reason(rustix::io::Errno::NETUNREACH), "unreachable");
    assert_eq!(reason(rustix::io::Errno::HOSTUNREACH), "unreachable");
    assert_eq!(reason(rustix::io::Errno::TIMEDOUT), "timeout");
    assert_eq!(reason(rustix::io::Errno::MFILE), "descriptor_limit");
    assert_eq!(reason(rustix::io::Errno::ADDRNOTAVAIL), "other");
}

// === pooled connections ===

#[tokio::test]
async fn a_quiet_connection_is_not_closed() {
    let (stream, _peer) = pooled().await;
    tokio::task::yield_now().await;
    assert!(!peer_closed(&stream));
}

#[tokio::test]
async fn a_connection_is_quiet_again_once_its_bytes_are_read() {
    let (mut stream, mut peer) = pooled().await;
    peer.write_all(b"answer").unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 6]).await.unwrap();
    assert!(!peer_closed(&stream));
}

#[tokio::test]
async fn an_ended_connection_is_closed() {
    let (stream, peer) = pooled().await;
    drop(peer);
    becomes_closed(&stream).await;
}

#[tokio::test]
async fn a_connection_with_unsolicited_bytes_is_closed() {
    let (stream, mut peer) = pooled().await;
    peer.write_all(b"HTTP/1.1 408 ").unwrap();
    becomes_closed(&stream).await;
}

#[tokio::test]
async fn a_reset_connection_is_closed_and_linger_reset_resets() {
    let (stream, peer) = pooled().await;
    set_linger_reset(&peer).unwrap();
    drop(peer);
    timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    assert!(peer_closed(&stream));
    // Peeking reports the reset once; a plain end would have left no error behind.
    let (stream, peer) = pooled().await;
    set_linger_reset(&peer).unwrap();
    drop(peer);
    timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
