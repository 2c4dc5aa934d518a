//! Requests of one HTTP/1 connection, one after the other.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use spurline_http::{Head, h1};
use spurline_net::drain::Phase;
use spurline_telemetry::metrics::{Closing, Counter, Limit, Reason, TunnelKind};

use crate::{
    connection::Connection,
    deadline::Signal,
    exchange::{self, Outcome, Request},
    record::Record,
    reply::{Reply, Then},
    tunnel,
    worker::Worker,
};

/// What comes next on a connection.
enum Next {
    /// The client is gone, or the connection is closed for a reason of ours.
    Closed,
    Refuse(Reply),
    Request(Head, h1::RequestHead),
    /// What begins here is the preface of HTTP/2.
    Http2,
}

/// How the requests of a connection ended.
pub(crate) enum End {
    Closed,
    /// It goes on in another protocol.
    Tunnel(Box<tunnel::Start>),
    /// The client speaks HTTP/2, and nothing was read of it.
    Http2,
}

/// The first line of the preface of HTTP/2 (RFC 9113 section 3.4). What follows is for HTTP/2 to read.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Serves requests until the connection ends or becomes a tunnel.
pub(crate) async fn serve(worker: &Rc<Worker>, connection: &mut Connection) -> End {
    loop {
        let mut started = None;
        let timeouts = &worker.params().timeouts;
        let idle = if worker.closes_idle() { Some(timeouts.client_fin) } else { timeouts.idle };
        connection.deadline.set(worker.recent(), idle);
        let next = poll_fn(|cx| poll_next(worker, connection, &mut started, cx)).await;
        let started = started.unwrap_or_else(|| worker.recent());
        let (head, meta) = match next {
            Next::Request(head, meta) => (head, meta),
            Next::Refuse(reply) => {
                Box::pin(refuse(worker, connection, started, reply)).await;
                return End::Closed;
            }
            Next::Http2 => return End::Http2,
            Next::Closed => return End::Closed,
        };
        connection.deadline.set_idle(None);
        let h1::RequestHead { framing, expects_continue, .. } = meta;
        let request = Request { head, framing, expects_continue, started };
        match Box::pin(exchange::run(worker, connection, request)).await {
            Outcome::KeepAlive => connection.deadline.set_idle(Some(worker.recent())),
            Outcome::Tunnel(start) => {
                worker.shard().inc(Counter::Tunnels(TunnelKind::WebSocket));
                return End::Tunnel(start);
            }
            ended => {
                Box::pin(close(worker, connection, ended)).await;
                return End::Closed;
            }
        }
    }
}

/// What is left to do for a connection after its last response.
async fn close(worker: &Worker, connection: &mut Connection, outcome: Outcome) {
    match outcome {
        Outcome::Abort => connection.reset_on_close(),
        Outcome::Linger => {
            drained(worker);
            // What there is of a response that was cut short.
            if connection.flush(worker).await {
                connection.linger(worker).await;
            }
        }
        Outcome::Close | Outcome::KeepAlive | Outcome::Tunnel(_) => drained(worker),
    }
}

/// Waits for the next request head. `started` becomes the time of its first byte, as soon as that is there.
fn poll_next(
    worker: &Worker,
    connection: &mut Connection,
    started: &mut Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    let params = worker.params();
    loop {
        if !connection.link.input.is_empty() {
            if started.is_none() {
                let now = worker.now();
                *started = Some(now);
                connection.deadline.set(now, params.timeouts.head);
            }
            let preface = preface(worker, connection);
            if preface == Preface::Whole {
                return Poll::Ready(Next::Http2);
            }
            let read = if preface == Preface::Begun { Ok(None) } else { read_head(worker, connection) };
            match read {
                Ok(Some((head, meta))) => return Poll::Ready(Next::Request(head, meta)),
                Ok(None) => {}
                Err(error) => {
                    note_limit(worker, error);
                    return Poll::Ready(Next::Refuse(Reply::to_bad_request(error)));
                }
            }
        }
        match connection.deadline.poll_signal(cx) {
            Some(Signal::Expired) if connection.link.input.is_empty() => return Poll::Ready(Next::Closed),
            Some(Signal::Expired) => {
                return Poll::Ready(Next::Refuse(Reply::new(408, Reason::HeadTimeout)));
            }
            Some(Signal::Evicted) => {
                worker.shard().inc(Counter::LimitsReached(Limit::Connections));
                return Poll::Ready(Next::Closed);
            }
            Some(Signal::Changed) => {
                // A client that has only just connected did so to send something.
                if worker.closes_idle() && connection.link.received == 0 {
                    connection.deadline.set(worker.recent(), Some(params.timeouts.client_fin));
                }
                continue;
            }
            None => {}
        }
        match connection.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Closed),
            Poll::Ready(Ok(_)) => {}
            Poll::Pending
                if connection.link.input.is_empty()
                    && connection.link.received > 0
                    && worker.closes_idle() =>
            {
                drained(worker);
                return Poll::Ready(Next::Closed);
            }
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// How much of the preface's first line is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preface {
    None,
    Begun,
    Whole,
}

/// Whether the client speaks HTTP/2 from the start, by prior knowledge.
fn preface(worker: &Worker, connection: &Connection) -> Preface {
    let received = connection.link.input.data();
    let is_first = connection.link.received == received.len() as u64;
    match is_first && worker.params().http2.is_on {
        true if received.starts_with(PREFACE_LINE) => Preface::Whole,
        true if PREFACE_LINE.starts_with(received) => Preface::Begun,
        _ => Preface::None,
    }
}

/// Reads a request head if it has arrived whole. Until then the connection holds its bytes and nothing else.
fn read_head(
    worker: &Worker,
    connection: &mut Connection,
) -> Result<Option<(Head, h1::RequestHead)>, spurline_http::Error> {
    let mut head = worker.heads().take();
    match h1::read_request(connection.link.input.data(), &worker.params().http, &mut head) {
        Ok(Some(meta)) => {
            connection.link.input.consume(meta.consumed);
            Ok(Some((head, meta)))
        }
        other => {
            worker.heads().give(head);
            other.map(|_| None)
        }
    }
}

/// Answers what could not be read as a request. Where the next one would start is not known, so the connection ends.
pub(crate) async fn refuse(worker: &Worker, connection: &mut Connection, started: Instant, reply: Reply) {
    let mut record = Record::new(started);
    record.reply(reply);
    let sent = reply.send(&mut connection.link, (false, Then::Close), None).is_ok();
    let flushed = sent && connection.flush(worker).await;
    // What could not be read is not read on.
    connection.link.input.clear();
    record.finish(worker, connection, &Head::default());
    if flushed {
        connection.linger(worker).await;
    }
}

fn drained(worker: &Worker) {
    if worker.drain().phase() != Phase::Running {
        worker.shard().inc(Counter::DrainedConnections(Closing::Graceful));
    }
}

fn note_limit(worker: &Worker, error: spurline_http::Error) {
    use spurline_http::Error;
    let limit = match error {
        Error::HeadTooLarge => Limit::HeadBytes,
        Error::TooManyFields => Limit::Fields,
        Error::TargetTooLarge => Limit::TargetBytes,
        _ => return,
    };
    worker.shard().inc(Counter::LimitsReached(limit));
}
