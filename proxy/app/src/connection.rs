//! One downstream connection: where it was meant to go, what it speaks, and its bytes.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use spurline_config::{Protocol, Role};
use spurline_http::{Head, Version};
use spurline_net::{Accepted, Detection, Transport, detect, tls::Alpn};
use spurline_route::Endpoint;
use spurline_telemetry::metrics::{Counter, Detected, Limit, ListenerKind, Refusal};
use tokio::net::TcpStream;

use crate::{
    binding::Binding,
    buffer::Buffer,
    deadline::{Deadline, Signal},
    h2::{self, Stream},
    http,
    link::{Link, Wire},
    opaque,
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

/// What TLS agreed on, for the streams of a connection.
#[derive(Debug)]
pub(crate) struct Security {
    pub(crate) version: &'static str,
    pub(crate) server_name: Option<String>,
}

/// A downstream connection, or one stream of it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) link: Link,
    pub(crate) deadline: Deadline,
    pub(crate) origin: Rc<Origin>,
    /// The client has ended the connection from its side; it may still read. Never so of a stream.
    pub(crate) fin: bool,
    /// Bytes received and sent that requests which have ended account for.
    settled: (u64, u64),
    /// What TLS agreed on, where a stream is served and the connection is not here.
    security: Option<Rc<Security>>,
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
            Spoken::Http => match http::serve(worker, connection).await {
                http::End::Closed => return None,
                http::End::Tunnel(start) => return Some(start),
                http::End::Http2 => {
                    Box::pin(h2::serve(worker, connection)).await;
                    return None;
                }
            },
            Spoken::Http2 => {
                Box::pin(h2::serve(worker, connection)).await;
                return None;
            }
            Spoken::Opaque => return Box::pin(opaque::open(worker, connection)).await,
            Spoken::Nothing | Spoken::Unknown => return None,
            Spoken::Tls => match Box::pin(terminate::terminate(worker, connection)).await {
                Terminated::Open if connection.agreed_on_http2() => {
                    Box::pin(h2::serve(worker, connection)).await;
                    return None;
                }
                Terminated::Open => {}
                Terminated::Passed => return Box::pin(opaque::pass(worker, connection)).await,
                Terminated::Ended => return None,
            },
        }
    }
}

/// The host of an authority that is known to be one.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = authority.iter().rposition(|byte| *byte == b':').unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(end).unwrap_or((authority, b""));
    if port.iter().skip(1).all(u8::is_ascii_digit) { host } else { authority }
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
    Http2,
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
            origin: Rc::new(origin),
            link: Link::new(Wire::Transport(Transport::Plain(stream))),
            deadline,
            fin: false,
            settled: (0, 0),
            security: None,
        })
    }

    /// One stream of a connection.
    pub(crate) fn of_stream(
        worker: &Worker,
        stream: Stream,
        (origin, security): (Rc<Origin>, Option<Rc<Security>>),
    ) -> Self {
        Self {
            origin,
            link: Link::new(Wire::Stream(stream)),
            deadline: worker.deadlines().slot(),
            fin: false,
            settled: (0, 0),
            security,
        }
    }

    /// Takes the socket out, with what has been read from it.
    pub(crate) fn take_transport(&mut self) -> Option<(Transport, Buffer)> {
        let transport = std::mem::replace(self.link.transport_mut()?, Transport::Taken);
        Some((transport, std::mem::take(&mut self.link.input)))
    }

    /// Puts the socket back, with what is still to be written to it.
    pub(crate) fn put_transport(&mut self, transport: Transport, output: Buffer) {
        self.link.wire = Wire::Transport(transport);
        self.link.output = output;
    }

    /// Takes the socket out in the clear, for a handshake.
    pub(crate) fn take_plain(&mut self) -> Option<TcpStream> {
        self.link.transport_mut()?.take_plain()
    }

    fn agreed_on_http2(&self) -> bool {
        let session = self.link.transport().and_then(Transport::session);
        session.is_some_and(|session| session.alpn == Some(Alpn::Http2))
    }

    /// The version of TLS and the name that the client asked for; `None` in the clear.
    pub(crate) fn security(&self) -> Option<(&'static str, Option<&str>)> {
        if let Some(security) = &self.security {
            return Some((security.version, security.server_name.as_deref()));
        }
        let session = self.link.transport()?.session()?;
        Some((session.version, session.server_name))
    }

    /// Whether requests for that authority may come on this connection. Clients of HTTP/2 use one for several names if
    /// its certificate covers them (RFC 9113 section 9.1.1); in TLS that ends here for a name, they may for every name that
    /// there is a certificate for. Clients of HTTP/1 that ask for another name do so on purpose.
    pub(crate) fn serves(&self, authority: &[u8]) -> bool {
        let Some((_, Some(server_name))) = self.security() else { return true };
        if self.link.version() != Version::Http2 {
            return true;
        }
        let Some(termination) = &self.origin.binding.termination else { return true };
        let host = without_port(authority);
        host.eq_ignore_ascii_case(server_name.as_bytes())
            || std::str::from_utf8(host)
                .is_ok_and(|host| termination.tls.offer().covers(Some(&host.to_ascii_lowercase())))
    }

    /// What the access log calls the version of HTTP.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.link.version() {
            Version::Http2 => "http2",
            Version::Http10 | Version::Http11 => "http1",
        }
    }

    /// Lets the end of this connection be a reset, so that a response cut short is not taken for a whole one.
    pub(crate) fn reset_on_close(&mut self) {
        // A stream that ends before its end is reset in any case.
        let set = self.link.transport_mut().map_or(Ok(()), Transport::set_linger_reset);
        if let Err(error) = set {
            tracing::debug!(%error, "Connection could not be set to reset");
        }
    }

    /// Takes up what was inside of TLS: none of it has been read or sent yet.
    pub(crate) fn secured(&mut self, stream: Transport) {
        self.link.wire = Wire::Transport(stream);
        self.link.input.clear();
        (self.link.received, self.link.sent, self.settled) = (0, 0, (0, 0));
    }

    /// Whether TLS ends here if the client speaks it.
    pub(crate) fn terminates(&self) -> bool {
        self.origin.binding.termination.is_some()
            && matches!(self.link.wire, Wire::Transport(Transport::Plain(_)))
    }

    /// Whether TLS of the client is more than opaque bytes: it may end here, or get no other TLS around it.
    pub(crate) fn minds_tls(&self) -> bool {
        self.terminates() || self.origin.binding.upstream_tls.is_some()
    }

    /// Whether everything that is to be sent has been handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.link.is_flushed()
    }

    /// The bytes used and sent since the last call: those of one request. What has been read ahead is the next one's.
    pub(crate) fn settle(&mut self) -> (u64, u64) {
        let (used, sent) = (self.link.received - self.link.input.len() as u64, self.link.sent);
        let before = std::mem::replace(&mut self.settled, (used, sent));
        (used - before.0, sent - before.1)
    }

    /// See [`Link::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = self.link.poll_fill(cx);
        self.fin |= matches!(filled, Poll::Ready(Ok(0)));
        filled
    }

    /// See [`Link::poll_flush`].
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.link.poll_flush(cx)
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
    /// connection before it has read our last answer (RFC 9112 section 9.6). A stream has been ended already; there are
    /// clients that take its reset for a failure although the answer was whole (RFC 9113 section 8.1).
    pub(crate) async fn linger(&mut self, worker: &Worker) {
        let params = worker.params();
        self.deadline.set(worker.recent(), Some(params.timeouts.client_fin));
        let limit = self.link.received + params.drain_body_bytes_max;
        // In TLS the end is something to send, which a client that takes nothing must not make us wait for.
        let mut ended = false;
        poll_fn(|cx| {
            while !self.fin && self.link.received < limit {
                if self
                    .link
                    .stream_mut()
                    .is_some_and(|stream| stream.take_end(&mut Head::default()).is_some())
                {
                    break;
                }
                if !ended {
                    match self.link.poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => ended = true,
                        Poll::Ready(Err(_)) => break,
                        Poll::Pending => {}
                    }
                }
                self.link.input.clear();
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
        if self.link.received >= limit {
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
            Detected::Http2 if worker.params().http2.is_on => Spoken::Http2,
            Detected::Http2 | Detected::Tcp => Spoken::Opaque,
            Detected::Timeout => Spoken::Unknown,
            Detected::Closed => Spoken::Nothing,
        }
    }

    fn poll_detect(&mut self, cx: &mut Context<'_>) -> Poll<Detected> {
        loop {
            match detect(self.link.input.data()) {
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
                Ok(0) if self.link.input.is_empty() => return Poll::Ready(Detected::Closed),
                // Whatever it was going to be, it is whole now.
                Ok(0) => return Poll::Ready(Detected::Tcp),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Detected::Closed),
            }
        }
    }
}
