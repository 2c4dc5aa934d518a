//! Connections to the control service, one stream after another.
//!
//! It carries messages and knows nothing of what they say. A server that is gone without a word is noticed by pings, one
//! that answers nothing by the time it takes; both count as failures, after which the next server is tried.

use std::{fs, io, path::Path, time::Duration};

use futures_util::stream;
use hyper_util::rt::TokioIo;
use spurline_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use spurline_telemetry::metrics::StreamEnd;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::{
    Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity},
};

use crate::{Server, Timing, Tls, backoff::Backoff};

/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response that is read.
pub(crate) const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest head of the server's answers.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What the server may send before it is read: enough for a response, and a bound on what it can make us hold.
const WINDOW_BYTES: u32 = 1024 * 1024;
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

/// Why a stream ended, before it is known when the next begins.
#[derive(Debug)]
struct Failure(StreamEnd, String);

// === impl Requests ===

impl Requests {
    /// Whether it could be sent; a server that reads nothing is not worth a queue.
    pub(crate) fn send(&self, request: DeltaDiscoveryRequest) -> bool {
        self.sender.try_send(request).is_ok()
    }
}

// === impl Link ===

impl Link {
    /// Goes on until nobody listens to the events.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>) {
        let mut backoff = Backoff::default();
        let mut next = 0;
        while let Some(server) = self.servers.get(next % self.servers.len().max(1)) {
            let mut heard = false;
            let Failure(end, reason) = match self.stream(server, &events, &mut heard).await {
                Ok(()) => return,
                Err(failure) => failure,
            };
            let last = (next + 1).is_multiple_of(self.servers.len());
            if heard {
                backoff.reset();
            } else {
                next = next.wrapping_add(1);
            }
            // The servers that were not tried yet are tried at once.
            let retry_in = if heard || last { backoff.next(fastrand::f64()) } else { Duration::ZERO };
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
        heard: &mut bool,
    ) -> Result<(), Failure> {
        let connected = timeout(CONNECT_TIMEOUT, self.connect(server)).await;
        let unreachable = |reason| Failure(StreamEnd::Connect, reason);
        let channel = connected
            .map_err(|_| unreachable(format!("no connection within {CONNECT_TIMEOUT:?}")))?
            .map_err(unreachable)?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(REQUESTS_MAX);
        let (abandon, mut abandoned) = oneshot::channel();
        if events.send(Event::Opened(Requests { sender, _abandon: abandon })).await.is_err() {
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
            forward(first, responses, events, heard).await
        };
        tokio::select! {
            ended = exchange => ended,
            _ = &mut abandoned => Err(Failure(StreamEnd::Violation, "given up".to_owned())),
        }
    }

    async fn connect(&self, server: &Server) -> Result<Channel, String> {
        let endpoint = match server {
            Server::Http(authority) => Endpoint::from_shared(format!("http://{authority}")),
            Server::Https(authority) => Endpoint::from_shared(format!("https://{authority}")),
            Server::Unix(_) => Ok(Endpoint::from_static("http://localhost")),
        };
        let mut endpoint = endpoint
            .and_then(|endpoint| endpoint.user_agent(self.user_agent.clone()))
            .map_err(|error| describe(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(self.timing.ping_interval)
            .keep_alive_timeout(self.timing.ping_timeout)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        if matches!(server, Server::Https(_)) {
            endpoint = endpoint.tls_config(self.tls_config()?).map_err(|error| describe(&error))?;
        }
        let connected = match server {
            Server::Unix(path) => {
                let path = path.clone();
                let connect = move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                };
                endpoint.connect_with_connector(tower::service_fn(connect)).await
            }
            Server::Http(_) | Server::Https(_) => endpoint.connect().await,
        };
        connected.map_err(|error| describe(&error))
    }

    /// Read anew for each connection, so that rotated files need no signal.
    fn tls_config(&self) -> Result<ClientTlsConfig, String> {
        let read =
            |path: &Path| fs::read(path).map_err(|error: io::Error| format!("{}: {error}", path.display()));
        let mut config = ClientTlsConfig::new();
        if let Some(path) = &self.tls.ca_file {
            config = config.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Some(identity) = &self.tls.identity {
            let identity = TlsIdentity::from_pem(read(&identity.cert_file)?, read(&identity.key_file)?);
            config = config.identity(identity);
        }
        Ok(config)
    }
}

/// Passes responses on until the stream ends; `Ok` when nobody listens any more.
async fn forward(
    first: Result<Option<DeltaDiscoveryResponse>, tonic::Status>,
    mut responses: Streaming<DeltaDiscoveryResponse>,
    events: &mpsc::Sender<Event>,
    heard: &mut bool,
) -> Result<(), Failure> {
    let mut next = first;
    loop {
        match next {
            Ok(Some(response)) => {
                *heard = true;
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
    Failure(StreamEnd::Error, format!("{}: {}", status.code(), status.message()))
}

/// An error with what it is due to, for the outermost says little.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
