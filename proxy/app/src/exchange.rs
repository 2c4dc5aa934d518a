//! One request and its response: decide, find a connection, relay, and try again where that is safe.

mod acquire;

use std::{rc::Rc, time::Instant};

use spurline_http::{
    Framing, Head, Name, Version, connection_options,
    grpc::{self, Web},
    h1,
    h2::ErrorCode,
    remove_hop_by_hop,
};
use spurline_route::RoutingKey;
use spurline_telemetry::{
    access::Flag,
    metrics::{Counter, Reason, RetryReason, SelectionLabel},
};

use acquire::{Earlier, Failure};

use crate::{
    call::Call,
    connection::Connection,
    explain,
    h2::Loss,
    record::Record,
    relay::{End, Fault, Relay, RequestBody, Summary},
    reply::{Reply, Then},
    steer::{self, Decision},
    tunnel,
    upstream::{Cluster, Lease},
    websocket::{self, Handshake},
    worker::Worker,
};

/// A request whose head has been read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    pub(crate) started: Instant,
}

/// What becomes of the connection after a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    KeepAlive,
    /// All was said and heard.
    Close,
    /// All was said, but the client may still be sending.
    Linger,
    /// The response is cut short.
    Abort,
    Tunnel(Box<tunnel::Start>),
}

/// A request on its way. It is counted when dropped, so that a request that is cut off counts as well.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a mut Connection,
    head: Head,
    body: RequestBody,
    upgrade: Option<h1::Upgrade>,
    call: Option<Call>,
    /// The client asked to close after this request, or cannot do otherwise.
    closes: bool,
    /// It was served to its end, whichever that was.
    ended: bool,
    record: Record,
    /// How the upstream reset the stream of the last try.
    reset: Option<ErrorCode>,
    started: Instant,
}

/// Serves one request.
pub(crate) async fn run(worker: &Rc<Worker>, connection: &mut Connection, request: Request) -> Outcome {
    let mut exchange = Exchange::new(worker, connection, request);
    let outcome = match exchange.prepare() {
        Ok(decision) => exchange.forward(decision).await,
        Err(reply) => exchange.answer(reply).await,
    };
    exchange.ended = true;
    outcome
}

/// Answers a request that is not to be served.
pub(crate) async fn refuse(
    worker: &Rc<Worker>,
    connection: &mut Connection,
    request: Request,
    reply: Reply,
) -> Outcome {
    let mut exchange = Exchange::new(worker, connection, request);
    let outcome = exchange.answer(reply).await;
    exchange.ended = true;
    outcome
}

// === impl Exchange ===

impl<'a> Exchange<'a> {
    fn new(worker: &'a Rc<Worker>, connection: &'a mut Connection, request: Request) -> Self {
        let Request { head, framing, expects_continue, started } = request;
        Self {
            worker,
            record: Record::new(started),
            connection,
            head,
            body: RequestBody::new(framing, expects_continue),
            upgrade: None,
            call: None,
            closes: false,
            ended: false,
            reset: None,
            started,
        }
    }

    /// Decides where the request goes and makes its head fit to be forwarded. The routing key is read before anything
    /// is taken out of the head.
    fn prepare(&mut self) -> Result<Decision, Reply> {
        self.closes = self.head.version() == Version::Http10;
        let steered =
            steer::steer(self.worker, &self.connection.origin, &mut self.head, &mut self.record.findings);
        let extractor = &self.connection.origin.binding.extractor;
        let options = connection_options(&mut self.head, |name| extractor.is_protected(name))
            .map_err(Reply::to_bad_request)?;
        self.closes = options.close || (self.closes && !options.keep_alive);
        if options.nominates {
            self.body.discard_trailers();
        }
        let framing = self.body.framing();
        self.upgrade = h1::requested_upgrade(&self.head, options, framing).map_err(Reply::to_bad_request)?;
        // An upgrade with a body is where servers disagree about what follows it.
        self.closes |=
            options.upgrade && framing != Framing::None && self.head.value(Name::Upgrade).is_some();
        remove_hop_by_hop(&mut self.head);
        self.prepare_call();
        if !self.head.protocol().is_empty() && !websocket::is_asked_for(&self.head) {
            // RFC 8441 section 4 leaves other protocols to whoever knows them.
            return Err(Reply::new(501, Reason::UpgradeRefused));
        }
        if self.head.value(Name::Host).is_some_and(|host| !self.connection.serves(host)) {
            return Err(Reply::new(421, Reason::Misdirected));
        }
        let decision = steered.inspect_err(|_| self.record.selection = SelectionLabel::Reject)?;
        self.record.selection = decision.selection;
        if self.head.value(Name::Host).is_none() {
            self.add_host(&decision.cluster)?;
        }
        Ok(decision)
    }

    fn prepare_call(&mut self) {
        self.call = Call::of(&mut self.head, self.connection.origin.binding.grpc_web);
        if let Some(Web { request: grpc::Coding::Text, .. }) = self.web() {
            self.body.decode_text();
        }
    }

    fn web(&self) -> Option<Web> {
        self.call.and_then(|call| call.web)
    }

    /// An HTTP/1.0 request may have no authority, an HTTP/1.1 one must have it.
    fn add_host(&mut self, cluster: &Cluster) -> Result<(), Reply> {
        let host = cluster.endpoint(0).map(|endpoint| endpoint.addr.to_string()).unwrap_or_default();
        self.head.append(b"host", host.as_bytes()).map_err(|_| Reply::new(500, Reason::Internal))
    }

    async fn forward(&mut self, decision: Decision) -> Outcome {
        let Decision { mut cluster, mut fallback, .. } = decision;
        cluster.note_request(self.started);
        let mut earlier = Earlier::default();
        loop {
            if self.is_given_up() {
                return Outcome::Abort;
            }
            let lease = match self.acquire(&cluster, &mut earlier).await {
                Ok(lease) => lease,
                Err(Failure::Unreachable(reply)) => match fallback.take() {
                    Some(baseline) => {
                        self.fall_back();
                        cluster = baseline;
                        cluster.note_request(self.started);
                        earlier = Earlier::default();
                        continue;
                    }
                    None => return self.answer(reply).await,
                },
                Err(Failure::Refused(reply)) => return self.answer(reply).await,
            };
            match self.attempt(lease).await {
                Attempt::Ended(outcome) => return outcome,
                Attempt::Failed(reply) => return self.answer(reply).await,
                Attempt::Overdue => {
                    let flushed = self.connection.flush(self.worker).await;
                    return if flushed { Outcome::Linger } else { Outcome::Abort };
                }
                Attempt::Retry(reason, index) => {
                    self.note_retry(reason);
                    // A connection that went stale says nothing good about its neighbours in the pool, and nothing
                    // bad about its endpoint.
                    earlier.fresh = true;
                    earlier.exclude = (reason != RetryReason::Stale).then_some(index);
                }
            }
        }
    }

    fn fall_back(&mut self) {
        self.record.selection = SelectionLabel::Baseline;
        self.record.findings.baseline_reason = Some(spurline_route::BaselineReason::Unavailable);
    }

    fn note_retry(&mut self, reason: RetryReason) {
        self.record.retries += 1;
        self.worker.shard().inc(Counter::Retries(reason));
    }

    /// Whether the request can be sent again from the start although it may have been received before.
    fn is_replayable(&self) -> bool {
        self.head.method().is_idempotent() && self.body.framing() == Framing::None && self.upgrade.is_none()
    }

    /// Sends the request on one connection and relays what comes back.
    async fn attempt(&mut self, mut lease: Lease) -> Attempt {
        self.body.release();
        if self.is_given_up() {
            lease.keep(self.worker.recent(), None);
            return Attempt::Ended(Outcome::Abort);
        }
        self.record.upstream = lease.addr();
        if lease.reused {
            self.record.flags.insert(Flag::Reused);
        }
        let scheme = lease.scheme();
        if let Some(call) = self.call {
            call.update_timeout(&mut self.head, self.started, self.worker.now());
        }
        let handshake = match self.handshake(&lease) {
            Ok(handshake) => handshake,
            Err(reply) => return Attempt::Failed(reply),
        };
        let (head, upgrade) = match &handshake {
            Some((head, handshake)) => (head, Some(&handshake.upgrade)),
            None => (&self.head, self.upgrade.as_ref()),
        };
        if self.body.send_head((head, upgrade), scheme, &mut lease.link).is_err() {
            return self.unopened(&lease);
        }
        let explanation = explain::explain(&self.connection.origin, &self.record, lease.addr());
        let timing = (self.started, self.patience());
        let (web, watched) = (self.web().map(|web| web.response), self.watched());
        let mut relay = Relay::new(self.worker, self.connection, &mut lease, &mut self.body, timing);
        relay.set_web(web);
        relay.set_watched(watched);
        relay.set_handshake(handshake.as_ref().map(|(_, handshake)| handshake));
        relay.set_request(&self.head, upgrade, self.closes);
        relay.set_explanation(explanation);
        let end = (&mut relay).await;
        let summary = relay.finish();
        self.record.status = summary.status;
        self.record.upstream_received += lease.link.received;
        self.record.upstream_sent += lease.link.sent;
        match end {
            End::Complete => {
                if summary.switched {
                    self.record.flags.insert(Flag::Tunnel);
                }
                let outcome = match (summary.keeps_downstream, self.body.is_done()) {
                    (true, true) => Outcome::KeepAlive,
                    (_, false) => Outcome::Linger,
                    (false, true) => Outcome::Close,
                };
                if summary.keeps_upstream && self.body.is_done() {
                    lease.keep(self.worker.recent(), summary.keep_alive_hint);
                }
                Attempt::Ended(outcome)
            }
            End::Switched => {
                self.record.flags.insert(Flag::Tunnel);
                let watched = self.watched();
                Attempt::Ended(Outcome::Tunnel(Box::new(tunnel::Start { lease, watched })))
            }
            End::Failed(fault) => self.failed(fault, &mut lease, &summary),
        }
    }

    /// Whether the client has reset the stream before anything was done for it.
    fn is_given_up(&mut self) -> bool {
        let is_given_up = self.connection.link.stream_mut().is_some_and(|stream| stream.loss().is_some());
        if is_given_up {
            self.note_fault(Fault::ClientGone, false);
        }
        is_given_up
    }

    /// The key whose override sends this request where it goes.
    fn watched(&self) -> Option<RoutingKey> {
        let key = self.record.findings.admission.and_then(|admission| admission.extraction.key);
        key.filter(|_| self.record.selection == SelectionLabel::Override)
    }

    /// What a WebSocket of HTTP/2 needs where the upstream speaks HTTP/1: the request as it is sent there.
    fn handshake(&mut self, lease: &Lease) -> Result<Option<(Head, Handshake)>, Reply> {
        if self.head.protocol().is_empty() {
            return Ok(None);
        }
        if lease.link.takes_connect_protocol() {
            return Ok(None);
        }
        if lease.link.version() == Version::Http2 {
            return Err(Reply::new(501, Reason::UpgradeRefused));
        }
        let handshake = Handshake::new();
        let head = handshake.request(&self.head).map_err(Reply::to_bad_request)?;
        self.body.hold();
        Ok(Some((head, handshake)))
    }

    /// The session took no request after all.
    fn unopened(&mut self, lease: &Lease) -> Attempt {
        if self.may_repeat() {
            return Attempt::Retry(RetryReason::Refused, lease.index());
        }
        Attempt::Failed(Reply::new(503, Reason::UpstreamRefused))
    }

    /// What follows a failure: another try, an answer, or, once the client has seen a part of the response, its end.
    fn failed(&mut self, fault: Fault, lease: &mut Lease, summary: &Summary) -> Attempt {
        let (cluster, index) = (Rc::clone(lease.cluster()), lease.index());
        // An upstream that resets a stream has seen it.
        self.reset = match lease.link.stream_mut().and_then(|stream| stream.loss()) {
            Some(Loss::Reset(code)) => Some(code),
            _ => None,
        };
        let patience = self.patience();
        let is_over = patience.total.is_some_and(|total| self.worker.now() - self.started >= total);
        // A server whose timer was before ours says so by giving up.
        let gave_up = is_over && patience.is_of_client && self.reset == Some(ErrorCode::CANCEL);
        let fault = if gave_up { Fault::Overdue } else { fault };
        let stale = lease.reused && fault.is_unanswered() && self.reset.is_none();
        if fault.blames_upstream() && !stale {
            cluster.failed(index, self.worker.now());
        }
        self.note_fault(fault, stale);
        if let (Fault::ResponseTimeout, Some(stream)) = (fault, lease.link.stream_mut()) {
            stream.leave_if_silent(self.started);
        }
        if summary.committed {
            // What there is of the response is delivered, unless its end could be taken for a clean one.
            let is_stream = self.connection.link.stream_mut().is_some();
            let cut = summary.delimited && fault != Fault::ClientGone && !is_stream;
            self.pass_on_reset();
            if let (Fault::Overdue, Some(call)) = (fault, self.call)
                && call.end_overdue(&mut self.connection.link)
            {
                return Attempt::Overdue;
            }
            return Attempt::Ended(if cut { Outcome::Linger } else { Outcome::Abort });
        }
        let is_untouched = self.body.framing() == Framing::None || self.body.is_untouched();
        if fault == Fault::Refused && is_untouched && self.may_repeat() {
            return Attempt::Retry(RetryReason::Refused, index);
        }
        if fault.is_unanswered() {
            // Nothing of it was received for certain when the socket took nothing of it.
            let unsent = lease.link.sent == 0 && self.body.is_untouched();
            if stale && self.record.retries == 0 && (unsent || self.is_replayable()) {
                return Attempt::Retry(RetryReason::Stale, index);
            }
            if (unsent || self.is_replayable()) && self.may_retry(&cluster) {
                return Attempt::Retry(RetryReason::Reset, index);
            }
        }
        if fault == Fault::Refused
            && self.call.is_some()
            && let Some(stream) = self.connection.link.stream_mut()
        {
            // Clients of gRPC send it again by themselves, which we cannot: its body is gone.
            stream.set_abort(ErrorCode::REFUSED_STREAM);
            return Attempt::Ended(Outcome::Abort);
        }
        match fault.reply() {
            Some(reply) => Attempt::Failed(reply),
            None => Attempt::Ended(Outcome::Abort),
        }
    }

    /// Lets the client's stream end as the upstream's did.
    fn pass_on_reset(&mut self) {
        if let (Some(code), Some(stream)) = (self.reset, self.connection.link.stream_mut())
            && matches!(code, ErrorCode::CANCEL | ErrorCode::ENHANCE_YOUR_CALM | ErrorCode::HTTP_1_1_REQUIRED)
        {
            stream.set_abort(code);
        }
    }

    fn note_fault(&mut self, fault: Fault, stale: bool) {
        let shard = self.worker.shard();
        if fault.is_cut() && !stale {
            shard.inc(Counter::UpstreamResets);
            self.record.flags.insert(Flag::UpstreamReset);
        }
        if fault == Fault::ClientGone {
            shard.inc(Counter::DownstreamAborts);
            self.record.flags.insert(Flag::DownstreamAbort);
        }
        if let Some(limit) = fault.limit() {
            shard.inc(Counter::LimitsReached(limit));
        }
    }

    /// Answers the request ourselves. The connection goes on when nothing of the request is left to be read.
    async fn answer(&mut self, reply: Reply) -> Outcome {
        self.record.reply(reply);
        // To HTTP/1.0 clients the reply does not say that the connection stays open, so it does not.
        let closes = self.closes || self.head.version() == Version::Http10 || self.worker.is_draining();
        let then = if self.body.is_done() && !closes { Then::KeepAlive } else { Then::Close };
        let is_head = self.head.method().is("HEAD");
        let explanation = explain::explain(&self.connection.origin, &self.record, None);
        let link = &mut self.connection.link;
        let sent = match self.call.filter(|call| call.is_answered(link)) {
            Some(call) => call.answer((reply, self.reset), (link, then), explanation.as_deref()),
            None => reply.send(link, (is_head, then), explanation.as_deref()),
        };
        if sent.is_err() {
            return Outcome::Abort;
        }
        match (self.connection.flush(self.worker).await, then) {
            (false, _) => Outcome::Abort,
            (true, Then::KeepAlive) => Outcome::KeepAlive,
            (true, Then::Close) => Outcome::Linger,
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.reset_on_close();
        }
        self.record.finish(self.worker, self.connection, &self.head);
        self.worker.heads().give(std::mem::take(&mut self.head));
    }
}

/// How one try ended.
enum Attempt {
    Ended(Outcome),
    Failed(Reply),
    /// The client waits no longer for the rest of the response.
    Overdue,
    /// Try again, on another endpoint than the one of this index if there is one.
    Retry(RetryReason, usize),
}
