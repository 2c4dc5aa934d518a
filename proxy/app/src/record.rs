use std::{
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use spurline_http::{Head, Name};
use spurline_telemetry::{
    access::{AccessEntry, Flag, Flags},
    metrics::{Counter, Direction, Histogram, Reason, SelectionLabel, StatusClass},
};

use crate::{connection::Connection, reply::Reply, steer::Findings, worker::Worker};

/// What one request did, collected while it is served and counted once, however it ends.
#[derive(Debug)]
pub(crate) struct Record {
    started: Instant,
    pub(crate) selection: SelectionLabel,
    /// The status sent downstream, 0 while none was.
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    pub(crate) findings: Findings,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) retries: u32,
    pub(crate) flags: Flags,
    pub(crate) upstream_received: u64,
    pub(crate) upstream_sent: u64,
}

// === impl Record ===

impl Record {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            selection: SelectionLabel::Local,
            status: 0,
            reason: None,
            findings: Findings::default(),
            upstream: None,
            retries: 0,
            flags: Flags::default(),
            upstream_received: 0,
            upstream_sent: 0,
        }
    }

    /// Notes that the proxy answers.
    pub(crate) fn reply(&mut self, reply: Reply) {
        self.status = reply.status;
        self.reason = Some(reply.reason);
    }

    /// Counts the request and writes its line of the access log.
    pub(crate) fn finish(&mut self, worker: &Worker, connection: &mut Connection, head: &Head) {
        let micros = u64::try_from(worker.now().saturating_duration_since(self.started).as_micros())
            .unwrap_or(u64::MAX);
        let (received, sent) = connection.settle();
        let shard = worker.shard();
        shard.inc(Counter::Requests(self.selection, StatusClass::of(self.status)));
        if let Some(reason) = self.reason {
            shard.inc(Counter::LocalReplies(reason));
        }
        shard.observe_micros(Histogram::RequestDuration, micros);
        shard.add(Counter::Bytes(Direction::DownstreamIn), received);
        shard.add(Counter::Bytes(Direction::DownstreamOut), sent);
        shard.add(Counter::Bytes(Direction::UpstreamIn), self.upstream_received);
        shard.add(Counter::Bytes(Direction::UpstreamOut), self.upstream_sent);
        if worker.access().is_on() {
            self.note_findings();
            self.write(worker, connection, head, (received, sent, micros));
        }
    }

    fn note_findings(&mut self) {
        let Some(admission) = self.findings.admission else { return };
        let extraction = &admission.extraction;
        for (flag, applies) in [
            (Flag::Strict, extraction.strict),
            (Flag::Explain, extraction.explain),
            (Flag::KeyConflict, extraction.conflict.is_some()),
            (Flag::KeyMalformed, extraction.malformed > 0),
            (Flag::KeyStripped, admission.strip),
            (Flag::BaggageFull, self.findings.baggage_full),
        ] {
            if applies {
                self.flags.insert(flag);
            }
        }
    }

    fn write(
        &self,
        worker: &Worker,
        connection: &Connection,
        head: &Head,
        (bytes_in, bytes_out, duration_us): (u64, u64, u64),
    ) {
        let origin = &connection.origin;
        let security = connection.security();
        let extraction = self.findings.admission.as_ref().map(|admission| &admission.extraction);
        let fallback = self.findings.baseline_reason.map(|reason| reason.label());
        worker.access().write(&AccessEntry {
            time: SystemTime::now() - std::time::Duration::from_micros(duration_us),
            listener: &origin.binding.name,
            peer: Some(origin.peer),
            method: head.method().0,
            target: head.target(),
            authority: head.value(Name::Host).unwrap_or_default(),
            protocol: connection.protocol(),
            tls: security.map(|(version, _)| version),
            server_name: security.and_then(|(_, server_name)| server_name),
            status: (self.status != 0).then_some(self.status),
            bytes_in,
            bytes_out,
            duration_us,
            workload: origin.binding.workload.as_ref().map(|workload| workload.as_str()),
            key: extraction.and_then(|extraction| extraction.key.as_ref()).map(|key| key.as_str()),
            carrier: extraction.and_then(|extraction| extraction.carrier).map(|carrier| carrier.label()),
            selection: self.selection.label(),
            reason: self.reason.map(|reason| reason.label()).or(fallback),
            upstream: self.upstream,
            retries: self.retries,
            flags: self.flags,
        });
    }
}
