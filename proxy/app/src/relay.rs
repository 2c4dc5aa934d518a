//! The relay: one request and its response between two connections, both ways at once, with bounded buffers.
//!
//! ```text
//! downstream ── input ──► request body ──► output ── upstream
//! downstream ── output ◄── response head, body ◄── input ── upstream
//! ```
//!
//! Each direction reads more of a body only once what it read before is sent, so a slow reader slows its writer down and
//! memory stays where it is. The relay tries nothing again and answers nothing itself; it reports how it ended.

mod body;
mod fault;
mod request;
mod response;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use spurline_http::{Head, Version, grpc, h1};
use spurline_route::RoutingKey;
use spurline_telemetry::metrics::{Counter, TunnelKind};

use crate::{
    connection::Connection,
    deadline::Signal,
    relay::response::{Response, State},
    tunnel::{self, Watching},
    upstream::Lease,
    websocket::Handshake,
    worker::Worker,
};

pub(crate) use fault::Fault;
pub(crate) use request::RequestBody;

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The response was sent whole.
    Complete,
    /// Both sides have left HTTP for another protocol; what is in the buffers belongs to it.
    Switched,
    Failed(Fault),
}

/// What is to be known of a relay that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// The status sent downstream, 0 while none was.
    pub(crate) status: u16,
    /// What was relayed is another protocol on a stream of HTTP/2.
    pub(crate) switched: bool,
    /// Bytes of the final response have been sent.
    pub(crate) committed: bool,
    /// The client can tell where the response ends by itself, and so that it was cut short.
    pub(crate) delimited: bool,
    pub(crate) keeps_downstream: bool,
    pub(crate) keeps_upstream: bool,
    /// How long the upstream said that it keeps the connection.
    pub(crate) keep_alive_hint: Option<Duration>,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the whole request, from its start.
    pub(crate) total: Option<Duration>,
    /// That is what the client said, and not a setting.
    pub(crate) is_of_client: bool,
    /// Either side may say nothing for as long as a tunnel may.
    pub(crate) is_open: bool,
}

/// One request between two connections. A future of its end.
pub(crate) struct Relay<'a> {
    worker: &'a Worker,
    connection: &'a mut Connection,
    lease: &'a mut Lease,
    body: &'a mut RequestBody,
    response: Response<'a>,
    started: Instant,
    patience: Patience,
    /// The key whose override brought a tunnel here; the tunnel ends some time after the override does.
    watched: Option<RoutingKey>,
    watching: Option<Watching<'a>>,
    /// The upstream takes no more of the request; its response may still come.
    unwritable: bool,
    waiting: Option<Waiting>,
}

/// What has been moved in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Nothing,
    /// Only the request, as far as it can be: nothing else depends on that.
    Request,
    /// What may let more be moved.
    Some,
}

/// What has to happen next, for the choice of a deadline and of a fault when it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    RequestBody,
    UpstreamWritable,
    ResponseHead,
    ResponseBody,
    DownstreamWritable,
    /// The client has ended its stream and may be gone for good.
    ClientFin,
}

// === impl Relay ===

impl<'a> Relay<'a> {
    pub(crate) fn new(
        worker: &'a Worker,
        connection: &'a mut Connection,
        lease: &'a mut Lease,
        body: &'a mut RequestBody,
        (started, patience): (Instant, Patience),
    ) -> Self {
        Self {
            worker,
            connection,
            lease,
            body,
            response: Response::new(),
            started,
            patience,
            watched: None,
            watching: None,
            unwritable: false,
            waiting: None,
        }
    }

    /// What the response depends on.
    pub(crate) fn set_request(&mut self, head: &'a Head, upgrade: Option<&'a h1::Upgrade>, closes: bool) {
        self.response.set_request(head, upgrade, closes);
    }

    /// The request asks for WebSocket on behalf of a client of HTTP/2.
    pub(crate) fn set_handshake(&mut self, handshake: Option<&'a Handshake>) {
        self.response.handshake = handshake;
    }

    /// What becomes a tunnel on a stream ends some time after the override of that key.
    pub(crate) fn set_watched(&mut self, key: Option<RoutingKey>) {
        self.watched = key;
    }

    /// The response is to become one of gRPC-web.
    pub(crate) fn set_web(&mut self, coding: Option<grpc::Coding>) {
        self.response.web = coding;
    }

    /// A field to add to the response.
    pub(crate) fn set_explanation(&mut self, explanation: Option<String>) {
        self.response.explanation = explanation;
    }

    pub(crate) fn finish(self) -> Summary {
        self.response.into_summary(self.worker)
    }

    /// Moves what can be moved.
    fn pump(&mut self, cx: &mut Context<'_>) -> Result<Moved, Fault> {
        if self.connection.link.stream_mut().is_some_and(|stream| stream.poll_lost(cx)) {
            return Err(Fault::ClientGone);
        }
        let request = self.pump_request(cx)?;
        let response = self.pump_response(cx)?;
        let sent = self.flush_downstream(cx)?;
        let heard = self.listen_downstream(cx)?;
        Ok(match (request, response || sent || heard) {
            (_, true) => Moved::Some,
            (true, false) => Moved::Request,
            (false, false) => Moved::Nothing,
        })
    }

    fn flush_downstream(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        if self.connection.is_flushed() {
            return Ok(false);
        }
        match self.connection.poll_flush(cx) {
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(_)) => Err(Fault::ClientGone),
            Poll::Pending => Ok(false),
        }
    }

    /// Once the request is whole, notices that the client goes away, and takes in what it sends ahead. After the response
    /// that is up to whoever serves the next request.
    fn listen_downstream(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let is_idle = self.body.is_done() || self.body.is_held();
        if !is_idle || self.connection.fin || self.connection.link.input.is_full() || self.end().is_some() {
            return Ok(false);
        }
        if self.connection.link.version() == Version::Http2 && !self.lease.link.is_flushed() {
            // To ask a stream for more is to say that what it gave is passed on.
            return Ok(false);
        }
        match self.connection.poll_fill(cx) {
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(_)) => Err(Fault::ClientGone),
            Poll::Pending => Ok(false),
        }
    }

    fn end(&self) -> Option<End> {
        if !self.connection.is_flushed() {
            return None;
        }
        match self.response.state {
            State::Done => Some(End::Complete),
            State::Switched => Some(End::Switched),
            State::Head | State::Body => None,
        }
    }

    fn waiting(&self) -> Waiting {
        if !self.connection.is_flushed() {
            Waiting::DownstreamWritable
        } else if self.connection.fin && self.body.is_done() && self.connection.link.input.is_empty() {
            Waiting::ClientFin
        } else if !self.lease.link.is_flushed() && !self.unwritable {
            Waiting::UpstreamWritable
        } else if !self.body.is_done()
            && !self.body.is_held()
            && !self.body.awaits_continue()
            && self.response.state == State::Head
        {
            Waiting::RequestBody
        } else if self.response.state == State::Head {
            Waiting::ResponseHead
        } else {
            Waiting::ResponseBody
        }
    }

    /// Sets the deadline of what is waited for. Waiting for the same thing goes on with the same deadline unless
    /// something has moved.
    fn set_deadline(&mut self, moved: bool) {
        let waiting = self.waiting();
        // A client that has ended its stream does not get more time by our moving bytes towards it, nor an upstream by
        // sending its head bit by bit.
        let fixed = matches!(waiting, Waiting::ClientFin | Waiting::ResponseHead);
        if self.waiting == Some(waiting) && (!moved || fixed) {
            return;
        }
        self.waiting = Some(waiting);
        let timeouts = &self.worker.params().timeouts;
        let now = self.worker.recent();
        let stall = match waiting {
            Waiting::UpstreamWritable | Waiting::DownstreamWritable => timeouts.body_idle,
            Waiting::RequestBody | Waiting::ResponseHead | Waiting::ResponseBody if self.patience.is_open => {
                timeouts.tunnel_idle
            }
            Waiting::RequestBody => timeouts.body_idle,
            Waiting::ResponseHead => timeouts.response,
            Waiting::ResponseBody => timeouts.response_idle,
            Waiting::ClientFin => Some(timeouts.client_fin),
        };
        let total = self.patience.total.map(|total| (self.started + total).saturating_duration_since(now));
        self.connection.deadline.set(now, [stall, total].into_iter().flatten().min());
    }

    /// From here on both bodies are what the client and the upstream speak with each other.
    fn enter_tunnel(&mut self) {
        (self.patience.is_open, self.patience.total) = (true, None);
        self.worker.shard().inc(Counter::Tunnels(TunnelKind::WebSocket));
        self.watching = self.watched.map(|_| Watching::new(self.worker));
        // The override may have gone while the request was under way.
        self.note_change();
    }

    /// Something about the worker has changed, its route table perhaps.
    fn note_change(&mut self) {
        let (Some(key), Some(_)) = (&self.watched, &self.watching) else { return };
        if !tunnel::is_overridden(self.worker, &self.connection.origin, key) {
            self.watched = None;
            self.patience.total = Some(self.started.elapsed() + self.worker.params().timeouts.tunnel_grace);
            self.waiting = None;
        }
    }

    fn fail(&mut self, fault: Fault) -> Poll<End> {
        self.retract();
        Poll::Ready(End::Failed(fault))
    }

    fn expired(&self) -> Fault {
        if self.watching.is_some() && self.watched.is_none() {
            self.worker.shard().inc(Counter::TunnelsCut);
        }
        if self.patience.total.is_some_and(|total| self.started.elapsed() >= total) {
            return if self.patience.is_of_client { Fault::Overdue } else { Fault::RequestTimeout };
        }
        match self.waiting() {
            Waiting::RequestBody => Fault::BodyTimeout,
            Waiting::UpstreamWritable | Waiting::ResponseHead | Waiting::ResponseBody => {
                Fault::ResponseTimeout
            }
            Waiting::DownstreamWritable | Waiting::ClientFin => Fault::ClientGone,
        }
    }
}

impl Future for Relay<'_> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let mut moved = false;
        loop {
            match this.pump(cx) {
                Err(fault) => return this.fail(fault),
                Ok(Moved::Some) => {
                    moved = true;
                    if let Some(end) = this.end() {
                        return Poll::Ready(end);
                    }
                }
                Ok(last) => {
                    moved |= last == Moved::Request;
                    this.set_deadline(moved);
                    match this.connection.deadline.poll_signal(cx) {
                        Some(Signal::Expired) => {
                            let fault = this.expired();
                            return this.fail(fault);
                        }
                        Some(Signal::Changed | Signal::Evicted) => this.note_change(),
                        None => return Poll::Pending,
                    }
                }
            }
        }
    }
}
