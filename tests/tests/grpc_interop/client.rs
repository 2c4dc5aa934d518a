//! The client of the cases on tonic.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::certificates::Authority;
use crate::messages::*;
use crate::{INITIAL, SENT, SIZES, SPECIAL, TRAILING};

/// One connection.
#[derive(Clone)]
pub(crate) struct Client(Grpc<Channel>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let scheme = if authority.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).expect("an address");
        if let Some(authority) = authority {
            let ca = Certificate::from_pem(std::fs::read(authority.ca()).expect("a file"));
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).expect("TLS");
        }
        Self(Grpc::new(endpoint.connect().await.expect("a connection")))
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut grpc = self.0.clone();
        grpc.ready().await.expect("a connection that is ready");
        grpc
    }

    pub(crate) async fn unary(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        self.ready().await.unary(request, path("UnaryCall"), ProstCodec::default()).await
    }

    async fn empty(&self, method: &str) -> Result<Response<()>, Status> {
        self.ready().await.unary(Request::new(()), path(method), ProstCodec::<(), ()>::default()).await
    }

    async fn input(
        &self,
        requests: impl Stream<Item = InputRequest> + Send + 'static,
    ) -> Result<InputResponse, Status> {
        let codec = ProstCodec::<InputRequest, InputResponse>::default();
        let call = requests.into_streaming_request();
        let answer = self.ready().await.client_streaming(call, path("StreamingInputCall"), codec).await;
        answer.map(Response::into_inner)
    }

    pub(crate) async fn duplex(
        &self,
        requests: Request<impl Stream<Item = OutputRequest> + Send + 'static>,
    ) -> Result<Response<Streaming<OutputResponse>>, Status> {
        self.ready().await.streaming(requests, path("FullDuplexCall"), ProstCodec::default()).await
    }

    /// Runs one case; what is not as it has to be is a panic.
    pub(crate) async fn case(&self, case: &str) {
        match case {
            "empty_unary" => drop(self.empty("EmptyCall").await.expect("an answer")),
            "large_unary" => {
                let answer = self.unary(Request::new(large())).await.expect("an answer").into_inner();
                assert_eq!(answer.payload, payload(314_159));
            }
            "client_streaming" => {
                let requests = SENT.map(|size| InputRequest { payload: payload(size) });
                let answer = self.input(stream::iter(requests)).await.expect("an answer");
                assert_eq!(answer.aggregated_payload_size, 74922);
            }
            "server_streaming" => self.server_streaming().await,
            "ping_pong" => self.ping_pong().await,
            "empty_stream" => {
                let mut answers =
                    self.duplex(Request::new(stream::empty())).await.expect("an answer").into_inner();
                assert_eq!(answers.message().await.expect("an end"), None);
            }
            "cancel_after_begin" => {
                let call = self.input(stream::pending());
                let canceled = tokio::time::timeout(Duration::from_millis(10), call).await;
                assert!(canceled.is_err(), "{canceled:?}");
            }
            "cancel_after_first_response" => {
                let requests = stream::iter([wants(&[31415])]).chain(stream::pending());
                let mut answers = self.duplex(Request::new(requests)).await.expect("an answer").into_inner();
                let first = answers.message().await.expect("a message").expect("a message");
                assert_eq!(first.payload, payload(31415));
            }
            "timeout_on_sleeping_server" => self.timeout().await,
            "custom_metadata" => self.custom_metadata().await,
            "status_code_and_message" => self.status("test status message").await,
            "special_status_message" => self.status(SPECIAL).await,
            "unimplemented_method" => {
                let status = self.empty("UnimplementedCall").await.expect_err("no such method");
                assert_eq!(status.code(), Code::Unimplemented);
            }
            other => panic!("no case {other}"),
        }
    }

    async fn server_streaming(&self) {
        let codec = ProstCodec::<OutputRequest, OutputResponse>::default();
        let call = Request::new(wants(&SIZES));
        let answer = self.ready().await.server_streaming(call, path("StreamingOutputCall"), codec).await;
        assert_eq!(sizes(answer.expect("an answer").into_inner()).await, SIZES);
    }

    async fn ping_pong(&self) {
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        let requests = stream_of(requests);
        let ask = |at: usize| OutputRequest { payload: payload(SENT[at]), ..wants(&[SIZES[at]]) };
        // Some servers send no head before their first message.
        sender.send(ask(0)).expect("send");
        let mut answers = self.duplex(Request::new(requests)).await.expect("an answer").into_inner();
        for (at, size) in SIZES.into_iter().enumerate() {
            if at > 0 {
                sender.send(ask(at)).expect("send");
            }
            let answer = answers.message().await.expect("a message").expect("a message");
            assert_eq!(answer.payload, payload(size));
        }
        drop(sender);
        assert_eq!(answers.message().await.expect("an end"), None);
    }

    async fn timeout(&self) {
        let requests = stream::iter([wants(&[31415])]).chain(stream::pending());
        let mut request = Request::new(requests);
        request.set_timeout(Duration::from_millis(1));
        let status = match self.duplex(request).await {
            Ok(answer) => {
                let mut answers = answer.into_inner();
                loop {
                    match answers.message().await {
                        Ok(None) => break Status::ok("ended"),
                        Ok(Some(_)) => {}
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        // The first is what tonic makes of its own timer, and of the reset that grpc-go sends at a deadline.
        assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    }

    async fn custom_metadata(&self) {
        let check = |metadata: &MetadataMap| {
            let initial = metadata.get(INITIAL).map(|value| value.as_bytes().to_vec());
            assert_eq!(initial.as_deref(), Some(&b"test_initial_metadata_value"[..]));
        };
        let trailing = |metadata: &MetadataMap| {
            let value = metadata.get_bin(TRAILING).expect("the trailing metadata");
            assert_eq!(value.to_bytes().expect("base64")[..], [0xab, 0xab, 0xab]);
        };
        let answer = self.unary(with_metadata(large())).await.expect("an answer");
        check(answer.metadata());
        trailing(answer.metadata());
        let answer = self.duplex(with_metadata(stream::iter([wants(&[314_159])]))).await.expect("an answer");
        check(answer.metadata());
        let mut answers = answer.into_inner();
        let first = answers.message().await.expect("a message").expect("a message");
        assert_eq!(first.payload, payload(314_159));
        trailing(&answers.trailers().await.expect("trailers").expect("trailers"));
    }

    async fn status(&self, message: &str) {
        let told = EchoStatus { code: 2, message: message.to_owned() };
        let request = SimpleRequest { response_status: Some(told.clone()), ..SimpleRequest::default() };
        let unary = self.unary(Request::new(request)).await.expect_err("a status");
        assert_eq!((unary.code(), unary.message()), (Code::Unknown, message));
        let request = OutputRequest { response_status: Some(told), ..OutputRequest::default() };
        let streamed = match self.duplex(Request::new(stream::iter([request]))).await {
            Ok(answer) => answer.into_inner().message().await.expect_err("a status"),
            Err(status) => status,
        };
        assert_eq!((streamed.code(), streamed.message()), (Code::Unknown, message));
    }
}

/// What is sent to a channel, as requests of a call.
pub(crate) fn stream_of(
    requests: UnboundedReceiver<OutputRequest>,
) -> impl Stream<Item = OutputRequest> + Send + 'static {
    stream::unfold(requests, |mut requests| async {
        requests.recv().await.map(|request| (request, requests))
    })
}

fn path(method: &str) -> PathAndQuery {
    format!("/grpc.testing.TestService/{method}").parse().expect("a path")
}

fn large() -> SimpleRequest {
    SimpleRequest { response_size: 314_159, payload: payload(271_828), ..SimpleRequest::default() }
}

/// A request for one answer of each size.
pub(crate) fn wants(sizes: &[i32]) -> OutputRequest {
    let response_parameters = sizes.iter().map(|size| ResponseParameters { size: *size }).collect();
    OutputRequest { response_parameters, ..OutputRequest::default() }
}

async fn sizes(mut answers: Streaming<OutputResponse>) -> Vec<i32> {
    let mut sizes = Vec::new();
    while let Some(answer) = answers.message().await.expect("a message") {
        sizes.push(size_of(answer.payload.as_ref()));
    }
    sizes
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = "test_initial_metadata_value".parse().expect("a value");
    request.metadata_mut().insert(INITIAL, value);
    let bytes = tonic::metadata::MetadataValue::from_bytes(&[0xab, 0xab, 0xab]);
    request.metadata_mut().insert_bin(TRAILING, bytes);
    request
}
