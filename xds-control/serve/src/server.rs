//! Accepting and serving connections.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Counters, Identity, Listen, ListenError, Peer, Tls,
    counters::count,
    first_bytes::FirstBytes,
    listen::{Accepted, Socket},
    unread::Unread,
};

/// How often certificate files are looked at.
const TLS_FILES_INTERVAL: Duration = Duration::from_secs(1);
/// The library takes no smaller buffer for HTTP/1.
const HTTP1_BUFFER_BYTES_MIN: usize = 8 * 1024;
/// How long to wait when a connection cannot be accepted, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a listener and each connection on it may take. The windows and buffers are small because connections of
/// proxies stay open for hours and are idle nearly all the time.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What may be spoken.
    pub versions: Versions,
    /// Open connections; one more is closed at once.
    pub connections_max: usize,
    /// How long a TLS handshake, the first bytes and each HTTP/1 request head may take.
    pub head_timeout: Duration,
    /// How long after the last frame an HTTP/2 peer gets a ping.
    pub keepalive_interval: Duration,
    /// How long it may take to answer before its connection is closed.
    pub keepalive_timeout: Duration,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// The header fields of one request.
    pub header_bytes_max: u32,
    /// The receive window of one HTTP/2 stream.
    pub stream_window_bytes: u32,
    /// The receive window of one HTTP/2 connection.
    pub connection_window_bytes: u32,
    /// What one HTTP/2 stream may have waiting to be sent; the piece that reaches it goes in whole.
    pub send_buffer_bytes_max: usize,
    /// How long a client may take nothing of a response, over either version, before its connection is closed with all
    /// that is on it. What it takes counts in pieces of 16 KiB.
    pub unread_timeout: Duration,
    /// How long open requests may go on once the server drains.
    pub drain_timeout: Duration,
}

/// Versions of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1 and HTTP/2.
    All,
    /// HTTP/2, over TLS and with prior knowledge in clear text (RFC 9113, section 3.3). A page in a browser cannot speak
    /// the latter, whatever name it gave the address.
    Http2,
}

/// A socket that is bound but does not accept yet.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    counters: Arc<Counters>,
}

/// What all connections of one listener share.
struct Shared {
    router: Router,
    http: Builder<TokioExecutor>,
    head_timeout: Duration,
    unread_timeout: Duration,
    counters: Arc<Counters>,
    drain: watch::Receiver<()>,
}

/// Serves the requests of one connection.
#[derive(Clone)]
struct Requests {
    router: Router,
    peer: Peer,
    unread: Arc<Unread>,
}

/// Counts a connection as open while it lives.
struct Open(Arc<Counters>);

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            versions: Versions::All,
            connections_max: 20_000,
            head_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            streams_max: 128,
            header_bytes_max: 16 * 1024,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 128 * 1024,
            send_buffer_bytes_max: 64 * 1024,
            unread_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    fn http(&self) -> Builder<TokioExecutor> {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(self.head_timeout).max_buf_size(
            usize::try_from(self.header_bytes_max).unwrap_or(usize::MAX).max(HTTP1_BUFFER_BYTES_MIN),
        );
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .max_concurrent_streams(self.streams_max)
            .max_header_list_size(self.header_bytes_max)
            .initial_stream_window_size(self.stream_window_bytes)
            .initial_connection_window_size(self.connection_window_bytes)
            .max_send_buf_size(self.send_buffer_bytes_max);
        match self.versions {
            Versions::All => http,
            Versions::Http2 => http.http2_only(),
        }
    }
}

// === impl Server ===

impl Server {
    /// Binds the socket; clients can connect from here on and wait until [`Self::serve`] accepts them. Whether the
    /// address may be served without authentication is for [`crate::must_authenticate`] to say.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(listen: &Listen, tls: Option<Tls>, limits: Limits) -> Result<Self, ListenError> {
        let socket = Socket::bind(listen)?;
        Ok(Self { socket, tls: tls.map(Arc::new), limits, counters: Arc::default() })
    }

    /// Where it listens; with port 0 the port that the kernel chose.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn listen(&self) -> io::Result<Listen> {
        self.socket.listen()
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Accepts and serves until `shutdown` ends. Then the socket is closed, HTTP/2 peers get GOAWAY, HTTP/1 peers
    /// `Connection: close`, open requests have the drain timeout to finish, and what is left is cut.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let Self { socket, tls, limits, counters } = self;
        let (draining, drain) = watch::channel(());
        let http = limits.http();
        let Limits { head_timeout, unread_timeout, .. } = limits;
        let shared = Arc::new(Shared { router, http, head_timeout, unread_timeout, counters, drain });
        let mut connections = JoinSet::new();
        let accepting = accept(&socket, tls.as_ref(), &shared, (&limits, &mut connections));
        tokio::select! {
            () = shutdown => {}
            () = accepting => {}
        }
        drop(socket);
        drop(draining);
        let finished = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(limits.drain_timeout, finished).await.is_err() {
            tracing::info!(connections = connections.len(), "Cutting connections that did not end in time");
            connections.shutdown().await;
        }
    }
}

/// Accepts for ever. Dropped to stop.
async fn accept(
    socket: &Socket,
    tls: Option<&Arc<Tls>>,
    shared: &Arc<Shared>,
    (limits, connections): (&Limits, &mut JoinSet<()>),
) {
    let mut look = interval(TLS_FILES_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut troubled = false;
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(_) if connections.len() >= limits.connections_max => {
                    count(&shared.counters.refused);
                    if !std::mem::replace(&mut troubled, true) {
                        tracing::warn!(connections_max = limits.connections_max, "Too many connections");
                    }
                }
                Ok(accepted) => {
                    troubled = false;
                    start(accepted, tls, shared, connections);
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        tracing::warn!(%error, "Connections cannot be accepted");
                    }
                    sleep(ACCEPT_RETRY).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
            _ = look.tick(), if tls.is_some() => {
                if let Some(tls) = tls {
                    tls.follow(&shared.counters);
                }
            }
        }
    }
}

fn start(accepted: Accepted, tls: Option<&Arc<Tls>>, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    count(&shared.counters.accepted);
    let shared = shared.clone();
    let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config()));
    match (accepted, acceptor) {
        (Accepted::Tcp(stream, addr), None) => {
            connections.spawn(plain(stream, Peer { addr: Some(addr), identity: None }, shared));
        }
        (Accepted::Unix(stream), None) => {
            connections.spawn(plain(stream, Peer::default(), shared));
        }
        (Accepted::Tcp(stream, addr), Some(acceptor)) => {
            let peer = Peer { addr: Some(addr), identity: None };
            connections.spawn(encrypted(stream, acceptor, peer, shared));
        }
        (Accepted::Unix(stream), Some(acceptor)) => {
            connections.spawn(encrypted(stream, acceptor, Peer::default(), shared));
        }
    }
}

/// A panic is a bug in what is served; it ends its connection only.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "Panicked");
    }
}

async fn plain<IO>(stream: IO, peer: Peer, shared: Arc<Shared>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = Open::new(&shared.counters);
    http(stream, peer, &shared).await;
}

async fn encrypted<IO>(stream: IO, acceptor: TlsAcceptor, mut peer: Peer, shared: Arc<Shared>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = Open::new(&shared.counters);
    // Boxed, so that the idle connection does not carry the room that its handshake took.
    let stream = match Box::pin(timeout(shared.head_timeout, acceptor.accept(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            count(&shared.counters.handshakes_failed);
            return tracing::debug!(%error, addr = ?peer.addr, "TLS handshake failed");
        }
        Err(_) => {
            count(&shared.counters.handshakes_failed);
            return tracing::debug!(addr = ?peer.addr, "TLS handshake took too long");
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    peer.identity = certificate.map(|certificate| Arc::new(Identity::of(certificate)));
    http(stream, peer, &shared).await;
}

async fn http<IO>(stream: IO, peer: Peer, shared: &Shared)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unread = Arc::<Unread>::default();
    let io = TokioIo::new(unread.watched(FirstBytes::new(stream, shared.head_timeout)));
    let addr = peer.addr;
    let requests = Requests { router: shared.router.clone(), peer, unread: unread.clone() };
    let mut drain = shared.drain.clone();
    let mut connection = std::pin::pin!(shared.http.serve_connection(io, requests));
    let mut stalled = std::pin::pin!(unread.stalled(shared.unread_timeout));
    let mut drains = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stalled.as_mut() => {
                return tracing::debug!(?addr, "Closed, because the client takes nothing of a response");
            }
            _ = drain.changed(), if !drains => {
                drains = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "Connection failed");
    }
}

// === impl Requests ===

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        let response = tower::Service::call(&mut self.router.clone(), request);
        let unread = self.unread.clone();
        Box::pin(async move { response.await.map(|response| response.map(|body| unread.noted(body))) })
    }
}

// === impl Open ===

impl Open {
    fn new(counters: &Arc<Counters>) -> Self {
        count(&counters.open);
        Self(counters.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
