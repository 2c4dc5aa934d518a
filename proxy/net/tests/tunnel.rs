//! Tunnels over real sockets: ends, resets, back-pressure, idleness.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use spurline_net::{Side, Tunnel, TunnelCause, TunnelEnd, TunnelOptions, TunnelTraffic, set_linger_reset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

/// Both ends of one loopback connection: ours first, then the peer's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ours, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (ours.unwrap(), accepted.unwrap().0)
}

/// A running tunnel with the peers at its ends.
struct Joined {
    client: TcpStream,
    server: TcpStream,
    tunnel: JoinHandle<TunnelEnd>,
}

async fn joined(options: TunnelOptions) -> Joined {
    let (downstream, client) = pair().await;
    let (upstream, server) = pair().await;
    let tunnel = tokio::spawn(Tunnel::new(downstream, upstream, options));
    Joined { client, server, tunnel }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    in_time(stream.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, bytes);
}

async fn expect_reset(stream: &mut TcpStream) {
    let error = in_time(stream.read_to_end(&mut Vec::new())).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn reset(stream: TcpStream) {
    set_linger_reset(&stream).unwrap();
    drop(stream);
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn the_client_may_end_first() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"question");
    server.write_all(b"a long answer").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"a long answer");
    let end = in_time(tunnel).await.unwrap();
    let traffic = TunnelTraffic { to_upstream_bytes: 8, to_downstream_bytes: 13 };
    assert_eq!(end, TunnelEnd { cause: TunnelCause::Finished, traffic });
}

#[tokio::test]
async fn the_server_may_end_first() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    server.write_all(b"greeting").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"greeting");
    client.write_all(b"late words").await.unwrap();
    expect(&mut server, b"late words").await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"");
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Finished);
}

#[tokio::test]
async fn bytes_read_before_the_tunnel_come_first() {
    let options = TunnelOptions {
        from_downstream: b"already ".to_vec(),
        from_upstream: b"hello ".to_vec(),
        ..TunnelOptions::default()
    };
    let Joined { mut client, mut server, tunnel } = joined(options).await;
    client.write_all(b"read").await.unwrap();
    server.write_all(b"there").await.unwrap();
    expect(&mut server, b"already read").await;
    expect(&mut client, b"hello there").await;
    drop((client, server));
    let traffic = in_time(tunnel).await.unwrap().traffic;
    assert_eq!(traffic, TunnelTraffic { to_upstream_bytes: 12, to_downstream_bytes: 11 });
}

#[tokio::test]
async fn single_bytes_go_through_undelayed_in_both_directions() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    for byte in 0..=255 {
        client.write_all(&[byte]).await.unwrap();
        expect(&mut server, &[byte]).await;
        server.write_all(&[byte]).await.unwrap();
        expect(&mut client, &[byte]).await;
    }
    drop((client, server));
    assert_eq!(in_time(tunnel).await.unwrap().traffic.to_upstream_bytes, 256);
}

#[tokio::test]
async fn much_data_both_ways_at_once_arrives_whole() {
    let Joined { client, server, tunnel } = joined(TunnelOptions::default()).await;
    let sent = pattern(8 << 20);
    let talk = |stream: TcpStream, sent: Vec<u8>| async move {
        let (mut reader, mut writer) = stream.into_split();
        let write = tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        write.await.unwrap();
        received
    };
    let (at_client, at_server) =
        in_time(async { tokio::join!(talk(client, sent.clone()), talk(server, sent.clone())) }).await;
    assert!(at_client == sent && at_server == sent);
    let end = in_time(tunnel).await.unwrap();
    assert_eq!(end.cause, TunnelCause::Finished);
    assert_eq!(end.traffic.to_downstream_bytes, 8 << 20);
}

#[tokio::test]
async fn a_busy_direction_does_not_starve_the_other() {
    let Joined { client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    let (mut reader, mut writer) = client.into_split();
    let flood = tokio::spawn(async move { while writer.write_all(&[0; 65536]).await.is_ok() {} });
    let (mut server_reader, mut server_writer) = server.split();
    let answers = async {
        let mut drain = [0; 65536];
        for _ in 0..200 {
            server_reader.read_exact(&mut drain).await.unwrap();
            server_writer.write_all(b"!").await.unwrap();
            reader.read_exact(&mut [0]).await.unwrap();
        }
    };
    in_time(answers).await;
    drop(server);
    in_time(flood).await.unwrap();
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Reset(Side::Upstream));
}

#[tokio::test]
async fn a_slow_reader_slows_the_writer_and_loses_nothing() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    let sent = pattern(64 << 20);
    let expected = sent.clone();
    let (full, filled) = tokio::sync::oneshot::channel();
    let write = tokio::spawn(async move {
        let mut written = 0;
        // Writes until nothing is taken for a while: the whole path is full.
        while written < sent.len()
            && let Ok(count) = timeout(Duration::from_secs(1), client.write(&sent[written..])).await
        {
            written += count.unwrap();
        }
        full.send(written).unwrap();
        client.write_all(&sent[written..]).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let stalled_at = in_time(filled).await.unwrap();
    let received = read_to_end(&mut server).await;
    assert!(received == expected, "{} of {} bytes, or other ones", received.len(), expected.len());
    let client = in_time(write).await.unwrap();
    assert!(stalled_at < expected.len(), "the writer never had to wait");
    drop((client, server));
    in_time(tunnel).await.unwrap();
}

#[tokio::test]
async fn a_reset_by_the_client_reaches_the_server_as_a_reset() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    client.write_all(b"half a mess").await.unwrap();
    expect(&mut server, b"half a mess").await;
    reset(client);
    expect_reset(&mut server).await;
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Reset(Side::Downstream));
}

#[tokio::test]
async fn a_reset_by_the_server_reaches_the_client_as_a_reset() {
    let Joined { mut client, server, tunnel } = joined(TunnelOptions::default()).await;
    reset(server);
    expect_reset(&mut client).await;
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Reset(Side::Upstream));
}

#[tokio::test]
async fn a_reset_after_a_half_close_is_not_taken_for_an_end() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await, b"");
    server.write_all(b"half an ans").await.unwrap();
    expect(&mut client, b"half an ans").await;
    reset(server);
    expect_reset(&mut client).await;
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Reset(Side::Upstream));
}

#[tokio::test]
async fn what_a_peer_sent_before_it_went_away_is_delivered() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    // The server answers without reading the request and closes: the unread bytes turn its close into a reset.
    client.write_all(&pattern(1000)).await.unwrap();
    in_time(server.readable()).await.unwrap();
    server.write_all(b"413 too large").await.unwrap();
    expect(&mut client, b"413 too large").await;
    drop(server);
    expect_reset(&mut client).await;
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Reset(Side::Upstream));
}

#[tokio::test]
async fn data_written_before_an_end_survives_the_end_of_the_tunnel() {
    let Joined { mut client, mut server, tunnel } = joined(TunnelOptions::default()).await;
    server.shutdown().await.unwrap();
    let sent = pattern(64 << 10);
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    // The tunnel is over and its sockets are closed while the bytes still lie in the kernel.
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Finished);
    assert!(read_to_end(&mut server).await == sent);
}

#[tokio::test]
async fn an_idle_tunnel_ends_with_resets() {
    let idle_timeout = Some(Duration::from_millis(200));
    let start = Instant::now();
    let Joined { mut client, mut server, tunnel } =
        joined(TunnelOptions { idle_timeout, ..TunnelOptions::default() }).await;
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Idle);
    assert!(start.elapsed() >= Duration::from_millis(200));
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
}

#[tokio::test]
async fn bytes_in_one_direction_keep_a_tunnel_alive() {
    let idle_timeout = Some(Duration::from_secs(2));
    let Joined { mut client, mut server, tunnel } =
        joined(TunnelOptions { idle_timeout, ..TunnelOptions::default() }).await;
    let mut last = Instant::now();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        last = Instant::now();
        server.write_all(b".").await.unwrap();
        expect(&mut client, b".").await;
    }
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Idle);
    assert!(last.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_stalled_reader_runs_into_the_idle_timeout() {
    let idle_timeout = Some(Duration::from_millis(500));
    let Joined { mut client, server, tunnel } =
        joined(TunnelOptions { idle_timeout, ..TunnelOptions::default() }).await;
    let flood = tokio::spawn(async move { while client.write_all(&[0; 65536]).await.is_ok() {} });
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Idle);
    in_time(flood).await.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_dropped_tunnel_resets_both_peers_and_has_told_its_traffic() {
    let (downstream, mut client) = pair().await;
    let (upstream, mut server) = pair().await;
    let mut tunnel = Tunnel::new(downstream, upstream, TunnelOptions::default());
    client.write_all(b"hello").await.unwrap();
    let mut seen = [0; 5];
    tokio::select! {
        _ = &mut tunnel => panic!("ended"),
        read = in_time(server.read_exact(&mut seen)) => { read.unwrap(); }
    }
    assert_eq!(tunnel.traffic(), TunnelTraffic { to_upstream_bytes: 5, to_downstream_bytes: 0 });
    drop(tunnel);
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
}

#[tokio::test]
async fn an_endless_idle_timeout_is_none() {
    let options = TunnelOptions { idle_timeout: Some(Duration::MAX), ..TunnelOptions::default() };
    let Joined { client, server, tunnel } = joined(options).await;
    drop((client, server));
    assert_eq!(in_time(tunnel).await.unwrap().cause, TunnelCause::Finished);
}

#[test]
fn a_tunnel_is_small() {
    let bytes = size_of::<Tunnel>();
    assert!(bytes <= 256, "{bytes} bytes");
}
