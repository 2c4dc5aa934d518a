//! Requests that are calls of gRPC: their deadlines, how they are answered by the proxy, and gRPC-web.

use std::{
    io,
    time::{Duration, Instant},
};

use spurline_http::{
    Framing, Head, Version,
    grpc::{self, Kind, Status, Web},
    h1::{self, Persistence, ResponseEncoding},
    h2,
};
use spurline_telemetry::metrics::Reason;

use crate::{
    explain::EXPLAIN_FIELD,
    link::Link,
    reply::{REASON_FIELD, Reply, Then},
};

/// A call of gRPC, or of gRPC-web.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    kind: Kind,
    /// How long the client waits, from the start of the request.
    pub(crate) timeout: Option<Duration>,
    /// It is translated to gRPC.
    pub(crate) web: Option<Web>,
}

// === impl Call ===

impl Call {
    /// The call that a request is; `None`: it is none. Where gRPC-web is translated, the head is that of gRPC then.
    pub(crate) fn of(head: &mut Head, translates: bool) -> Option<Self> {
        let kind = Kind::of(head)?;
        let web = if translates { grpc::to_grpc(head) } else { None };
        Some(Self { kind, timeout: grpc::timeout(head), web })
    }

    /// Tells the upstream how long the client still waits, where time has passed since it said so.
    pub(crate) fn update_timeout(&self, head: &mut Head, started: Instant, now: Instant) {
        /// The time that a request takes to pass is not worth a new field.
        const NEGLIGIBLE: Duration = Duration::from_millis(1);
        let elapsed = now.saturating_duration_since(started);
        if let Some(timeout) = self.timeout
            && elapsed >= NEGLIGIBLE
        {
            grpc::set_timeout(head, timeout.saturating_sub(elapsed));
        }
    }

    /// Whether the answer is to be one of gRPC. Over HTTP/1 there is none but of gRPC-web.
    pub(crate) fn is_answered(&self, link: &mut Link) -> bool {
        self.kind != Kind::Grpc || link.stream_mut().is_some()
    }

    /// Sends an answer of the proxy, in place of the response of an upstream that may have reset its stream: a response without a body whose head says how the call ended (PROTOCOL-HTTP2.md,
    /// "Trailers-Only").
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn answer(
        &self,
        (reply, reset): (Reply, Option<h2::ErrorCode>),
        (link, then): (&mut Link, Then),
        explanation: Option<&str>,
    ) -> io::Result<()> {
        let Reply { status, reason } = reply;
        let code = match (reason, reset) {
            (Reason::GrpcTimeout, _) => Status::DeadlineExceeded,
            (Reason::UpstreamReset, Some(code)) => Status::of_reset(code),
            _ => Status::of_http(status),
        };
        let mut head = Head::default();
        head.start_response(200);
        let fields = [
            ("content-type", Some(self.media_type())),
            (REASON_FIELD, Some(reason.label())),
            (EXPLAIN_FIELD, explanation),
        ];
        for (name, value) in fields {
            // All of them are names and values by their making; were one not, the answer goes without it.
            let _appended = value.map(|value| head.append(name.as_bytes(), value.as_bytes()));
        }
        grpc::append_status(&mut head, code, &["spurline: ", &reason.label().replace('-', " ")].concat());
        match link.stream_mut() {
            Some(stream) => stream.send_head(&head, h2::End::Stream),
            None => {
                let _appended = head.append(b"content-length", b"0");
                let persistence = match then {
                    Then::Close => Persistence::Close,
                    Then::KeepAlive => Persistence::KeepAlive,
                };
                let (framing, client) = (Framing::Length(0), Version::Http11);
                let encoding = ResponseEncoding { framing, client, persistence, upgrade: None };
                h1::encode_response(&head, encoding, link.output.writer());
                Ok(())
            }
        }
    }

    /// Ends a response that has begun, since the client waits no longer. False where trailers are no way to say so.
    pub(crate) fn end_overdue(&self, link: &mut Link) -> bool {
        let Some(stream) = link.stream_mut().filter(|_| self.kind == Kind::Grpc) else { return false };
        let mut trailers = Head::default();
        grpc::append_status(&mut trailers, Status::DeadlineExceeded, "spurline: grpc timeout");
        stream.end(Some(trailers));
        link.output.clear();
        true
    }

    fn media_type(&self) -> &'static str {
        match self.web.map_or(self.kind, |web| Kind::Web(web.response)) {
            Kind::Grpc => "application/grpc",
            Kind::Web(grpc::Coding::Binary) => "application/grpc-web",
            Kind::Web(grpc::Coding::Text) => "application/grpc-web-text",
        }
    }
}
