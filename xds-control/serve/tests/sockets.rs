//! The server over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Extension, Router, body::Bytes, routing::get};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use spurline_serve::{Counters, Limits, Listen, ListenError, Peer, Server, Tls, TlsFiles};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const SOON: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET /who HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

/// A server that runs until it is dropped or drained.
struct Running {
    listen: Listen,
    counters: Arc<Counters>,
    /// How many of the requests that take their time have begun.
    begun: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(listen: &Listen, tls: Option<Tls>, limits: Limits) -> Self {
        let server = Server::bind(listen, tls, limits).unwrap();
        let (listen, counters) = (server.listen().unwrap(), server.counters());
        let (stop, stopped) = oneshot::channel::<()>();
        let begun = Arc::<AtomicUsize>::default();
        let [slow, never] = [0, 1].map(|_| begun.clone());
        let router = Router::new()
            .route("/who", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }))
            .route(
                "/slow",
                get(|| async move {
                    slow.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(300)).await;
                }),
            )
            .route(
                "/never",
                get(|| async move {
                    never.fetch_add(1, Relaxed);
                    std::future::pending::<()>().await;
                }),
            );
        let task = tokio::spawn(server.serve(router, async move { _ = stopped.await }));
        Self { listen, counters, begun, stop: Some(stop), task }
    }

    fn addr(&self) -> SocketAddr {
        match self.listen {
            Listen::Tcp(addr) => addr,
            Listen::Unix(_) => panic!("not TCP"),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr()).await.unwrap()
    }

    async fn drain(mut self) {
        drop(self.stop.take());
        timeout(SOON, self.task).await.unwrap().unwrap();
    }
}

fn loopback() -> Listen {
    Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into())
}

async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> std::io::Result<String> {
    io.write_all(request).await?;
    let mut answer = Vec::new();
    timeout(SOON, io.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < SOON, "took too long");
        sleep(Duration::from_millis(5)).await;
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key.
    fn issue(&self, names: Vec<SanType>) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn issue_server(&self) -> (String, String) {
        self.issue(vec![SanType::DnsName("localhost".try_into().unwrap())])
    }
}

fn tls_files(folder: &Path, (cert, key): &(String, String), client_ca: Option<&Authority>) -> TlsFiles {
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    TlsFiles {
        cert: write("tls.crt", cert),
        key: write("tls.key", key),
        client_ca: client_ca.map(|authority| write("ca.crt", &authority.pem())),
    }
}

fn client(server: &Authority, identity: Option<&(String, String)>, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

async fn connect_tls(running: &Running, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, running.connect().await).await
}

async fn ask_tls(running: &Running, config: ClientConfig) -> std::io::Result<String> {
    let answer = exchange(connect_tls(running, config).await?, REQUEST).await?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

#[tokio::test]
async fn a_peer_over_tcp_is_known_by_its_address() {
    let running = Running::start(&loopback(), None, Limits::default());
    let stream = running.connect().await;
    let local = stream.local_addr().unwrap();
    let answer = exchange(stream, REQUEST).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("{local}")), "{answer}");
    assert_eq!(running.counters.accepted(), 1);
    eventually(|| running.counters.open() == 0).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_to_be() {
    let running = Running::start(&loopback(), None, Limits::default());
    let error = Server::bind(&running.listen, None, Limits::default()).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_and_replaces_what_a_killed_process_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listen: Listen = format!("unix:{}", path.display()).parse().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = Running::start(&listen, None, Limits::default());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = exchange(UnixStream::connect(&path).await.unwrap(), REQUEST).await.unwrap();
    assert!(answer.contains("addr: None"), "{answer}");
    let error = Server::bind(&listen, None, Limits::default()).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    running.drain().await;
    assert!(!path.exists(), "a socket that nobody listens on is gone");
    std::fs::write(&path, "a file of somebody's").unwrap();
    let error = Server::bind(&listen, None, Limits::default()).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn certificates_are_rotated_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let files = tls_files(folder.path(), &first.issue_server(), None);
    let running = Running::start(&loopback(), Some(Tls::load(files).unwrap()), Limits::default());
    let mut kept = connect_tls(&running, client(&first, None, b"http/1.1")).await.unwrap();
    ask_tls(&running, client(&first, None, b"http/1.1")).await.unwrap();
    ask_tls(&running, client(&second, None, b"http/1.1")).await.unwrap_err();
    // The new certificate beside the old key is what a rotation looks like half way.
    let (cert, key) = second.issue_server();
    std::fs::write(folder.path().join("tls.crt"), cert).unwrap();
    eventually(|| running.counters.reloads_failed() == 1).await;
    ask_tls(&running, client(&first, None, b"http/1.1")).await.unwrap();
    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    eventually(|| running.counters.reloads() == 1).await;
    ask_tls(&running, client(&second, None, b"http/1.1")).await.unwrap();
    ask_tls(&running, client(&first, None, b"http/1.1")).await.unwrap_err();
    kept.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "a connection that is open stays: {answer}");
}

#[tokio::test]
async fn with_a_client_ca_only_its_clients_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let files = tls_files(folder.path(), &ours.issue_server(), Some(&ours));
    let running = Running::start(&loopback(), Some(Tls::load(files).unwrap()), Limits::default());
    let names = vec![
        SanType::URI("spiffe://spurline/ns/shop/sa/cart".try_into().unwrap()),
        SanType::DnsName("cart.shop".try_into().unwrap()),
    ];
    let answer =
        ask_tls(&running, client(&ours, Some(&ours.issue(names.clone())), b"http/1.1")).await.unwrap();
    assert!(answer.contains("spiffe://spurline/ns/shop/sa/cart") && answer.contains("cart.shop"), "{answer}");
    ask_tls(&running, client(&ours, Some(&theirs.issue(names.clone())), b"http/1.1")).await.unwrap_err();
    ask_tls(&running, client(&ours, None, b"http/1.1")).await.unwrap_err();
    eventually(|| running.counters.handshakes_failed() == 2).await;
    // The CA is rotated like a certificate.
    std::fs::write(folder.path().join("ca.crt"), theirs.pem()).unwrap();
    eventually(|| running.counters.reloads() == 1).await;
    ask_tls(&running, client(&ours, Some(&theirs.issue(names.clone())), b"http/1.1")).await.unwrap();
    ask_tls(&running, client(&ours, Some(&ours.issue(names)), b"http/1.1")).await.unwrap_err();
}

#[tokio::test]
async fn unusable_files_are_named_and_keys_are_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let good = tls_files(folder.path(), &authority.issue_server(), Some(&authority));
    let others = folder.path().join("others.key");
    std::fs::write(&others, authority.issue_server().1).unwrap();
    let secret = folder.path().join("secret.key");
    std::fs::write(&secret, "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n").unwrap();
    for (files, part) in [
        (TlsFiles { cert: folder.path().join("none"), ..good.clone() }, "none: "),
        (TlsFiles { cert: good.key.clone(), ..good.clone() }, "no certificate in it"),
        (TlsFiles { key: secret, ..good.clone() }, "no private key in it"),
        (TlsFiles { client_ca: Some(good.key.clone()), ..good.clone() }, "no certificate in it"),
        (TlsFiles { key: others, ..good }, "others.key: not the key of "),
    ] {
        let error = Tls::load(files).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn who_connects_and_stays_silent_is_let_go() {
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = tls_files(folder.path(), &authority.issue_server(), None);
    let plain = Running::start(&loopback(), None, limits.clone());
    let encrypted = Running::start(&loopback(), Some(Tls::load(files).unwrap()), limits);
    for (running, bytes) in [
        (&plain, &b""[..]),
        (&plain, b"PRI * HTTP/2.0\r\n"),
        (&plain, b"GET / HTTP/1.1\r\nHost: a-host-that-is-long-enough\r\n"),
        (&encrypted, b""),
        (&encrypted, b"\x16\x03\x01"),
    ] {
        let mut stream = running.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer))
            .await
            .unwrap_or_else(|_| panic!("{bytes:?} stays"))
            .ok();
    }
    eventually(|| plain.counters.open() + encrypted.counters.open() == 0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let running = Running::start(&loopback(), None, Limits { connections_max: 2, ..Limits::default() });
    let kept = [running.connect().await, running.connect().await];
    eventually(|| running.counters.open() == 2).await;
    assert!(exchange(running.connect().await, b"").await.unwrap().is_empty());
    assert_eq!(running.counters.refused(), 1);
    drop(kept);
    eventually(|| running.counters.open() == 0).await;
    assert!(exchange(running.connect().await, REQUEST).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_cuts_what_does_not() {
    let limits = Limits { drain_timeout: Duration::from_secs(3), ..Limits::default() };
    let running = Running::start(&loopback(), None, limits);
    let [slow, never] = ["/slow", "/never"].map(|path| {
        let addr = running.addr();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        tokio::spawn(async move { exchange(TcpStream::connect(addr).await?, request.as_bytes()).await })
    });
    eventually(|| running.begun.load(Relaxed) == 2).await;
    let addr = running.addr();
    let start = Instant::now();
    running.drain().await;
    assert!(start.elapsed() >= Duration::from_millis(2_900) && start.elapsed() < SOON);
    assert!(slow.await.unwrap().unwrap().starts_with("HTTP/1.1 200"));
    assert!(never.await.unwrap().unwrap_or_default().is_empty());
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn http2_is_served_over_tls_and_in_clear_text_and_said_goodbye_to() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = tls_files(folder.path(), &authority.issue_server(), None);
    let encrypted = Running::start(&loopback(), Some(Tls::load(files).unwrap()), Limits::default());
    let stream = connect_tls(&encrypted, client(&authority, None, b"h2")).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    http2(stream).await;
    let plain = Running::start(&loopback(), None, Limits::default());
    let connection = http2(plain.connect().await).await;
    plain.drain().await;
    timeout(SOON, connection).await.unwrap().unwrap();
}

/// Asks once over HTTP/2 and returns the task of the connection.
async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> JoinHandle<()> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    let task = tokio::spawn(async move { _ = connection.await });
    let request =
        hyper::Request::get("http://localhost/who").body(axum::body::Body::from(Bytes::new())).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    task
}

/// What an idle HTTP/2 connection with an open stream costs. Both ends live in this process, so the number printed is
/// an upper bound.
#[tokio::test]
#[ignore = "a measurement: run it alone, in release mode"]
async fn memory_of_idle_connections() {
    const CONNECTIONS: usize = 2_000;
    let running = Running::start(&loopback(), None, Limits::default());
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // GET http /never by literals of the static table; END_HEADERS and END_STREAM.
    let head = b"\x82\x86\x04\x06/never";
    let mut streams = Vec::new();
    let before = resident();
    for _ in 0..CONNECTIONS {
        let mut stream = running.connect().await;
        stream.write_all(preface).await.unwrap();
        stream.write_all(&[0, 0, head.len() as u8, 1, 5, 0, 0, 0, 1]).await.unwrap();
        stream.write_all(head).await.unwrap();
        streams.push(stream);
    }
    eventually(|| running.counters.open() == CONNECTIONS as u64).await;
    sleep(Duration::from_secs(2)).await;
    println!("{} bytes per connection", (resident() - before) / CONNECTIONS);
}
