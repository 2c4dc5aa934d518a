//! Connections to the control service, one stream after another.
//!
//! It carries messages and knows nothing of what they say. A server that is gone without a word is noticed by pings, one
//! that answers nothing by the time it takes. Only a server that was a good one and ends the stream itself is returned to;
//! after anything else the next one is tried.

mod connect;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use spurline_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use spurline_telemetry::metrics::StreamEnd;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::Streaming;

use crate::{Server, Timing, Tls, backoff::Backoff};

/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stream lasts from its first response until its server counts as a good one though it has not said all there
/// is: while one answers something and fails each time, waits grow.
const LASTING: Duration = Duration::from_secs(5);
/// The largest response that is read.
pub(crate) const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Requests that wait for the server to read them: one per response, and the first ones.
const REQUESTS_MAX: usize = 256;

/// What happened, in order.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream begins; the server may wait for the first requests before it says anything.
    Opened(Requests),
    /// The server answered.
    Connected(String),
    /// It sent something.
    Response(Box<DeltaDiscoveryResponse>),
    /// The stream ended, or could not begin.
    Closed(Closed),
}

/// How a stream ended.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) server: String,
    pub(crate) end: StreamEnd,
    pub(crate) reason: String,
    pub(crate) retry_in: Duration,
}

/// What is sent on a stream. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Requests {
    sender: mpsc::Sender<DeltaDiscoveryRequest>,
    completed: Arc<AtomicBool>,
    /// Dropped with the rest, which the link notices.
    _abandon: oneshot::Sender<()>,
}

/// Who to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) servers: Vec<Server>,
    pub(crate) tls: Tls,
    pub(crate) user_agent: String,
    pub(crate) timing: Timing,
}

/// How a server did on one stream.
#[derive(Debug, Default)]
struct Conduct {
    answered_at: Option<Instant>,
    /// It said all there is.
    completed: Arc<AtomicBool>,
}

/// Why a stream ended, before it is known when the next begins.
#[derive(Debug)]
struct Failure(StreamEnd, String);

// === impl Requests ===

impl Requests {
    /// Whether it could be sent; a server that reads nothing is not worth a queue.
    pub(crate) fn send(&self, request: DeltaDiscoveryRequest) -> bool {
        self.sender.try_send(request).is_ok()
    }

    /// The server has said all there is, so it is a good one.
    pub(crate) fn complete(&self) {
        self.completed.store(true, Ordering::Release);
    }
}

// === impl Conduct ===

impl Conduct {
    fn is_good(&self) -> bool {
        let lasted = self.answered_at.is_some_and(|at| at.elapsed() >= LASTING);
        lasted || self.completed.load(Ordering::Acquire)
    }
}

// === impl Link ===

impl Link {
    /// Goes on until nobody listens to the events.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>) {
        let mut backoff = Backoff::default();
        let mut next = 0;
        while let Some(server) = self.servers.get(next % self.servers.len().max(1)) {
            let mut conduct = Conduct::default();
            let Failure(end, reason) = match self.stream(server, &events, &mut conduct).await {
                Ok(()) => return,
                Err(failure) => failure,
            };
            let last = (next + 1).is_multiple_of(self.servers.len());
            let good = conduct.is_good();
            if good {
                backoff.reset();
            }
            if !good || end != StreamEnd::Closed {
                next = next.wrapping_add(1);
            }
            // The servers that were not tried yet are tried at once, but not by all proxies that lost one together.
            let at_once = conduct.answered_at.is_none() && !last;
            let retry_in = if at_once { Duration::ZERO } else { backoff.next(fastrand::f64()) };
            let closed = Closed { server: server.to_string(), end, reason, retry_in };
            if events.send(Event::Closed(closed)).await.is_err() {
                return;
            }
            sleep(retry_in).await;
        }
    }

    /// One stream, to its end; `Ok` when nobody listens any more.
    async fn stream(
        &self,
        server: &Server,
        events: &mpsc::Sender<Event>,
        conduct: &mut Conduct,
    ) -> Result<(), Failure> {
        let connected = timeout(CONNECT_TIMEOUT, connect::connect(self, server)).await;
        let unreachable = |reason| Failure(StreamEnd::Connect, reason);
        let channel = connected
            .map_err(|_| unreachable(format!("no connection within {CONNECT_TIMEOUT:?}")))?
            .map_err(unreachable)?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(REQUESTS_MAX);
        let completed = Arc::clone(&conduct.completed);
        let (abandon, mut abandoned) = oneshot::channel();
        if events.send(Event::Opened(Requests { sender, completed, _abandon: abandon })).await.is_err() {
            return Ok(());
        }
        let requests = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
        let deadline = Instant::now() + self.timing.silence_max;
        let exchange = async {
            let silent =
                || Failure(StreamEnd::Silent, format!("no response within {:?}", self.timing.silence_max));
            let opened = timeout_at(deadline, client.delta_aggregated_resources(requests)).await;
            let responses = opened.map_err(|_| silent())?.map_err(|status| refused(&status))?;
            if events.send(Event::Connected(server.to_string())).await.is_err() {
                return Ok(());
            }
            let mut responses = responses.into_inner();
            let first = timeout_at(deadline, responses.message()).await.map_err(|_| silent())?;
            forward(first, responses, events, conduct).await
        };
        tokio::select! {
            ended = exchange => ended,
            _ = &mut abandoned => Err(Failure(StreamEnd::Violation, "given up".to_owned())),
        }
    }
}

/// Passes responses on until the stream ends; `Ok` when nobody listens any more.
async fn forward(
    first: Result<Option<DeltaDiscoveryResponse>, tonic::Status>,
    mut responses: Streaming<DeltaDiscoveryResponse>,
    events: &mpsc::Sender<Event>,
    conduct: &mut Conduct,
) -> Result<(), Failure> {
    let mut next = first;
    loop {
        match next {
            Ok(Some(response)) => {
                conduct.answered_at.get_or_insert_with(Instant::now);
                if events.send(Event::Response(Box::new(response))).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Err(Failure(StreamEnd::Closed, "ended by the server".to_owned())),
            Err(status) => return Err(refused(&status)),
        }
        next = responses.message().await;
    }
}

fn refused(status: &tonic::Status) -> Failure {
    let mut reason = format!("{}: {}", status.code(), status.message());
    connect::add_causes(&mut reason, status);
    Failure(StreamEnd::Error, reason)
}
