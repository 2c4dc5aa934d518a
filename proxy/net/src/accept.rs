//! The accept loop.
//!
//! It outlives every failure of `accept(2)`: errors of one connection are skipped, a lack of descriptors or
//! memory pauses it and ends by itself. It starts no tasks and keeps no track of the connections it yields.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::time::{Instant, sleep_until};

/// The first pause after a lack of descriptors or memory; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest pause: how late, at worst, it is noticed that there are descriptors again.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// One accepted connection, not yet bound to a runtime, so that any worker may take it.
#[derive(Debug)]
pub struct Accepted {
    /// Non-blocking, close-on-exec, with `TCP_NODELAY` as its listener has it.
    pub stream: TcpStream,
    /// The address of the peer that connected.
    pub peer: SocketAddr,
    /// Which of the acceptor's listeners took it: its index in what [`Acceptor::new`] was given.
    pub listener: usize,
}

/// Why an `accept` failed, for a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcceptFault {
    /// The connection was gone before it was accepted. Nothing is lost but this connection.
    Connection,
    /// This process (`EMFILE`) or the system (`ENFILE`) has no descriptor left. Accepting pauses.
    Descriptors,
    /// The kernel has no memory for sockets (`ENOBUFS`, `ENOMEM`). Accepting pauses.
    Memory,
    /// The listening socket itself fails. Accepting pauses and tries again.
    Listener,
}

/// Accepts from one or more listeners, taking turns between them.
pub struct Acceptor {
    listeners: Vec<AsyncFd<TcpListener>>,
    /// The listener to ask first, so that a busy one cannot starve its neighbours.
    next: usize,
    pause: Option<Pause>,
    on_fault: Box<dyn FnMut(AcceptFault) + Send>,
}

/// An episode without descriptors or memory: begins with the first fault, ends with the next connection.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

// === impl Acceptor ===

impl Acceptor {
    /// Takes over `listeners`, which must be non-blocking and have `TCP_NODELAY` set ([`crate::listen()`] makes them so).
    ///
    /// `on_fault` is called for every failed `accept`; a log line is written once per pause only.
    /// Must be called within a tokio runtime, which then drives the listeners.
    ///
    /// # Errors
    ///
    /// When the runtime cannot register a listener.
    pub fn new(
        listeners: Vec<TcpListener>,
        on_fault: impl FnMut(AcceptFault) + Send + 'static,
    ) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "what replaces it is not safe; a listener owns its descriptor until it is dropped"
        )]
        let watch = |listener| AsyncFd::with_interest(listener, Interest::READABLE);
        let listeners = listeners.into_iter().map(watch).collect::<io::Result<_>>()?;
        Ok(Self { listeners, next: 0, pause: None, on_fault: Box::new(on_fault) })
    }

    /// Waits for the next connection. Cancel-safe: no connection is lost when the future is dropped.
    ///
    /// Called in a loop it takes what is ready without going back to the kernel's event queue, in batches
    /// bounded by tokio's cooperative budget, so that a storm of connections does not starve the runtime.
    /// Waits for ever when there are no listeners.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            if let Some(pause) = self.pause {
                sleep_until(pause.until).await;
            }
            let (index, outcome) = poll_fn(|cx| self.poll_any(cx)).await;
            match outcome {
                Ok(accepted) => {
                    if self.pause.take().is_some() {
                        tracing::info!(listener = index, "Accepting connections again.");
                    }
                    return accepted;
                }
                Err(error) => self.note(&error),
            }
        }
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<(usize, io::Result<Accepted>)> {
        for offset in 0..self.listeners.len() {
            let index = (self.next + offset) % self.listeners.len();
            let Some(listener) = self.listeners.get(index) else { break };
            if let Poll::Ready(outcome) = poll_accept(listener, cx) {
                self.next = index + 1;
                let accepted = outcome.map(|(stream, peer)| Accepted { stream, peer, listener: index });
                return Poll::Ready((index, accepted));
            }
        }
        Poll::Pending
    }

    fn note(&mut self, error: &io::Error) {
        let fault = AcceptFault::from(error);
        (self.on_fault)(fault);
        if fault == AcceptFault::Connection {
            return;
        }
        let length = match self.pause {
            Some(pause) => (pause.length * 2).min(PAUSE_MAX),
            None => {
                tracing::warn!(%error, ?fault, "Accepting connections is paused.");
                PAUSE_MIN
            }
        };
        self.pause = Some(Pause { until: Instant::now() + length, length });
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("listeners", &self.listeners).field("pause", &self.pause).finish()
    }
}

// === impl AcceptFault ===

impl From<&io::Error> for AcceptFault {
    fn from(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::NOBUFS | Errno::NOMEM) => Self::Memory,
            // accept(2): a pending connection's own network error is delivered here, and is to be retried.
            Some(
                Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PERM
                | Errno::PROTO
                | Errno::TIMEDOUT
                | Errno::NOTCONN
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::NOPROTOOPT,
            ) => Self::Connection,
            // Unknown ones pause too: a loop that retries at once on a lasting error would burn a core.
            _ => Self::Listener,
        }
    }
}

/// Accepts one connection and leaves it to whoever takes it to register it with a runtime: it is of no use to this one.
fn poll_accept(
    listener: &AsyncFd<TcpListener>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    loop {
        let mut readiness = ready!(listener.poll_read_ready(cx))?;
        // It stays until `accept` would block, so a backlog costs one wake-up.
        if let Ok(outcome) = readiness.try_io(|listener| accept(listener.get_ref())) {
            return Poll::Ready(outcome);
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(Errno::AFNOSUPPORT)?;
    Ok((stream.into(), SocketAddr::try_from(peer)?))
}
