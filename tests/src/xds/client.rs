//! A client that says exactly what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::frames::{Frames, MESSAGE_BYTES_MAX, PATH, runtime, within};
use super::{Node, Request, Response, Status};
use crate::eventually::DEADLINE;

/// One connection, which carries any number of streams.
#[derive(Debug, Clone)]
pub struct Connection(Channel);

/// One stream. What is not read stays where flow control leaves it: a script that does not read is a dead reader.
#[derive(Debug)]
pub struct Stream {
    outgoing: UnboundedSender<Bytes>,
    incoming: Streaming<Response>,
    /// Whether the next request is the first, which carries the node.
    first: bool,
    id: String,
}

/// What a server did within some time.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It sent a response.
    Response(Box<Response>),
    /// It said nothing.
    Nothing,
    /// It ended the stream.
    Ended(Code, String),
}

impl Connection {
    /// Connects, or panics.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects as somebody who answers pings and lets only so many bytes of each stream come before they are read.
    pub fn with_window(address: SocketAddr, window_bytes: u32) -> Self {
        let opened = Self::connect(&endpoint(address).initial_stream_window_size(window_bytes));
        opened.unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects within the harness's deadline.
    pub fn try_open(address: SocketAddr) -> Result<Self, String> {
        Self::connect(&endpoint(address))
    }

    fn connect(endpoint: &Endpoint) -> Result<Self, String> {
        match within(DEADLINE, endpoint.connect()) {
            Some(Ok(channel)) => Ok(Self(channel)),
            Some(Err(error)) => Err(format!("{error:?}")),
            None => Err("nothing happened".to_owned()),
        }
    }

    /// Opens a stream for a client of this id; panics when it is refused.
    pub fn stream(&self, id: &str) -> Stream {
        self.try_stream(id).unwrap_or_else(|status| panic!("a stream: {status}"))
    }

    /// Opens a stream for a client of this id.
    pub fn try_stream(&self, id: &str) -> Result<Stream, tonic::Status> {
        self.try_stream_of(PATH, id)
    }

    /// Opens a stream of any method.
    pub fn try_stream_of(&self, path: &'static str, id: &str) -> Result<Stream, tonic::Status> {
        let (outgoing, requests) = unbounded_channel();
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opening = async {
            grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static(path);
            let request = tonic::Request::new(Requests(requests));
            grpc.streaming(request, path, Frames::<Response>::new()).await
        };
        let incoming = within(DEADLINE, opening).unwrap_or_else(|| {
            Err(tonic::Status::deadline_exceeded("no headers before a request is sent"))
        })?;
        Ok(Stream { outgoing, incoming: incoming.into_inner(), first: true, id: id.to_owned() })
    }
}

impl Stream {
    /// Sends a request; the first one of the stream gets the node unless it has one.
    pub fn send(&mut self, mut request: Request) {
        if std::mem::take(&mut self.first) && request.node.is_none() {
            request.node = Some(node(&self.id));
        }
        self.send_bytes(request.encode_to_vec());
    }

    /// Sends bytes in a request's place. A server that has left does not mind.
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.first = false;
        let _ = self.outgoing.send(bytes.into());
    }

    /// Subscribes and unsubscribes.
    pub fn subscribe(&mut self, type_url: &str, add: &[&str], remove: &[&str]) {
        self.send(Request {
            type_url: type_url.to_owned(),
            resource_names_subscribe: owned(add),
            resource_names_unsubscribe: owned(remove),
            ..Request::default()
        });
    }

    /// Accepts a response.
    pub fn ack(&mut self, response: &Response) {
        self.answer(&response.type_url, &response.nonce, None);
    }

    /// Rejects a whole response.
    pub fn nack(&mut self, response: &Response, why: &str) {
        let status =
            Status { code: Code::InvalidArgument.into(), message: why.to_owned(), details: Vec::new() };
        self.answer(&response.type_url, &response.nonce, Some(status));
    }

    /// Answers any nonce in any way.
    pub fn answer(&mut self, type_url: &str, nonce: &str, error_detail: Option<Status>) {
        self.send(Request {
            type_url: type_url.to_owned(),
            response_nonce: nonce.to_owned(),
            error_detail,
            ..Request::default()
        });
    }

    /// What the server does next, within `deadline`.
    pub fn heard(&mut self, deadline: Duration) -> Heard {
        match within(deadline, self.incoming.message()) {
            None => Heard::Nothing,
            Some(Ok(Some(response))) => Heard::Response(Box::new(response)),
            Some(Ok(None)) => Heard::Ended(Code::Ok, String::new()),
            Some(Err(status)) => Heard::Ended(status.code(), status.message().to_owned()),
        }
    }

    /// The next response; panics when there is none.
    pub fn response(&mut self) -> Response {
        match self.heard(DEADLINE) {
            Heard::Response(response) => *response,
            other => panic!("no response: {other:?}"),
        }
    }

    /// Panics when the server says anything within `period`.
    pub fn assert_quiet(&mut self, period: Duration) {
        let heard = self.heard(period);
        assert_eq!(heard, Heard::Nothing);
    }

    /// How the server ends the stream; responses are passed over.
    pub fn end(&mut self) -> (Code, String) {
        loop {
            match self.heard(DEADLINE) {
                Heard::Ended(code, message) => return (code, message),
                Heard::Nothing => panic!("the server does not end the stream"),
                Heard::Response(_) => {}
            }
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("a URL")
}

/// A node as our proxies describe themselves.
fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        cluster: "tests".to_owned(),
        user_agent_name: "spurline-tests".to_owned(),
        ..Node::default()
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The script's side of a stream.
struct Requests(UnboundedReceiver<Bytes>);

impl futures_util::Stream for Requests {
    type Item = Bytes;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Bytes>> {
        self.0.poll_recv(context)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Its parts belong to tasks of the runtime and end there.
        let _inside = runtime().enter();
    }
}
