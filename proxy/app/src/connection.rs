//! One downstream connection: where it was meant to go, what it speaks, and its bytes.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use spurline_config::{Protocol, Role};
use spurline_net::{Accepted, Detection, Transport, detect};
use spurline_route::Endpoint;
use spurline_telemetry::metrics::{Counter, Detected, Limit, ListenerKind, Refusal};
use tokio::{io::AsyncWrite as _, net::TcpStream};

use crate::{
    binding::Binding,
    buffer::Buffer,
    deadline::{Deadline, Signal},
    http, opaque,
    terminate::{self, Terminated},
    tunnel,
    worker::Worker,
};

/// Where a connection was meant to go before it reached us.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) binding: Arc<Binding>,
    pub(crate) peer: SocketAddr,
    /// The port that overrides are looked up by.
    pub(crate) port: u16,
    /// The baseline, where it does not depend on the route table.
    pub(crate) baseline: Option<Arc<[Endpoint]>>,
}

/// A downstream connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Transport,
    /// Bytes received and not used yet.
    pub(crate) input: Buffer,
    /// Bytes to send.
    pub(crate) output: Buffer,
    pub(crate) deadline: Deadline,
    pub(crate) origin: Origin,
    /// The client has ended its stream; it may still read.
    pub(crate) fin: bool,
    /// Bytes received and sent.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Those of them that requests which have ended account for.
    settled: (u64, u64),
}

// === impl Origin ===

impl Origin {
    pub(crate) fn is_gateway(&self) -> bool {
        self.binding.role == Role::Gateway
    }
}

/// Serves a connection to its end, or to the point where it leaves HTTP: what it goes on with is returned.
pub(crate) async fn serve(worker: &Rc<Worker>, connection: &mut Connection) -> Option<Box<tunnel::Start>> {
    loop {
        let spoken = match connection.spoken(worker).await {
            Spoken::Unknown => match Box::pin(opaque::listen_to_both(worker, connection)).await {
                opaque::First::Client(spoken) => spoken,
                opaque::First::Server(start) => return Some(start),
                opaque::First::Nobody => Spoken::Nothing,
            },
            decided => decided,
        };
        match spoken {
            Spoken::Http => return http::serve(worker, connection).await,
            Spoken::Opaque => return Box::pin(opaque::open(worker, connection)).await,
            Spoken::Nothing | Spoken::Unknown => return None,
            Spoken::Tls => match Box::pin(terminate::terminate(worker, connection)).await {
                Terminated::Open => {}
                Terminated::Passed => return Box::pin(opaque::pass(worker, connection)).await,
                Terminated::Ended => return None,
            },
        }
    }
}

fn origin(accepted: &Accepted, binding: Arc<Binding>) -> Result<Origin, Refusal> {
    let peer = accepted.peer;
    if binding.kind == ListenerKind::Explicit {
        let (port, baseline) = (binding.port, binding.baseline.clone());
        return Ok(Origin { binding, peer, port, baseline });
    }
    // None of a connection that was made to our own port: it would be sent to ourselves.
    let original = spurline_net::original_destination(&accepted.stream);
    let Ok(Some(addr)) = original else { return Err(Refusal::OriginalDestination) };
    Ok(Origin { binding, peer, port: addr.port(), baseline: Some(Arc::new([Endpoint { addr }])) })
}

/// What a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    Tls,
    Opaque,
    /// Nothing decisive in time: perhaps the server is to speak first, perhaps the client only connected early.
    Unknown,
    Nothing,
}

// === impl Connection ===

impl Connection {
    /// Takes over an accepted connection. `None`: it is refused, or was gone already.
    pub(crate) fn open(worker: &Worker, accepted: Accepted) -> Option<Self> {
        let binding = worker.binding(accepted.listener)?;
        worker.shard().inc(Counter::ConnectionsAccepted(binding.kind));
        let peer = accepted.peer;
        let origin = origin(&accepted, binding).inspect_err(|refusal| {
            tracing::debug!(%peer, reason = refusal.label(), "Connection refused");
            worker.shard().inc(Counter::ConnectionsRefused(*refusal));
        });
        let stream = TcpStream::from_std(accepted.stream)
            .inspect_err(|error| tracing::warn!(%peer, %error, "Connection could not be registered"));
        let (origin, stream) = (origin.ok()?, stream.ok()?);
        let deadline = worker.deadlines().slot();
        // Until its first request a connection is as good as any idle one to give its place away.
        deadline.set_idle(Some(worker.recent()));
        Some(Self {
            origin,
            stream: Transport::Plain(stream),
            input: Buffer::default(),
            output: Buffer::default(),
            deadline,
            fin: false,
            received: 0,
            sent: 0,
            settled: (0, 0),
        })
    }

    /// Lets the end of this connection be a reset, so that a response cut short is not taken for a whole one.
    pub(crate) fn reset_on_close(&mut self) {
        if let Err(error) = self.stream.set_linger_reset() {
            tracing::debug!(%error, "Connection could not be set to reset");
        }
    }

    /// Takes up what was inside of TLS: none of it has been read or sent yet.
    pub(crate) fn secured(&mut self, stream: Transport) {
        self.stream = stream;
        self.input.clear();
        (self.received, self.sent, self.settled) = (0, 0, (0, 0));
    }

    /// Whether TLS ends here if the client speaks it.
    pub(crate) fn terminates(&self) -> bool {
        self.origin.binding.termination.is_some() && matches!(self.stream, Transport::Plain(_))
    }

    /// Whether TLS of the client is more than opaque bytes: it may end here, or get no other TLS around it.
    pub(crate) fn minds_tls(&self) -> bool {
        self.terminates() || self.origin.binding.upstream_tls.is_some()
    }

    /// Whether everything that is to be sent has been handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty() && !self.stream.has_unsent()
    }

    /// The bytes used and sent since the last call: those of one request. What has been read ahead is the next one's.
    pub(crate) fn settle(&mut self) -> (u64, u64) {
        let (used, sent) = (self.received - self.input.len() as u64, self.sent);
        let before = std::mem::replace(&mut self.settled, (used, sent));
        (used - before.0, sent - before.1)
    }

    /// See [`Buffer::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = self.input.poll_fill(cx, &mut self.stream);
        if let Poll::Ready(Ok(count)) = filled {
            self.received += count as u64;
            self.fin |= count == 0;
        }
        filled
    }

    /// See [`Buffer::poll_flush`].
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let flushed = self.output.poll_flush(cx, &mut self.stream);
        if let Poll::Ready(Ok(count)) = flushed {
            self.sent += count as u64;
        }
        flushed
    }

    /// Writes everything that is to be sent. False when the client took it neither whole nor in time.
    pub(crate) async fn flush(&mut self, worker: &Worker) -> bool {
        self.deadline.set(worker.recent(), worker.params().timeouts.body_idle);
        poll_fn(|cx| {
            while !self.is_flushed() {
                match self.poll_flush(cx) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => match self.deadline.poll_signal(cx) {
                        Some(Signal::Expired) => return Poll::Ready(false),
                        Some(Signal::Changed | Signal::Evicted) => {}
                        None => return Poll::Pending,
                    },
                }
            }
            Poll::Ready(true)
        })
        .await
    }

    /// Ends our side and reads on until the client has ended its own, so that what it still sends does not reset the
    /// connection before it has read our last answer (RFC 9112 section 9.6).
    pub(crate) async fn linger(&mut self, worker: &Worker) {
        let params = worker.params();
        self.deadline.set(worker.recent(), Some(params.timeouts.client_fin));
        let limit = self.received + params.drain_body_bytes_max;
        // In TLS the end is something to send, which a client that takes nothing must not make us wait for.
        let mut ended = false;
        poll_fn(|cx| {
            while !self.fin && self.received < limit {
                if !ended {
                    match Pin::new(&mut self.stream).poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => ended = true,
                        Poll::Ready(Err(_)) => break,
                        Poll::Pending => {}
                    }
                }
                self.input.clear();
                match self.poll_fill(cx) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => match self.deadline.poll_signal(cx) {
                        Some(Signal::Expired) => break,
                        Some(Signal::Changed | Signal::Evicted) => {}
                        None => return Poll::Pending,
                    },
                }
            }
            Poll::Ready(())
        })
        .await;
        if self.received >= limit {
            worker.shard().inc(Counter::LimitsReached(Limit::DrainBodyBytes));
        }
    }

    async fn spoken(&mut self, worker: &Worker) -> Spoken {
        match self.origin.binding.protocol {
            Protocol::Detect => self.detect(worker).await,
            _ if self.terminates() => Spoken::Tls,
            Protocol::Http => Spoken::Http,
            Protocol::Tcp => Spoken::Opaque,
        }
    }

    async fn detect(&mut self, worker: &Worker) -> Spoken {
        self.deadline.set(worker.now(), Some(worker.params().timeouts.detect));
        let detected = poll_fn(|cx| self.poll_detect(cx)).await;
        worker.shard().inc(Counter::Detected(detected));
        match detected {
            Detected::Http1 => Spoken::Http,
            Detected::Tls => Spoken::Tls,
            Detected::Http2 | Detected::Tcp => Spoken::Opaque,
            Detected::Timeout => Spoken::Unknown,
            Detected::Closed => Spoken::Nothing,
        }
    }

    fn poll_detect(&mut self, cx: &mut Context<'_>) -> Poll<Detected> {
        loop {
            match detect(self.input.data()) {
                Detection::Http1 => return Poll::Ready(Detected::Http1),
                Detection::Http2 => return Poll::Ready(Detected::Http2),
                Detection::Tls => return Poll::Ready(Detected::Tls),
                Detection::Opaque => return Poll::Ready(Detected::Tcp),
                Detection::NeedMore => {}
            }
            match self.deadline.poll_signal(cx) {
                Some(Signal::Expired) => return Poll::Ready(Detected::Timeout),
                Some(Signal::Evicted) => return Poll::Ready(Detected::Closed),
                Some(Signal::Changed) => continue,
                None => {}
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.input.is_empty() => return Poll::Ready(Detected::Closed),
                // Whatever it was going to be, it is whole now.
                Ok(0) => return Poll::Ready(Detected::Tcp),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Detected::Closed),
            }
        }
    }
}
