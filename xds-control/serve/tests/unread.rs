//! Clients that do not read, and versions of HTTP that are not served.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    routing::get,
};
use http_body::Body as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use spurline_serve::{Limits, Listen, Server, Versions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const SOON: Duration = Duration::from_secs(20);
const UNREAD: Duration = Duration::from_millis(1_500);

/// Counts as alive until it is freed.
#[derive(Debug, Clone)]
struct Piece(Arc<AtomicUsize>, usize);

impl Piece {
    fn new(alive: &Arc<AtomicUsize>, bytes: usize) -> Self {
        alive.fetch_add(1, Relaxed);
        Self(alive.clone(), bytes)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &[b'a'; 100_000][..self.1]
    }
}

/// A server of one response of 100,000 bytes at `/`, of 10,000 at `/small` and of nothing at `/idle`; and how many
/// responses are held.
async fn start(limits: Limits) -> (SocketAddr, Arc<AtomicUsize>) {
    let alive = Arc::<AtomicUsize>::default();
    let respond = |bytes| {
        let held = alive.clone();
        get(move || async move { Body::from(Bytes::from_owner(Piece::new(&held, bytes))) })
    };
    let router = Router::new()
        .route("/", respond(100_000))
        .route("/small", respond(10_000))
        .route("/idle", get(|| async { Body::new(Idle) }));
    let server = Server::bind(&Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into()), None, limits).unwrap();
    let Listen::Tcp(addr) = server.listen().unwrap() else { panic!("not TCP") };
    tokio::spawn(server.serve(router, std::future::pending()));
    (addr, alive)
}

/// Waits until nothing is held, and for longer than between two responses.
async fn let_go(held: &AtomicUsize) {
    let start = Instant::now();
    let mut free_since = start;
    while free_since.elapsed() < 2 * UNREAD {
        assert!(start.elapsed() < SOON, "{} are held", held.load(Relaxed));
        sleep(Duration::from_millis(5)).await;
        if held.load(Relaxed) > 0 {
            free_since = Instant::now();
        }
    }
}

/// A body that gives nothing for as long as it lives.
struct Idle;

impl http_body::Body for Idle {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

async fn connect(addr: SocketAddr, window: u32) -> (SendRequest<Body>, JoinHandle<()>) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let mut http = Builder::new(TokioExecutor::new());
    http.initial_stream_window_size(window);
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async move { _ = connection.await }))
}

async fn ask(sender: &mut SendRequest<Body>, path: &str) -> hyper::Response<hyper::body::Incoming> {
    let request = Request::get(format!("http://localhost{path}")).body(Body::empty()).unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn a_client_of_http2_that_takes_nothing_is_let_go_and_what_it_asked_for_freed() {
    for window in [0, 1, 20_000] {
        let (addr, held) = start(Limits { unread_timeout: UNREAD, ..Limits::default() }).await;
        let (mut sender, connection) = connect(addr, window).await;
        let mut responses = Vec::new();
        for _ in 0..10 {
            responses.push(ask(&mut sender, "/").await);
        }
        assert_eq!(held.load(Relaxed), 10);
        timeout(SOON, connection).await.unwrap().unwrap();
        let start = Instant::now();
        while held.load(Relaxed) > 0 {
            assert!(start.elapsed() < SOON, "{} are held", held.load(Relaxed));
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_client_of_http1_that_takes_nothing_is_let_go() {
    // Of small ones the library takes each as a whole, and stops between two of them.
    for (path, count) in [("/", 100), ("/small", 1_000)] {
        let (addr, held) = start(Limits { unread_timeout: UNREAD, ..Limits::default() }).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        // More than the buffers of the kernel take.
        let requests = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(count);
        stream.write_all(requests.as_bytes()).await.unwrap();
        let_go(&held).await;
        let mut rest = Vec::new();
        // Cut, and not at the end of the last response.
        _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.len() < 10_000_000, "{path}: {}", rest.len());
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_one_that_waits_are_served() {
    let (addr, held) = start(Limits { unread_timeout: UNREAD, ..Limits::default() }).await;
    let (mut sender, _connection) = connect(addr, 16 * 1024).await;
    let mut idle = ask(&mut sender, "/idle").await;
    let mut response = ask(&mut sender, "/").await;
    assert_eq!(response.headers()["content-length"], "100000");
    let mut read = 0;
    let start = Instant::now();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(response.body_mut()).poll_frame(cx)).await
    {
        read += frame.unwrap().into_data().unwrap().len();
        sleep(UNREAD / 3).await;
    }
    assert_eq!((read, held.load(Relaxed)), (100_000, 0));
    assert!(start.elapsed() > UNREAD, "it was to be slow");
    sleep(2 * UNREAD).await;
    let idle = std::future::poll_fn(|cx| std::pin::Pin::new(idle.body_mut()).poll_frame(cx));
    timeout(UNREAD, idle).await.unwrap_err();
}

#[tokio::test]
async fn where_only_http2_is_served_http1_gets_no_answer() {
    let (addr, _) = start(Limits { versions: Versions::Http2, ..Limits::default() }).await;
    for head in ["GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", "POST /a/b HTTP/1.0\r\n\r\n"] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It is a reset where something was left unread.
        _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.windows(5).any(|part| part == b"HTTP/"), "{answer:?}");
    }
    let (mut sender, _connection) = connect(addr, 1 << 20).await;
    assert_eq!(ask(&mut sender, "/").await.status(), 200);
}
