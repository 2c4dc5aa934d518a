//! The server of the cases on tonic. It tells its name in the metadata of every answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::certificates::Files;
use crate::messages::*;
use crate::{INITIAL, NAME, TRAILING};

/// Starts a server which lives as long as its runtime.
pub(crate) fn start(runtime: &tokio::runtime::Runtime, name: &str, files: Option<&Files>) -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    listener.set_nonblocking(true).expect("a socket that does not block");
    let address = listener.local_addr().expect("an address");
    let mut server = Server::builder();
    if let Some(files) = files {
        let read = |path| std::fs::read(path).expect("a file");
        let identity = Identity::from_pem(read(&files.cert), read(&files.key));
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).expect("TLS");
    }
    let service = Testing(name.to_owned());
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of the runtime");
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server.add_service(service).serve_with_incoming(incoming).await.expect("serve");
    });
    address
}

#[derive(Clone)]
struct Testing(String);

impl NamedService for Testing {
    const NAME: &'static str = "grpc.testing.TestService";
}

impl Service<http::Request<Body>> for Testing {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = self.0.parse().expect("a field value");
        let asked = |field: &str| request.headers().get(field).cloned();
        let (initial, trailing) = (asked(INITIAL), asked(TRAILING));
        Box::pin(async move {
            let mut answer = dispatch(request).await;
            answer.headers_mut().insert(NAME, name);
            if let Some(value) = initial {
                answer.headers_mut().insert(INITIAL, value);
            }
            Ok(answer.map(|body| match trailing {
                Some(value) => Body::new(body.map_frame(move |frame| match frame.into_trailers() {
                    Ok(mut trailers) => {
                        trailers.insert(TRAILING, value.clone());
                        http_body::Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })),
                None => body,
            }))
        })
    }
}

async fn dispatch(request: http::Request<Body>) -> http::Response<Body> {
    match request.uri().path().rsplit('/').next() {
        Some("EmptyCall") => grpc().unary(service_fn(empty), request).await,
        Some("UnaryCall") => grpc().unary(service_fn(unary), request).await,
        Some("StreamingInputCall") => grpc().client_streaming(service_fn(input), request).await,
        Some("StreamingOutputCall") => grpc().server_streaming(service_fn(output), request).await,
        Some("FullDuplexCall") => grpc().streaming(service_fn(duplex), request).await,
        _ => Status::unimplemented("").into_http(),
    }
}

fn grpc<A, B>() -> Grpc<ProstCodec<B, A>>
where
    A: prost::Message + Default + 'static,
    B: prost::Message + Default + 'static,
{
    Grpc::new(ProstCodec::default())
}

async fn empty(_: Request<()>) -> Result<Response<()>, Status> {
    Ok(Response::new(()))
}

async fn unary(request: Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
    let request = request.into_inner();
    fail(request.response_status.as_ref())?;
    Ok(Response::new(SimpleResponse { payload: payload(request.response_size) }))
}

async fn input(request: Request<Streaming<InputRequest>>) -> Result<Response<InputResponse>, Status> {
    let mut requests = request.into_inner();
    let mut aggregated_payload_size = 0;
    while let Some(request) = requests.message().await? {
        aggregated_payload_size += size_of(request.payload.as_ref());
    }
    Ok(Response::new(InputResponse { aggregated_payload_size }))
}

type Outputs = std::pin::Pin<Box<dyn Stream<Item = Result<OutputResponse, Status>> + Send>>;

async fn output(request: Request<OutputRequest>) -> Result<Response<Outputs>, Status> {
    Ok(Response::new(outputs(request.into_inner())))
}

async fn duplex(request: Request<Streaming<OutputRequest>>) -> Result<Response<Outputs>, Status> {
    let requests = request.into_inner();
    Ok(Response::new(Box::pin(requests.flat_map(|request| request.map_or_else(failed, outputs)))))
}

fn failed(status: Status) -> Outputs {
    Box::pin(stream::iter([Err(status)]))
}

fn outputs(request: OutputRequest) -> Outputs {
    if let Err(status) = fail(request.response_status.as_ref()) {
        return failed(status);
    }
    let sizes = request.response_parameters.into_iter();
    Box::pin(stream::iter(sizes.map(|wanted| Ok(OutputResponse { payload: payload(wanted.size) }))))
}

fn fail(status: Option<&EchoStatus>) -> Result<(), Status> {
    match status {
        Some(status) if status.code != 0 => Err(Status::new(status.code.into(), status.message.clone())),
        _ => Ok(()),
    }
}
