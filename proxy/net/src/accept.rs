//! The accept loop.
//!
//! It outlives every failure of `accept(2)`: errors of one connection are skipped, a lack of descriptors or
//! memory pauses it and ends by itself. It starts no tasks and keeps no track of the connections it yields.

use std::future::poll_fn;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// The first pause after a lack of descriptors or memory; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest pause: how late, at worst, it is noticed that there are descriptors again.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// One accepted connection, not yet bound to a runtime, so that any worker may take it.
#[derive(Debug)]
pub struct Accepted {
    /// Non-blocking, close-on-exec, `TCP_NODELAY` set.
    pub stream: net::TcpStream,
    /// The address of the peer that connected.
    pub peer: SocketAddr,
    /// The address it reached after any redirection; see [`crate::original_destination`].
    pub local: SocketAddr,
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
    listeners: Vec<TcpListener>,
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
    /// Takes over `listeners`, which must be non-blocking ([`crate::listen()`] makes them so).
    ///
    /// `on_fault` is called for every failed `accept`; a log line is written once per pause only.
    /// Must be called within a tokio runtime, which then drives the listeners.
    ///
    /// # Errors
    ///
    /// When the runtime cannot register a listener.
    pub fn new(
        listeners: Vec<net::TcpListener>,
        on_fault: impl FnMut(AcceptFault) + Send + 'static,
    ) -> io::Result<Self> {
        let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
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
            // The readiness stays set until `accept` would block, so a backlog costs one wake-up.
            if let Poll::Ready(outcome) = listener.poll_accept(cx) {
                self.next = index + 1;
                return Poll::Ready((index, outcome.and_then(|(stream, peer)| unbind(stream, peer, index))));
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

/// Takes the connection off this runtime, so that a worker can put it on its own.
fn unbind(stream: TcpStream, peer: SocketAddr, listener: usize) -> io::Result<Accepted> {
    let stream = stream.into_std()?;
    // Linux hands the listener's option down, but not to what was in its backlog when it was set.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok(Accepted { stream, peer, local, listener })
}
