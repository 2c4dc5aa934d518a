//! The response's direction.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use spurline_http::{
    Error, Framing, Head, Name, Version, connection_options, grpc,
    h1::{self, Persistence, ResponseEncoding, accepted_protocol},
    h2::{End, HeadMeta},
    remove_hop_by_hop,
};

use super::{
    Fault, Relay, Summary,
    body::{self, Body, Coding, WebBody},
};
use crate::{
    explain::EXPLAIN_FIELD,
    h2::{self, Loss},
    websocket::Handshake,
    worker::Worker,
};

/// The response so far.
pub(super) struct Response<'a> {
    pub(super) state: State,
    pub(super) explanation: Option<String>,
    pub(super) web: Option<grpc::Coding>,
    pub(super) handshake: Option<&'a Handshake>,
    switched: bool,
    head: Head,
    request: Option<&'a Head>,
    upgrade: Option<&'a h1::Upgrade>,
    /// The client asked for the connection to be closed.
    closes: bool,
    body: Body,
    interim: u32,
    status: u16,
    keeps_upstream: bool,
    keeps_downstream: bool,
    keep_alive_hint: Option<Duration>,
    /// Where the final response begins: bytes sent on the connection before, and bytes waiting in its output.
    begins: Option<(u64, usize)>,
}

/// ```text
/// Head ──final──► Body ──► Done
///  │ └─no body───────────────▲
///  └──101──► Switched
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Head,
    Body,
    Done,
    Switched,
}

// === impl Response ===

impl<'a> Response<'a> {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            explanation: None,
            web: None,
            handshake: None,
            switched: false,
            head: Head::default(),
            request: None,
            upgrade: None,
            closes: false,
            body: Body::new(Framing::None),
            interim: 0,
            status: 0,
            keeps_upstream: false,
            keeps_downstream: false,
            keep_alive_hint: None,
            begins: None,
        }
    }

    pub(super) fn set_request(&mut self, head: &'a Head, upgrade: Option<&'a h1::Upgrade>, closes: bool) {
        (self.request, self.upgrade, self.closes) = (Some(head), upgrade, closes);
    }

    pub(super) fn into_summary(self, worker: &Worker) -> Summary {
        let summary = Summary {
            status: self.status,
            switched: self.switched,
            committed: self.state != State::Head,
            delimited: self.is_delimited(),
            keeps_downstream: self.keeps_downstream,
            keeps_upstream: self.keeps_upstream,
            keep_alive_hint: self.keep_alive_hint,
        };
        worker.heads().give(self.head);
        summary
    }

    fn client(&self) -> Version {
        self.request.map(Head::version).unwrap_or_default()
    }

    /// Whether it accepts an extended CONNECT (RFC 8441 section 5).
    fn accepts_connect(&self) -> bool {
        let is_asked_for = self.request.is_some_and(|request| !request.protocol().is_empty());
        is_asked_for && matches!(self.status, 200..=299)
    }

    /// How the body of an HTTP/2 response is delimited, in the words of HTTP/1. Some have none, however their stream ends
    /// (RFC 9110 section 6.4.1); one without a length is chunked, for it may have trailers.
    fn framing_of(&mut self, meta: &HeadMeta, is_whole: bool) -> Framing {
        let status = self.head.status();
        let is_bodiless =
            self.request.is_some_and(|request| request.method().is("HEAD")) || matches!(status, 204 | 304);
        match meta.content_length {
            _ if is_bodiless => Framing::None,
            _ if is_whole && self.client() == Version::Http2 => Framing::None,
            Some(length) => Framing::Length(length),
            None if is_whole && status >= 200 => {
                // To HTTP/1 it has to be said that there is nothing.
                let _appended = self.head.append(b"content-length", b"0");
                Framing::Length(0)
            }
            None => Framing::Chunked,
        }
    }

    /// Whether an upstream of HTTP/1 speaks another protocol by now.
    pub(super) fn is_tunnel(&self) -> bool {
        self.switched && self.handshake.is_some()
    }

    /// Whether the client finds the end of the body without the end of the connection.
    fn is_delimited(&self) -> bool {
        self.client() == Version::Http2
            || self.body.coding() == Coding::Chunked
            || !matches!(self.body.framing(), Framing::Chunked | Framing::Close)
    }
}

// === impl Relay ===

impl Relay<'_> {
    /// Reads the response and moves it, until the client takes no more or the upstream has sent no more. More of a body is
    /// read only once what was read is sent, so that no more of it is kept than was read at once.
    pub(super) fn pump_response(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut moved = false;
        loop {
            let progress = match self.response.state {
                State::Head => self.read_head()?,
                State::Body => self.transfer_response()?,
                State::Done | State::Switched => return Ok(moved),
            };
            if progress {
                moved = true;
                continue;
            }
            if !self.response.body.is_untouched() && !self.connection.link.output.is_empty() {
                return Ok(moved);
            }
            match self.lease.link.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.upstream_ended()?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(self.upstream_gone()),
                Poll::Pending => return Ok(moved),
            }
            moved = true;
        }
    }

    fn upstream_gone(&mut self) -> Fault {
        let loss = self.lease.link.stream_mut().and_then(|stream| stream.loss());
        match (loss, self.lease.link.received) {
            (Some(Loss::Refused), 0) => Fault::Refused,
            (_, 0) => Fault::Unanswered,
            _ => Fault::UpstreamGone,
        }
    }

    /// The upstream has ended its stream, which ends a body without a length and cuts any other.
    fn upstream_ended(&mut self) -> Result<(), Fault> {
        if self.response.state == State::Head {
            return Err(self.upstream_gone());
        }
        self.response.body.finish(&mut self.connection.link).map_err(Fault::BadResponse)?;
        self.response.state = State::Done;
        Ok(())
    }

    /// Takes a response back of which the client has not been sent anything, so that it can be answered instead.
    pub(super) fn retract(&mut self) {
        let Some((sent, waiting)) = self.response.begins.take() else { return };
        if self.connection.link.sent == sent {
            self.connection.link.output.truncate(waiting);
            self.response.state = State::Head;
            self.response.status = 0;
        }
    }

    /// Reads a head if it has arrived whole.
    fn read_head(&mut self) -> Result<bool, Fault> {
        let Some(framing) = self.next_head()? else { return Ok(false) };
        match self.response.head.status() {
            101 => self.switch()?,
            100..=199 => self.forward_interim()?,
            _ => self.forward_final(framing)?,
        }
        Ok(true)
    }

    fn next_head(&mut self) -> Result<Option<Framing>, Fault> {
        let response = &mut self.response;
        let link = &mut self.lease.link;
        if let Some(stream) = link.stream_mut() {
            let Some(h2::Response { head, meta }) = stream.take_response() else { return Ok(None) };
            let is_whole = stream.is_whole();
            link.received += head.bytes() as u64;
            self.worker.heads().give(std::mem::replace(&mut response.head, head));
            return Ok(Some(response.framing_of(&meta, is_whole)));
        }
        if link.input.is_empty() {
            return Ok(None);
        }
        if response.head.capacity_bytes() == 0 {
            response.head = self.worker.heads().take();
        }
        let limits = &self.worker.params().http;
        let method = response.request.map(Head::method).unwrap_or(spurline_http::Method(b""));
        let read = h1::read_response(link.input.data(), method, limits, &mut response.head)
            .map_err(Fault::BadResponse)?;
        let Some(h1::ResponseHead { consumed, framing }) = read else { return Ok(None) };
        link.input.consume(consumed);
        Ok(Some(framing))
    }

    /// Interim responses are passed on as they come (RFC 9110 section 15.2), to clients that know them.
    fn forward_interim(&mut self) -> Result<(), Fault> {
        let response = &mut self.response;
        response.interim += 1;
        self.body.note_interim();
        if response.interim > self.worker.params().informational_max {
            return Err(Fault::TooManyInterim);
        }
        if response.client() == Version::Http10 {
            return Ok(());
        }
        connection_options(&mut response.head, |_| false).map_err(Fault::BadResponse)?;
        remove_hop_by_hop(&mut response.head);
        self.send_head(Framing::None, Persistence::KeepAlive, None)
    }

    /// The upstream leaves HTTP, which it may only do when it was asked to.
    fn switch(&mut self) -> Result<(), Fault> {
        let response = &mut self.response;
        let malformed = Fault::BadResponse(Error::Upgrade);
        let upgrade = response.upgrade.ok_or(malformed)?;
        let options = connection_options(&mut response.head, |_| false).map_err(Fault::BadResponse)?;
        let protocol = accepted_protocol(&response.head, options, upgrade).ok_or(malformed)?;
        remove_hop_by_hop(&mut response.head);
        if let Some(handshake) = response.handshake {
            handshake.accept(&mut response.head).map_err(Fault::BadResponse)?;
            return self.switch_stream();
        }
        response.state = State::Switched;
        response.status = 101;
        self.send_head(Framing::None, Persistence::KeepAlive, Some(&protocol))
    }

    /// An upstream of HTTP/1 has accepted what a stream asked for.
    fn switch_stream(&mut self) -> Result<(), Fault> {
        let response = &mut self.response;
        response.body = Body::new(Framing::Close);
        (response.state, response.status, response.switched) = (State::Body, 200, true);
        self.body.release();
        self.enter_tunnel();
        self.send_head(Framing::Close, Persistence::KeepAlive, None)
    }

    fn forward_final(&mut self, received: Framing) -> Result<(), Fault> {
        if self.response.handshake.is_some() && matches!(self.response.head.status(), 200..=299) {
            // To the client it would mean that its tunnel is open.
            return Err(Fault::BadResponse(Error::Upgrade));
        }
        let draining = self.worker.is_draining();
        let through = self.client_is_through();
        let response = &mut self.response;
        let client = response.client();
        let head = &mut response.head;
        let options = connection_options(head, |_| false).map_err(Fault::BadResponse)?;
        let persistent = head.version() == Version::Http11 || options.keep_alive;
        // An upgrade that was not accepted leaves it open what the server takes the next bytes for.
        response.keeps_upstream =
            persistent && !options.close && received != Framing::Close && response.upgrade.is_none();
        response.keep_alive_hint = keep_alive_hint(head);
        remove_hop_by_hop(head);
        if let Some(explanation) = &response.explanation {
            // The text is built from validated names and addresses; were it no field value, the response goes without.
            let _explained = head.append(EXPLAIN_FIELD.as_bytes(), explanation.as_bytes());
        }
        let web = response.web.filter(|coding| grpc::to_web(head, *coding));
        let framing = match web {
            // What it becomes has another length.
            Some(_) if received != Framing::None => Framing::Chunked,
            _ => received,
        };
        response.body = Body::new(received);
        response.body.set_web(web.map(WebBody::Response));
        response.body.set_coding(body::coding(framing, client));
        if options.nominates {
            response.body.discard_trailers();
        }
        response.status = head.status();
        response.state = if framing == Framing::None { State::Done } else { State::Body };
        response.keeps_downstream =
            response.is_delimited() && !response.closes && !draining && self.body.is_done() && !through;
        let persistence = if response.keeps_downstream { Persistence::KeepAlive } else { Persistence::Close };
        response.begins = Some((self.connection.link.sent, self.connection.link.output.len()));
        self.note_status();
        if self.response.accepts_connect() {
            self.response.switched = true;
            self.enter_tunnel();
        }
        self.send_head(framing, persistence, None)
    }

    /// Whether the client has ended its stream and every request that it sent before is served.
    fn client_is_through(&self) -> bool {
        self.connection.fin && self.connection.link.input.is_empty()
    }

    /// Statuses by which a server says that it cannot serve count against its endpoint.
    fn note_status(&self) {
        let (cluster, index) = (self.lease.cluster(), self.lease.index());
        match self.response.status {
            502..=504 => cluster.failed(index, self.worker.recent()),
            _ => cluster.succeeded(index),
        }
    }

    /// Sends the response's head. An interim one is never the end of a stream.
    fn send_head(
        &mut self,
        framing: Framing,
        persistence: Persistence,
        upgrade: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let client = self.response.client();
        let head = &self.response.head;
        let link = &mut self.connection.link;
        let Some(stream) = link.stream_mut() else {
            let encoding = ResponseEncoding { framing, client, persistence, upgrade };
            h1::encode_response(head, encoding, link.output.writer());
            return Ok(());
        };
        let is_whole = framing == Framing::None && head.status() >= 200;
        let end = if is_whole { End::Stream } else { End::More };
        stream.send_head(head, end).map_err(|_| Fault::ClientGone)?;
        link.sent += head.bytes() as u64;
        Ok(())
    }

    /// Moves what has arrived of the body. `true`: something was moved, or the body is complete.
    fn transfer_response(&mut self) -> Result<bool, Fault> {
        let limits = &self.worker.params().http;
        let links = (&mut self.lease.link, &mut self.connection.link);
        let moved = self.response.body.transfer(limits, links, |_| {}).map_err(Fault::BadResponse)?;
        if self.response.body.is_done() {
            self.response.state = State::Done;
        }
        Ok(moved)
    }
}

/// How long the server says that it keeps an idle connection, less a second for what is under way when it closes.
fn keep_alive_hint(head: &Head) -> Option<Duration> {
    const MARGIN: Duration = Duration::from_secs(1);
    let value = head.value(Name::KeepAlive)?;
    let timeout = value.split(|byte| *byte == b',').find_map(|parameter| {
        let seconds = parameter.trim_ascii().strip_prefix(b"timeout=")?;
        std::str::from_utf8(seconds).ok()?.parse().ok()
    })?;
    Some(Duration::from_secs(timeout).saturating_sub(MARGIN))
}
