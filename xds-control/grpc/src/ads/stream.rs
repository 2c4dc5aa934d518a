//! One ADS stream: carries requests to its session, wake-ups from the hub and responses to the client.

mod rejections;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use spurline_api::envoy::{
    config::core::v3::{Node, node::UserAgentVersionType},
    service::discovery::v3::DeltaDiscoveryRequest,
};
use spurline_core::catalog::ResourceType;
use spurline_hub::{StreamGuard, TypeSet};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot, watch},
    time::{sleep_until, timeout},
};
use tonic::{Status, codec::Streaming};

use super::Ads;
use crate::{
    metrics::{Client, ClientLabel, TypeLabel},
    session::{Effect, Limits, Refusal, Response, Session},
};

pub(super) struct Stream {
    ads: Ads,
    requests: Streaming<DeltaDiscoveryRequest>,
    session: Session,
    guard: StreamGuard,
    stopped: watch::Receiver<bool>,
    /// When it has reached its age.
    ends_at: Instant,
    /// The deadline that the client set.
    deadline: Option<Instant>,
    admission: Admission,
    counted: Option<Counted>,
    has_unknown_type: bool,
    rejections: rejections::Log,
    _place: OwnedSemaphorePermit,
}

/// The first update of a stream, of which only so many are made at a time.
enum Admission {
    Waiting,
    /// Dropped when the place is needed no more.
    Syncing {
        _place: oneshot::Sender<()>,
    },
    Done,
}

/// Counts up while it lives.
struct Counted(Gauge);

#[allow(clippy::large_enum_variant, reason = "it lives for one turn of the loop and is never stored")]
enum Event {
    Request(Result<Option<DeltaDiscoveryRequest>, Status>),
    Woken(TypeSet),
    Stopped,
    Due,
}

/// Ends of a stream that are no error.
struct End(Option<Status>);

impl Stream {
    pub(super) fn open(
        ads: Ads,
        requests: Streaming<DeltaDiscoveryRequest>,
        place: OwnedSemaphorePermit,
        timeout: Option<Duration>,
    ) -> Self {
        let now = Instant::now();
        let age = ads.settings.stream_age_max.mul_f64(0.8 + 0.4 * fastrand::f64());
        Self {
            requests,
            session: Session::new(Limits {
                subscriptions_max: ads.settings.subscriptions_max,
                response_bytes_max: ads.settings.response_bytes_max,
                answer_timeout: ads.settings.answer_timeout,
            }),
            guard: ads.hub.open_stream(),
            stopped: ads.hub.stopped(),
            ends_at: now + age,
            deadline: timeout.map(|timeout| now + timeout),
            admission: Admission::Waiting,
            counted: None,
            has_unknown_type: false,
            rejections: rejections::Log::new(now),
            _place: place,
            ads,
        }
    }

    /// Encoded responses until the stream ends.
    pub(super) fn responses(self) -> impl futures_util::Stream<Item = Result<Bytes, Status>> + Send {
        unfold(Some(self), |stream| async {
            let mut stream = stream?;
            match stream.next().await {
                Ok(message) => Some((Ok(message), Some(stream))),
                Err(End(None)) => None,
                Err(End(Some(status))) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Bytes, End> {
        loop {
            if let Some(response) = self.poll()? {
                return Ok(self.encode(&response));
            }
            // What it asked for has been handed over; whether it answers is not for others to wait for.
            if matches!(self.admission, Admission::Syncing { .. }) && self.session.is_sent() {
                self.admission = Admission::Done;
            }
            match self.event().await {
                Event::Request(Ok(Some(request))) => {
                    if matches!(self.admission, Admission::Waiting) {
                        self.admit().await?;
                    }
                    self.request(request)?;
                }
                Event::Request(Ok(None)) => return Err(End(None)),
                Event::Request(Err(status)) => return Err(End(Some(status))),
                Event::Woken(types) => self.wake(types),
                Event::Stopped => return Err(End(Some(Status::unavailable("shutting down")))),
                Event::Due => self.check_age()?,
            }
        }
    }

    /// Not before the client has said something: those that only open streams hold up nobody. What else it says waits on
    /// its side.
    async fn admit(&mut self) -> Result<(), End> {
        let semaphore = Arc::clone(&self.ads.initial_syncs);
        let _waiting = Counted::new(&self.ads.metrics.initial_syncs_waiting);
        let permit = tokio::select! {
            permit = semaphore.acquire_owned() => permit.ok(),
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
        };
        let Some(permit) = permit else {
            return Err(End(Some(Status::unavailable("shutting down"))));
        };
        self.admission = Admission::Syncing { _place: hold(permit, self.ads.settings.initial_sync_timeout) };
        Ok(())
    }

    async fn event(&mut self) -> Event {
        let due = self.due();
        tokio::select! {
            request = self.requests.message() => Event::Request(request),
            types = self.guard.woken() => Event::Woken(types),
            _ = self.stopped.wait_for(|stopped| *stopped) => Event::Stopped,
            () = sleep_until(due.into()) => Event::Due,
        }
    }

    fn due(&self) -> Instant {
        let due = [self.deadline, self.session.deadline()].into_iter().flatten().min();
        due.map_or(self.ends_at, |due| due.min(self.ends_at))
    }

    fn check_age(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(End(Some(Status::deadline_exceeded("the deadline of the request has passed"))));
        }
        if now >= self.ends_at {
            return Err(End(None));
        }
        Ok(())
    }

    fn wake(&mut self, types: TypeSet) {
        for ty in ResourceType::ALL.into_iter().filter(|ty| types.contains(*ty)) {
            if self.session.wake(ty) {
                self.ads.metrics.conflations.inc();
            }
        }
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<(), End> {
        let refused = self.session.request(request, Instant::now());
        self.settle_effects();
        refused.map_err(|refusal| {
            let text = refusal.to_string();
            End(Some(match refusal {
                Refusal::Pattern { .. } => Status::invalid_argument(text),
                Refusal::Subscriptions(_) | Refusal::InitialVersions => Status::resource_exhausted(text),
            }))
        })
    }

    fn poll(&mut self) -> Result<Option<Response>, End> {
        let session = &mut self.session;
        let polled = self.ads.hub.catalog(|catalog| session.poll(catalog, Instant::now()));
        self.settle_effects();
        polled.map_err(|truncated| {
            self.ads.metrics.resets.inc();
            End(Some(Status::unavailable(format!("{truncated}; resume with what you have"))))
        })
    }

    fn encode(&self, response: &Response) -> Bytes {
        let message = response.encode(&self.ads.settings.identity);
        self.ads.metrics.pushes.get_or_create(&TypeLabel::of(response.ty)).inc();
        self.ads.metrics.bytes.inc_by(message.len() as u64);
        message
    }

    fn settle_effects(&mut self) {
        for effect in self.session.take_effects() {
            match effect {
                Effect::Describe(node) => self.describe(node),
                Effect::Subscribe(ty, pattern) => self.guard.subscribe(ty, &pattern),
                Effect::Unsubscribe(ty, pattern) => self.guard.unsubscribe(ty, &pattern),
                Effect::Acknowledged(ty, revision) => self.guard.acknowledged(ty, revision),
                Effect::Rejected(ty, rejection) => {
                    self.ads.metrics.rejections.get_or_create(&TypeLabel::of(ty)).inc();
                    self.rejections.note(ty, &rejection, || self.guard.node());
                    self.guard.rejected(ty, rejection);
                }
                Effect::Answered(_, after) => self.ads.metrics.push_seconds.observe(after.as_secs_f64()),
                Effect::UnknownType(url) => {
                    if !std::mem::replace(&mut self.has_unknown_type, true) {
                        tracing::info!(type_url = url, "A client asks for a type that is not served here");
                    }
                }
            }
        }
    }

    fn describe(&mut self, node: Node) {
        let client = Client::of(&node.user_agent_name);
        let gauge = self.ads.metrics.streams.get_or_create(&ClientLabel { client }).clone();
        self.counted = Some(Counted::new(&gauge));
        let UserAgentVersionType::UserAgentVersion(version) = node
            .user_agent_version_type
            .unwrap_or_else(|| UserAgentVersionType::UserAgentVersion(String::new()));
        let program = format!("{} {version}", node.user_agent_name);
        self.guard.describe(spurline_hub::Node {
            id: node.id,
            cluster: node.cluster,
            program: program.trim_end().to_owned(),
        });
    }
}

/// Holds a place until what is returned is dropped, or for so long. A task of its own does it: a stream whose client does
/// not read is not polled, and could not give the place up.
fn hold(place: OwnedSemaphorePermit, longest: Duration) -> oneshot::Sender<()> {
    let (needed, over) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Nothing is ever sent.
        let _over = timeout(longest, over).await;
        drop(place);
    });
    needed
}

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
