//! What is not HTTP passes byte for byte: order, half-closes, resets, servers that speak first, real databases.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spurline_tests::servers::{Kind, Server};
use spurline_tests::{DEADLINE, End, RawClient, TestProxy, eventually, run};

/// A server that handles each connection with `serve` on a thread of its own.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 || stream.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

fn proxy(upstream: SocketAddr) -> TestProxy {
    TestProxy::build()
        .tcp("app", &[upstream])
        .listener("detect", &format!("workload=a/Deployment/b,port=1,baseline={upstream}"))
        .flag("--detect-timeout", "300ms")
        .start()
}

#[test]
fn a_megabyte_comes_back_unchanged_and_the_half_close_too() {
    let proxy = proxy(server(echo));
    let content: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut client = proxy.client();
    let mut writer = client.writer();
    let sent = content.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(&sent).expect("send");
        writer.shutdown(std::net::Shutdown::Write).expect("finish");
    });
    let transcript = client.to_end();
    sender.join().expect("the sender");
    assert!(transcript.bytes == content, "{} bytes came back", transcript.bytes.len());
    assert_eq!(transcript.end, End::Fin);
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once_on_a_declared_port() {
    let upstream = server(|mut stream| {
        let _ = stream.write_all(b"220 ready\r\n");
        echo(stream);
    });
    // Longer than the client waits.
    let proxy = TestProxy::build().tcp("app", &[upstream]).flag("--detect-timeout", "1m").start();
    let mut client = proxy.client();
    assert_eq!(client.read_exact(11).expect("a greeting"), b"220 ready\r\n");
}

#[test]
fn a_server_that_speaks_first_is_heard_after_the_detection_timeout_elsewhere() {
    let proxy = proxy(server(|mut stream| {
        let _ = stream.write_all(b"220 ready\r\n");
        echo(stream);
    }));
    let mut client = RawClient::connect(proxy.listener("detect"));
    assert_eq!(client.read_exact(11).expect("a greeting"), b"220 ready\r\n");
    client.send("one");
    assert_eq!(client.read_exact(3).expect("an echo"), b"one");
}

#[test]
fn what_is_detected_as_opaque_passes_with_its_first_bytes() {
    let proxy = proxy(server(echo));
    for bytes in
        [&b"\x00\x00\x00\x08\x04\xd2\x16\x2f"[..], b"*1\r\n$4\r\nPING\r\n", b"SSH-2.0-x\r\n", b"\xff"]
    {
        let mut client = RawClient::connect(proxy.listener("detect"));
        client.send(bytes);
        assert_eq!(client.read_exact(bytes.len()).expect("an echo"), bytes);
    }
    let mut slow = RawClient::connect(proxy.listener("detect"));
    slow.send("G");
    assert_eq!(slow.read_exact(1).expect("one byte is opaque after the timeout"), b"G");
}

#[test]
fn the_server_may_finish_first_while_the_client_goes_on() {
    let proxy = proxy(server(|mut stream| {
        stream.write_all(b"bye").expect("send");
        stream.shutdown(std::net::Shutdown::Write).expect("finish");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("read on");
        assert_eq!(rest, b"still here");
    }));
    let mut client = proxy.client();
    assert_eq!(client.to_end(), spurline_tests::Transcript { bytes: b"bye".to_vec(), end: End::Fin });
    client.send("still here").finish();
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let proxy = proxy(server(|stream| {
        let mut first = [0; 1];
        let _ = (&stream).read(&mut first);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set linger");
    }));
    let mut client = proxy.client();
    client.send("x");
    assert_eq!(client.to_end().end, End::Reset);
}

#[test]
fn a_dead_upstream_ends_the_connection() {
    let proxy = proxy(spurline_tests::free_address());
    let mut client = proxy.client();
    let _ = client.try_send("x");
    let transcript = client.to_end();
    assert!(transcript.bytes.is_empty() && transcript.end != End::Timeout, "{transcript:?}");
}

#[test]
fn an_idle_tunnel_ends_after_its_timeout_and_a_busy_one_does_not() {
    let upstream = server(echo);
    let proxy = TestProxy::build().tcp("app", &[upstream]).flag("--tunnel-idle-timeout", "2s").start();
    let mut busy = proxy.client();
    busy.send("b");
    assert_eq!(busy.read_exact(1).expect("an echo"), b"b");
    let mut idle = proxy.client().read_timeout(Duration::from_millis(100));
    idle.send("a");
    eventually("the idle tunnel has ended", || {
        busy.send("b");
        assert_eq!(busy.read_exact(1).expect("an echo"), b"b");
        let transcript = idle.to_end();
        (transcript.end != End::Timeout).then_some(())
    });
    // It is older than the one that has ended.
    busy.send("b");
    assert_eq!(busy.read_exact(1).expect("an echo"), b"b");
}

#[test]
fn a_slow_reader_stops_the_sender_and_not_the_memory() {
    static MOVED: AtomicU64 = AtomicU64::new(0);
    let proxy = proxy(server(|mut stream| {
        let piece = vec![7; 64 * 1024];
        while stream.write_all(&piece).is_ok() {
            MOVED.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    }));
    let before = proxy.resident_bytes();
    let clients: Vec<_> = (0..20).map(|_| proxy.client().receive_buffer(4096)).collect();
    let (mut last, mut since) = (0, Instant::now());
    eventually("the flow has stopped", || {
        let moved = MOVED.load(Ordering::Relaxed);
        if moved != last {
            (last, since) = (moved, Instant::now());
        }
        (moved > 0 && since.elapsed() > Duration::from_millis(300)).then_some(())
    });
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes for {} clients that do not read", clients.len());
}

#[test]
fn redis_works_through_the_proxy() {
    let redis = Server::start(Kind::Redis);
    let proxy = proxy(redis.address());
    for address in [proxy.address(), proxy.listener("detect")] {
        let cli = |words: &[&str]| {
            let mut command = Command::new("redis-cli");
            command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(words);
            let done = run(command, DEADLINE);
            assert_eq!(done.code, Some(0), "{}", done.stderr);
            done.stdout.trim().to_owned()
        };
        assert_eq!(cli(&["SET", "k", "v"]), "OK");
        assert_eq!(cli(&["GET", "k"]), "v");
        let large = "x".repeat(100_000);
        cli(&["SET", "large", &large]);
        assert_eq!(cli(&["GET", "large"]), large);
    }
}

#[test]
fn postgresql_works_through_the_proxy() {
    let postgres = Server::start(Kind::Postgres);
    let proxy = proxy(postgres.address());
    for address in [proxy.address(), proxy.listener("detect")] {
        let query = |sql: &str| {
            let mut command = Command::new("psql");
            command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
            command.args(["-U", "postgres", "-At", "-c", sql]);
            run(command, DEADLINE)
        };
        eventually("PostgreSQL takes queries", || (query("select 1").code == Some(0)).then_some(()));
        let rows = query("select count(*), sum(n) from generate_series(1, 200000) n");
        assert_eq!(rows.stdout.trim(), "200000|20000100000", "{}", rows.stderr);
        let many = query("select repeat('x', 100) from generate_series(1, 20000)");
        assert_eq!(many.stdout.len(), 20_000 * 101);
    }
}
