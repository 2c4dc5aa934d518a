//! Takes what the link brings, puts tables in force, answers, and keeps the snapshot, the metrics and the status.

mod keeper;
mod report;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;
use spurline_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use spurline_route::RouteTable;
use spurline_telemetry::metrics::{
    ControlDirection, Counter, Gauge, Histogram, Limit, ResourceUpdate, SnapshotEvent, TableUpdate,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use self::{keeper::Keeper, report::Report};
use crate::{
    Settings, Source, StatusHandle, Timing,
    client::Outputs,
    decode::Fault,
    link::{Closed, Event, Requests},
    mirror::{Mirror, Tally},
    session::{Answer, Session},
    snapshot::{self, SnapshotError},
};

/// The most responses that are applied together.
const CONFLATED_MAX: usize = 16;
/// How long a table that workers may still read is kept, so that they are not the ones who take it apart.
const RETIRE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest sleep, so that changes of the machine's clock are noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// All the state of a client.
pub(crate) struct Engine {
    settings: Settings,
    timing: Timing,
    outputs: Outputs,
    status: StatusHandle,
    mirror: Mirror,
    session: Session,
    /// The stream that is open.
    requests: Option<Requests>,
    /// When unanswered types count as answered, on the stream that is open.
    exists_by: Option<Instant>,
    /// The stream that is open has said all there is, or all that was waited for: while it lasts, nothing else is so.
    in_step: bool,
    /// When readiness is not held up any more.
    ready_by: Option<Instant>,
    retired: Vec<Arc<RouteTable>>,
    keeper: Keeper,
    report: Report,
}

/// Seconds since 1970.
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

// === impl Engine ===

impl Engine {
    pub(crate) fn new(settings: Settings, timing: Timing, outputs: Outputs, status: StatusHandle) -> Self {
        let keeper = Keeper::new(
            settings.snapshot.clone(),
            settings.snapshot_age_max,
            outputs.metrics.clone(),
            status.clone(),
        );
        Self {
            mirror: Mirror::new(settings.scope.clone(), outputs.table.load_full()),
            session: Session::new(settings.node.clone(), &settings.scope),
            keeper,
            // A good snapshot ends the wait before it begins.
            ready_by: settings.ready_timeout.map(|timeout| Instant::now() + timeout),
            settings,
            timing,
            outputs,
            status,
            requests: None,
            exists_by: None,
            in_step: false,
            retired: Vec::new(),
            report: Report::default(),
        }
    }

    /// Puts the snapshot in force.
    pub(crate) fn restore(&mut self) {
        let Some(path) = &self.settings.snapshot else { return };
        let now = now_unix_s();
        let event = match snapshot::load(path, self.mirror.scope(), now, self.settings.snapshot_age_max) {
            Ok(snapshot) => {
                let mut batch = self.mirror.batch(now);
                let wrong =
                    snapshot.records.iter().filter(|(ty, record)| batch.restore(*ty, record).is_err());
                let wrong = wrong.count();
                let mut tally = batch.finish();
                // An empty snapshot says that there is nothing, which is worth as much.
                tally.changed = true;
                self.publish(&tally);
                self.keeper.loaded(snapshot.saved_at_unix_s);
                let saved_s_ago = now.saturating_sub(snapshot.saved_at_unix_s);
                let Tally { applied, expired, .. } = tally;
                let path = path_text(&self.settings);
                tracing::info!(
                    applied,
                    expired,
                    wrong,
                    saved_s_ago,
                    path,
                    "Snapshot of the control service in force"
                );
                self.status.edit(|status| status.source = Source::Snapshot);
                self.be_ready();
                SnapshotEvent::Loaded
            }
            Err(error) => {
                let path = path.display();
                match &error {
                    SnapshotError::Missing => tracing::info!(%path, "No snapshot of the control service yet"),
                    error => tracing::warn!(%error, %path, "Snapshot of the control service ignored"),
                }
                match error {
                    SnapshotError::Missing => SnapshotEvent::Missing,
                    SnapshotError::Io(_) | SnapshotError::Corrupt(_) => SnapshotEvent::Corrupt,
                    SnapshotError::OtherScope => SnapshotEvent::OtherScope,
                    SnapshotError::TooOld(_) => SnapshotEvent::TooOld,
                }
            }
        };
        self.outputs.metrics.inc(Counter::ControlSnapshots(event));
    }

    /// Follows the link until told to stop.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut stopped: oneshot::Receiver<()>,
    ) -> Self {
        let mut pending = None;
        loop {
            let event = match pending.take() {
                Some(event) => Some(event),
                None => tokio::select! {
                    _ = &mut stopped => return self,
                    event = events.recv() => event,
                    () = sleep_until(self.wake_at()) => {
                        self.wake();
                        continue;
                    }
                },
            };
            match event {
                Some(Event::Response(first)) => {
                    let mut responses = vec![*first];
                    // The link may have read more already; one table serves them all.
                    tokio::task::yield_now().await;
                    while responses.len() < CONFLATED_MAX && pending.is_none() {
                        match events.try_recv() {
                            Ok(Event::Response(more)) => responses.push(*more),
                            Ok(other) => pending = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.receive(responses);
                }
                Some(Event::Opened(requests)) => self.open(requests),
                Some(Event::Connected(server)) => self.connected(&server),
                Some(Event::Closed(closed)) => self.closed(&closed),
                // The link ends only with us.
                None => return self,
            }
            self.wake();
        }
    }

    /// Keeps what is not on disk yet.
    pub(crate) fn stop(mut self) {
        self.keeper.save_now(&self.mirror);
        self.outputs.metrics.gauge_set(Gauge::ControlConnected, 0);
    }

    fn open(&mut self, requests: Requests) {
        self.outputs.metrics.inc(Counter::ControlStreams);
        self.in_step = false;
        self.requests = Some(requests);
        for request in self.session.open(self.mirror.known()) {
            self.send(request);
        }
    }

    fn connected(&mut self, server: &str) {
        self.outputs.metrics.gauge_set(Gauge::ControlConnected, 1);
        self.exists_by = Some(Instant::now() + self.timing.exists_timeout);
        self.report.connected(server);
        self.status.edit(|status| {
            status.server = Some(server.to_owned());
            status.connected_since_unix_s = Some(now_unix_s());
        });
    }

    fn closed(&mut self, closed: &Closed) {
        self.requests = None;
        self.exists_by = None;
        self.in_step = false;
        self.outputs.metrics.gauge_set(Gauge::ControlConnected, 0);
        self.outputs.metrics.inc(Counter::ControlStreamEnds(closed.end));
        self.report.closed(closed, self.mirror.table().generation());
        self.status.edit(|status| {
            status.server = None;
            status.connected_since_unix_s = None;
            status.last_error = Some(format!("{}: {}", closed.server, closed.reason));
        });
    }

    /// Puts what is good of some responses in force, then answers them.
    fn receive(&mut self, responses: Vec<DeltaDiscoveryResponse>) {
        let started = Instant::now();
        let now = now_unix_s();
        let bytes: usize = responses.iter().map(|response| response.encoded_len()).sum();
        self.outputs.metrics.add(Counter::ControlBytes(ControlDirection::In), bytes as u64);
        self.outputs.metrics.add(Counter::ControlResponses, responses.len() as u64);
        self.outputs.metrics.gauge_set(Gauge::ControlLastContact, now);
        let mut batch = self.mirror.batch(now);
        let mut answers = Vec::new();
        let mut violation = None;
        for response in responses {
            match self.session.receive(response, &mut batch) {
                Ok(answer) => answers.push(answer),
                Err(violated) => {
                    violation = Some(violated);
                    break;
                }
            }
        }
        let tally = batch.finish();
        if tally.changed {
            self.keeper.changed();
            self.publish(&tally);
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.outputs.metrics.observe_micros(Histogram::TableApply, micros);
        }
        let resources = self.mirror.known().len();
        self.outputs.metrics.gauge_set(Gauge::ControlResources, resources as u64);
        self.status.edit(|status| {
            status.last_contact_unix_s = Some(now);
            status.resources = resources;
        });
        for answer in answers {
            self.answer(answer, now);
        }
        if let Some(violation) = violation {
            tracing::warn!(%violation, "Stream to the control service given up");
            self.requests = None;
        }
        if self.session.is_complete() {
            self.complete();
        }
    }

    /// Puts the mirror's table in force.
    fn publish(&mut self, tally: &Tally) {
        let table = Arc::clone(self.mirror.table());
        let (generation, overrides) = (table.generation(), table.len());
        let metrics = &self.outputs.metrics;
        self.retired.push(self.outputs.table.swap(table));
        let Tally { applied, removed, expired, .. } = *tally;
        metrics.inc(Counter::TableUpdates(TableUpdate::Applied));
        metrics.add(Counter::ControlUpdates(ResourceUpdate::Applied), applied as u64);
        metrics.add(Counter::ControlUpdates(ResourceUpdate::Removed), removed as u64);
        metrics.add(Counter::ControlUpdates(ResourceUpdate::Expired), expired as u64);
        metrics.gauge_set(Gauge::TableGeneration, generation);
        metrics.gauge_set(Gauge::TableOverrides, overrides as u64);
        metrics.gauge_set(Gauge::ControlResources, self.mirror.known().len() as u64);
        self.status.edit(|status| {
            status.last_update_unix_s = Some(now_unix_s());
            status.resources = self.mirror.known().len();
        });
        tracing::debug!(generation, overrides, applied, removed, expired, "Route table in force");
    }

    fn answer(&mut self, answer: Answer, now: u64) {
        let Answer { request, rejected, refused } = answer;
        if request.error_detail.is_some() {
            let metrics = &self.outputs.metrics;
            metrics.inc(Counter::ControlRejections);
            metrics.inc(Counter::TableUpdates(TableUpdate::Rejected));
            metrics.add(Counter::ControlUpdates(ResourceUpdate::Rejected), rejected.len() as u64);
            if rejected.iter().any(|(_, fault)| matches!(fault, Fault::TooMany(_) | Fault::TooLarge(_))) {
                metrics.inc(Counter::LimitsReached(Limit::ControlResources));
            }
            let last = report::rejected(&request.type_url, &rejected, refused, now);
            self.status.edit(|status| status.last_rejection = Some(last));
        }
        self.send(request);
    }

    fn send(&mut self, request: DeltaDiscoveryRequest) {
        let Some(requests) = &self.requests else { return };
        let bytes = request.encoded_len();
        if requests.send(request) {
            self.outputs.metrics.add(Counter::ControlBytes(ControlDirection::Out), bytes as u64);
        } else {
            tracing::warn!("Stream to the control service given up: it does not read what is sent to it");
            self.requests = None;
        }
    }

    /// The server has said all there is.
    fn complete(&mut self) {
        self.exists_by = None;
        self.in_step = true;
        self.requests.iter().for_each(Requests::complete);
        if self.status.read().source != Source::Control {
            let (generation, overrides) = (self.mirror.table().generation(), self.mirror.table().len());
            tracing::info!(generation, overrides, "In step with the control service");
            self.status.edit(|status| status.source = Source::Control);
        }
        self.be_ready();
    }

    fn be_ready(&mut self) {
        self.ready_by = None;
        if let Some(ready) = self.outputs.ready.take() {
            ready();
        }
    }

    /// When there is something to do without an event.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let expiry = self.mirror.next_expiry().map(|at| {
            let seconds = at.saturating_sub(now_unix_s());
            now + Duration::from_secs(seconds).min(SLEEP_MAX)
        });
        let retire = (!self.retired.is_empty()).then(|| now + RETIRE_INTERVAL);
        let confirm = self.in_contact().then(|| self.keeper.confirm_in()).flatten().map(|left| now + left);
        let due = [self.ready_by, self.exists_by, expiry, retire, confirm, self.keeper.due()];
        due.into_iter().flatten().min().unwrap_or(now + SLEEP_MAX)
    }

    /// Does whatever is due.
    fn wake(&mut self) {
        let now = Instant::now();
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        if self.ready_by.is_some_and(|by| by <= now) {
            tracing::warn!(
                "No complete answer of the control service within control_ready_timeout: ready without it"
            );
            self.be_ready();
        }
        if self.exists_by.is_some_and(|by| by <= now) {
            self.exists_by = None;
            let awaited: Vec<_> = self.session.awaited().map(|ty| ty.type_url()).collect();
            tracing::warn!(
                ?awaited,
                "The control service leaves types unanswered: what it has not named does not exist"
            );
            self.in_step = true;
            self.be_ready();
        }
        if self.mirror.is_due(now_unix_s()) {
            let tally = self.mirror.batch(now_unix_s()).finish();
            if tally.changed {
                self.publish(&tally);
            }
        }
        // A snapshot of nothing is worth having too: a proxy that starts with it need not wait.
        if self.in_contact() && self.keeper.confirm_in().is_some_and(|left| left.is_zero()) {
            self.keeper.changed();
        }
        self.keeper.step(&self.mirror);
    }

    /// Whether what is known is so now: a server that does not answer pings loses its stream.
    fn in_contact(&self) -> bool {
        self.in_step && self.requests.is_some()
    }
}

fn path_text(settings: &Settings) -> String {
    settings.snapshot.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}
