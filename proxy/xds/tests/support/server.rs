//! A server whose every message is said by the test.
#![allow(dead_code, clippy::expect_used, reason = "no suite needs all of it; a test fails by panicking")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    pin::Pin,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use spurline_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use spurline_xds::Server;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens; dropping it closes everything.
pub(crate) struct TestServer {
    address: Server,
    streams: Receiver<Script>,
    freezes: mpsc::UnboundedSender<Receiver<()>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The server's side of one stream; dropping it ends the stream.
pub(crate) struct Script {
    responses: mpsc::UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
    requests: Receiver<DeltaDiscoveryRequest>,
}

struct Service(Sender<Script>);

enum Listener {
    Tcp(TcpListener),
    Unix(PathBuf),
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Server::Http(listener.local_addr().unwrap().to_string());
        Self::listen(address, Listener::Tcp(listener))
    }

    pub(crate) fn start_on_socket(path: &Path) -> Self {
        Self::listen(Server::Unix(path.to_owned()), Listener::Unix(path.to_owned()))
    }

    fn listen(address: Server, listener: Listener) -> Self {
        let (accepted, streams) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (freezes, mut frozen) = mpsc::unbounded_channel::<Receiver<()>>();
        let (listening, listens) = channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // All that the server does happens on this thread: while it waits here, nothing does.
            runtime.spawn(async move {
                while let Some(thawed) = frozen.recv().await {
                    let _ = thawed.recv();
                }
            });
            runtime.block_on(async {
                let server = transport::Server::builder()
                    .add_service(AggregatedDiscoveryServiceServer::new(Service(accepted)));
                let serve = async {
                    match listener {
                        Listener::Tcp(listener) => {
                            listener.set_nonblocking(true).unwrap();
                            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                            listening.send(()).unwrap();
                            server.serve_with_incoming(TcpListenerStream::new(listener)).await
                        }
                        Listener::Unix(path) => {
                            let listener = UnixListener::bind(path).unwrap();
                            listening.send(()).unwrap();
                            server.serve_with_incoming(UnixListenerStream::new(listener)).await
                        }
                    }
                };
                tokio::select! {
                    served = serve => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        listens.recv().unwrap();
        Self { address, streams, freezes, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> Server {
        self.address.clone()
    }

    /// Lets the server do nothing, not even answer pings, until the result is dropped.
    #[must_use]
    pub(crate) fn freeze(&self) -> Sender<()> {
        let (frozen, thawed) = channel();
        self.freezes.send(thawed).expect("a server");
        frozen
    }

    /// The next stream that is opened.
    #[track_caller]
    pub(crate) fn accept(&self) -> Script {
        self.streams.recv_timeout(PATIENCE).expect("a stream")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Script {
    pub(crate) fn send(&self, response: DeltaDiscoveryResponse) {
        // A client that has left is for the test to notice.
        let _ = self.responses.send(Ok(response));
    }

    #[track_caller]
    pub(crate) fn receive(&self) -> DeltaDiscoveryRequest {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// The next request, `None` once the client has left.
    pub(crate) fn try_receive(&self) -> Option<DeltaDiscoveryRequest> {
        self.requests.recv_timeout(PATIENCE).ok()
    }

    #[track_caller]
    pub(crate) fn skip(&self, requests: usize) {
        for _ in 0..requests {
            self.receive();
        }
    }
}

type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Sent<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Sent<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, sent) = mpsc::unbounded_channel();
        let (received, requests) = channel();
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(request)) = incoming.next().await {
                if received.send(request).is_err() {
                    break;
                }
            }
        });
        self.0.send(Script { responses, requests }).map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(sent))))
    }
}
