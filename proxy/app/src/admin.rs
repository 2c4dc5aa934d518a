//! The admin server: health, readiness, metrics, what is configured and routed, the log level, and drain.
//!
//! It runs on a thread and a runtime of its own, so that neither a slow scrape nor a busy worker disturbs the other.
//! It serves no traffic, has no TLS and no passwords: it listens on loopback unless told otherwise, and who can reach
//! the address may read everything and start a drain. Secrets are not shown. What a web page in the operator's own
//! browser could do through it is refused, see the module `browser`.

mod browser;
mod overrides;
mod pages;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use spurline_route::RouteTable;
use spurline_telemetry::{log::LevelHandle, metrics::Registry};
use spurline_xds::StatusHandle;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use crate::readiness::Readiness;

/// Connections served at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, from accept to the last byte of its one response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request body that is read.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// The most a connection buffers of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The wait after a failed accept, which is usually a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the pages show and change.
pub struct AdminState {
    pub registry: Arc<Registry>,
    pub table: Arc<ArcSwap<RouteTable>>,
    /// The effective settings as JSON, secrets redacted.
    pub config_dump: String,
    /// The state of the control service's client; `None`: there is none.
    pub control: Option<StatusHandle>,
    pub level: LevelHandle,
    /// Starts the drain of the process; may be called more than once.
    pub drain: Box<dyn Fn() + Send + Sync>,
    pub readiness: Readiness,
}

/// A running admin server. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl AdminState ===

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

// === impl Admin ===

impl Admin {
    /// Binds `listen` and serves from a new thread.
    ///
    /// # Errors
    /// When the address cannot be bound or the thread not be started.
    pub fn start(listen: SocketAddr, state: AdminState) -> io::Result<Self> {
        let listener = StdListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let router = pages::router(addr, state);
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, router) => {
                        if let Err(error) = served {
                            tracing::error!(%error, "Admin server stopped");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// The address it listens on: the one asked for, with the port the system chose if that was 0.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Accepts for ever. The connections are owned by the runtime and end with it.
async fn serve(listener: StdListener, router: Router) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_connection(stream, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "Admin server could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one request. Connections are not kept: with few clients a new one costs nothing, and no idle client can
/// hold one of the few places.
async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "Admin connection failed"),
        Err(_) => tracing::debug!("Admin connection timed out"),
    }
}

#[cfg(test)]
mod tests;
