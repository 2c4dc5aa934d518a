//! The response's direction.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use spurline_http::{
    BodyEvent, Framing, Head, Name, Version, connection_options,
    h1::{self, Persistence, ResponseEncoding, accepted_protocol},
    remove_hop_by_hop,
};

use super::{Fault, Relay, Summary};
use crate::{explain::EXPLAIN_FIELD, worker::Worker};

/// The response so far.
pub(super) struct Response<'a> {
    pub(super) state: State,
    pub(super) explanation: Option<String>,
    head: Head,
    request: Option<&'a Head>,
    upgrade: Option<&'a h1::Upgrade>,
    /// The client asked for the connection to be closed.
    closes: bool,
    framing: Framing,
    decoder: h1::BodyDecoder,
    trailers: Head,
    /// Trailers are read and not passed on.
    discards_trailers: bool,
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
    pub(super) fn new(worker: &Worker) -> Self {
        Self {
            state: State::Head,
            explanation: None,
            head: worker.take_head(),
            request: None,
            upgrade: None,
            closes: false,
            framing: Framing::None,
            decoder: h1::BodyDecoder::new(Framing::None),
            trailers: Head::default(),
            discards_trailers: false,
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
            committed: self.state != State::Head,
            delimited: self.is_delimited(),
            keeps_downstream: self.keeps_downstream,
            keeps_upstream: self.keeps_upstream,
            keep_alive_hint: self.keep_alive_hint,
        };
        worker.give_head(self.head);
        summary
    }

    fn client(&self) -> Version {
        self.request.map(Head::version).unwrap_or_default()
    }

    /// Whether the client finds the end of the body without the end of the connection.
    fn is_delimited(&self) -> bool {
        self.is_chunked() || !matches!(self.framing, Framing::Chunked | Framing::Close)
    }

    /// Whether the body is sent in chunks.
    fn is_chunked(&self) -> bool {
        matches!(self.framing, Framing::Chunked | Framing::Close) && self.client() == Version::Http11
    }
}

// === impl Relay ===

impl Relay<'_> {
    /// Reads the response and moves it, until the client takes no more or the upstream has sent no more.
    pub(super) fn pump_response(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut moved = false;
        loop {
            if self.connection.output.len() >= self.worker.params().buffer_bytes {
                return Ok(moved);
            }
            let progress = match self.response.state {
                State::Head => self.read_head()?,
                State::Body => self.transfer_response()?,
                State::Done | State::Switched => return Ok(moved),
            };
            if progress {
                moved = true;
                continue;
            }
            match self.lease.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.upstream_ended()?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(self.upstream_gone()),
                Poll::Pending => return Ok(moved),
            }
            moved = true;
        }
    }

    fn upstream_gone(&self) -> Fault {
        let silent = self.lease.received == 0;
        if silent { Fault::Unanswered } else { Fault::UpstreamGone }
    }

    /// The upstream has ended its stream, which ends a body without a length and cuts any other.
    fn upstream_ended(&mut self) -> Result<(), Fault> {
        if self.response.state == State::Head {
            return Err(self.upstream_gone());
        }
        self.response.decoder.finish().map_err(Fault::BadResponse)?;
        self.end_body(false);
        Ok(())
    }

    /// Takes a response back of which the client has not been sent anything, so that it can be answered instead.
    pub(super) fn retract(&mut self) {
        let Some((sent, waiting)) = self.response.begins.take() else { return };
        if self.connection.sent == sent {
            self.connection.output.truncate(waiting);
            self.response.state = State::Head;
            self.response.status = 0;
        }
    }

    /// Reads a head if it has arrived whole.
    fn read_head(&mut self) -> Result<bool, Fault> {
        if self.lease.input.is_empty() {
            return Ok(false);
        }
        let response = &mut self.response;
        let limits = &self.worker.params().http;
        let method = response.request.map(Head::method).unwrap_or(spurline_http::Method(b""));
        let read = h1::read_response(self.lease.input.data(), method, limits, &mut response.head)
            .map_err(Fault::BadResponse)?;
        let Some(h1::ResponseHead { consumed, framing }) = read else { return Ok(false) };
        self.lease.input.consume(consumed);
        match response.head.status() {
            101 => self.switch()?,
            100..=199 => self.forward_interim()?,
            _ => self.forward_final(framing)?,
        }
        Ok(true)
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
        self.encode(Framing::None, Persistence::KeepAlive, None);
        Ok(())
    }

    /// The upstream leaves HTTP, which it may only do when it was asked to.
    fn switch(&mut self) -> Result<(), Fault> {
        let response = &mut self.response;
        let malformed = Fault::BadResponse(spurline_http::Error::Upgrade);
        let upgrade = response.upgrade.ok_or(malformed)?;
        let options = connection_options(&mut response.head, |_| false).map_err(Fault::BadResponse)?;
        let protocol = accepted_protocol(&response.head, options, upgrade).ok_or(malformed)?;
        remove_hop_by_hop(&mut response.head);
        response.state = State::Switched;
        response.status = 101;
        self.encode(Framing::None, Persistence::KeepAlive, Some(&protocol));
        Ok(())
    }

    fn forward_final(&mut self, framing: Framing) -> Result<(), Fault> {
        let draining = self.worker.is_draining();
        let through = self.client_is_through();
        let response = &mut self.response;
        let head = &mut response.head;
        let options = connection_options(head, |_| false).map_err(Fault::BadResponse)?;
        let persistent = head.version() == Version::Http11 || options.keep_alive;
        // An upgrade that was not accepted leaves it open what the server takes the next bytes for.
        response.keeps_upstream =
            persistent && !options.close && framing != Framing::Close && response.upgrade.is_none();
        response.keep_alive_hint = keep_alive_hint(head);
        response.discards_trailers = options.nominates;
        remove_hop_by_hop(head);
        if let Some(explanation) = &response.explanation {
            // The text is built from validated names and addresses; were it no field value, the response goes without.
            let _explained = head.append(EXPLAIN_FIELD.as_bytes(), explanation.as_bytes());
        }
        response.framing = framing;
        response.decoder = h1::BodyDecoder::new(framing);
        response.status = head.status();
        response.state = if framing == Framing::None { State::Done } else { State::Body };
        response.keeps_downstream =
            response.is_delimited() && !response.closes && !draining && self.body.is_done() && !through;
        let persistence = if response.keeps_downstream { Persistence::KeepAlive } else { Persistence::Close };
        response.begins = Some((self.connection.sent, self.connection.output.len()));
        self.note_status();
        self.encode(framing, persistence, None);
        Ok(())
    }

    /// Whether the client has ended its stream and every request that it sent before is served.
    fn client_is_through(&self) -> bool {
        self.connection.fin && self.connection.input.is_empty()
    }

    /// Statuses by which a server says that it cannot serve count against its endpoint.
    fn note_status(&self) {
        let (cluster, index) = (self.lease.cluster(), self.lease.index());
        match self.response.status {
            502..=504 => cluster.failed(index, self.worker.recent()),
            _ => cluster.succeeded(index),
        }
    }

    fn encode(&mut self, framing: Framing, persistence: Persistence, upgrade: Option<&[u8]>) {
        let client = self.response.client();
        let encoding = ResponseEncoding { framing, client, persistence, upgrade };
        h1::encode_response(&self.response.head, encoding, self.connection.output.writer());
    }

    /// Moves what has arrived of the body. `true`: something was moved, or the body is complete.
    fn transfer_response(&mut self) -> Result<bool, Fault> {
        let limits = &self.worker.params().http;
        let chunked = self.response.is_chunked();
        let (input, output) = (&mut self.lease.input, &mut self.connection.output);
        let response = &mut self.response;
        let mut moved = false;
        loop {
            let (consumed, event) = response
                .decoder
                .decode(input.data(), limits, &mut response.trailers)
                .map_err(Fault::BadResponse)?;
            match event {
                BodyEvent::Data(range) if chunked => {
                    h1::encode_chunk(input.data().get(range).unwrap_or_default(), output.writer());
                }
                BodyEvent::Data(range) if range == (0..input.len()) && output.is_empty() => {
                    std::mem::swap(input, output);
                    moved = true;
                    continue;
                }
                BodyEvent::Data(range) => {
                    output.writer().extend_from_slice(input.data().get(range).unwrap_or_default());
                }
                BodyEvent::NeedMore => {
                    input.consume(consumed);
                    return Ok(moved);
                }
                BodyEvent::Trailers | BodyEvent::End => {
                    input.consume(consumed);
                    self.end_body(event == BodyEvent::Trailers);
                    return Ok(true);
                }
            }
            input.consume(consumed);
            moved = true;
        }
    }

    fn end_body(&mut self, trailers: bool) {
        if self.response.is_chunked() {
            let trailers = (trailers && !self.response.discards_trailers).then_some(&self.response.trailers);
            h1::encode_last_chunk(trailers, self.connection.output.writer());
        }
        self.response.state = State::Done;
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
