//! A control service that says exactly what it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Status, Streaming};

use super::conduct::{Conduct, brief};
use super::frames::{Frames, MESSAGE_BYTES_MAX, PATH, new_runtime, within};
use super::world::World;
use super::{Request, Response, covers};
use crate::eventually::DEADLINE;
use crate::loopback::free_address;

type Outgoing = Result<Bytes, Status>;
type Body = tonic::body::Body;

/// A listening control service whose streams a script takes one by one. Dropping it resets every connection.
#[derive(Debug)]
pub struct Ads {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
    sessions: Mutex<Receiver<Session>>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// One stream of a client.
#[derive(Debug)]
pub struct Session {
    incoming: Streaming<Request>,
    outgoing: UnboundedSender<Outgoing>,
    conduct: Conduct,
    faults: Arc<Mutex<Vec<String>>>,
    nonces: u64,
}

/// What a client did within some time.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It sent a request.
    Request(Box<Request>),
    /// It said nothing.
    Nothing,
    /// It ended the stream.
    Ended,
}

impl Ads {
    /// Listens on a free address.
    pub fn start() -> Self {
        Self::at(free_address())
    }

    /// Listens on an address, as one that is started again does.
    pub fn at(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("bind");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let runtime = new_runtime();
        let (sender, sessions) = channel();
        let faults = Arc::<Mutex<Vec<String>>>::default();
        let service = Entrance { sessions: sender, faults: Arc::clone(&faults) };
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of the runtime");
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.expect("serve");
        });
        Self { address, runtime: Some(runtime), sessions: Mutex::new(sessions), faults }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the proxy is told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream of a client; panics when there is none in time.
    pub fn accept(&self) -> Session {
        self.accept_within(DEADLINE).expect("a client opens a stream")
    }

    /// The next stream of a client, if one comes in time.
    pub fn accept_within(&self, deadline: Duration) -> Option<Session> {
        self.sessions.lock().expect("sessions").recv_timeout(deadline).ok()
    }

    /// What a client did on any stream that a client must not, since the last time it was taken.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut self.faults.lock().expect("faults"))
    }

    /// Panics when a client did on any stream what a client must not.
    pub fn assert_conduct(&self) {
        let faults = self.faults.lock().expect("faults");
        assert!(
            faults.is_empty(),
            "{} faults of the client:\n{}",
            faults.len(),
            faults[..faults.len().min(10)].join("\n")
        );
    }
}

impl Drop for Ads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            self.assert_conduct();
        }
    }
}

impl Session {
    /// What the client does next, within `deadline`.
    pub fn asked(&mut self, deadline: Duration) -> Asked {
        match within(deadline, self.incoming.message()) {
            None => Asked::Nothing,
            Some(Ok(Some(request))) => {
                let found = self.conduct.judge(&request);
                self.faults.lock().expect("faults").extend(found);
                Asked::Request(Box::new(request))
            }
            Some(Ok(None) | Err(_)) => Asked::Ended,
        }
    }

    /// The client's next request; panics when there is none.
    pub fn request(&mut self) -> Request {
        match self.asked(DEADLINE) {
            Asked::Request(request) => *request,
            other => panic!("no request of the client: {other:?}"),
        }
    }

    /// The client's next request for a type; others are passed over.
    pub fn request_for(&mut self, type_url: &str) -> Request {
        loop {
            let request = self.request();
            if request.type_url == type_url {
                return request;
            }
        }
    }

    /// The answer to the response with `nonce`; other requests are passed over.
    pub fn answer_to(&mut self, nonce: &str) -> Request {
        loop {
            let request = self.request();
            if request.response_nonce == nonce {
                return request;
            }
        }
    }

    /// A nonce that this stream has not seen.
    pub fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("nonce-{}", self.nonces)
    }

    /// Sends a response as it is. A client that has left does not mind.
    pub fn send(&mut self, response: &Response) {
        self.conduct.sent(response);
        let _ = self.outgoing.send(Ok(response.encode_to_vec().into()));
    }

    /// Sends bytes in a response's place. They are judged as the response that they decode to, if they do.
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if let Ok(response) = Response::decode(bytes.clone()) {
            self.conduct.sent(&response);
        }
        let _ = self.outgoing.send(Ok(bytes));
    }

    /// Sends a response and returns the client's answer to it.
    pub fn exchange(&mut self, mut response: Response) -> Request {
        response.nonce = self.nonce();
        self.send(&response);
        self.answer_to(&response.nonce)
    }

    /// Sends a response that the client has to accept.
    pub fn accepted(&mut self, response: Response) {
        let answer = self.exchange(response);
        assert!(answer.error_detail.is_none(), "rejected: {}", brief(&answer));
    }

    /// Answers the client's subscriptions of the stream's beginning with what there is, until it has all of it.
    pub fn sync(&mut self, world: &World) {
        let mut open = 0_usize;
        let mut quiet = DEADLINE;
        loop {
            match self.asked(quiet) {
                Asked::Request(request) if !request.response_nonce.is_empty() => {
                    assert!(request.error_detail.is_none(), "rejected: {}", brief(&request));
                    open -= 1;
                }
                Asked::Request(request) => {
                    let resources = world.matching(&request.type_url, &request.resource_names_subscribe);
                    let known = &request.initial_resource_versions;
                    let removed = known.keys().filter(|name| !resources.contains_key(*name)).cloned();
                    let response = Response {
                        system_version_info: "1".to_owned(),
                        removed_resources: removed.collect(),
                        resources: resources.into_values().collect(),
                        type_url: request.type_url.clone(),
                        nonce: self.nonce(),
                    };
                    self.send(&response);
                    open += 1;
                }
                Asked::Nothing => {
                    assert!(open == 0, "{open} responses have no answer");
                    return;
                }
                Asked::Ended => panic!("the client ended the stream while it was brought up to date"),
            }
            // All subscriptions of a client come at once.
            quiet = if open == 0 { Duration::from_millis(100) } else { DEADLINE };
        }
    }

    /// What the client is subscribed to.
    pub fn subscribes(&self, type_url: &str, name: &str) -> bool {
        self.conduct.patterns(type_url).any(|pattern| covers(pattern, name))
    }

    /// Admits that the client may answer a nonce of which nothing decodable was sent.
    pub fn admit(&mut self, type_url: &str, nonce: &str) {
        self.conduct.sent_unknown(type_url, nonce);
    }

    /// Ends the stream with a status.
    pub fn end(self, status: Status) {
        let _ = self.outgoing.send(Err(status));
    }
}

/// Hands streams to the script.
#[derive(Clone)]
struct Entrance {
    sessions: Sender<Session>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl NamedService for Entrance {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Entrance {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let entrance = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("only deltas").into_http());
            }
            let codec = Frames::<Request>::new();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.streaming(entrance, request).await)
        })
    }
}

impl StreamingService<Request> for Entrance {
    type Response = Bytes;
    type ResponseStream = Responses;
    type Future = BoxFuture<tonic::Response<Responses>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let (outgoing, responses) = unbounded_channel();
        let session = Session {
            incoming: request.into_inner(),
            outgoing,
            conduct: Conduct::default(),
            faults: Arc::clone(&self.faults),
            nonces: 0,
        };
        // Nobody takes it when the script is over.
        let _ = self.sessions.send(session);
        Box::pin(async move { Ok(tonic::Response::new(Responses(responses))) })
    }
}

/// The script's side of a stream.
struct Responses(UnboundedReceiver<Outgoing>);

impl futures_util::Stream for Responses {
    type Item = Outgoing;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        self.0.poll_recv(context)
    }
}
