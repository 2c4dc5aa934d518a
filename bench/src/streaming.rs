//! gRPC calls that stay open and carry messages both ways: what a message, and what a GiB of them, costs a peer.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::future::poll_fn;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::http::{Method, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::closed_loop;
use crate::echoes::{self, Duplex, LARGE_METRICS, SMALL_METRICS, Shape};
use crate::host;
use crate::http2::{self, Backends, Call, echo::ANSWERED_BY};
use crate::peer::Peer;
use crate::scenario::{Measure, Pace, Rounds, Scenario, Setting};
use crate::work::{Job, PATH, Traffic};

const GROUP: &str = "HTTP/2 and gRPC";
/// Calls on each connection.
const CALLS: u32 = 4;
/// Those of the backend: the client is not to be what holds a peer up.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Compressed or not, and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

const PEERS: &[Peer] =
    &[Peer::Floor, Peer::Spurline, Peer::Haproxy, Peer::Nginx, Peer::Envoy, Peer::Pingora, Peer::Hyper];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "grpc-streaming-64B",
        group: GROUP,
        title: "gRPC streaming, messages of 64 B",
        about: "64 calls that stay open, four on a connection, each with one message of 64 bytes under way to the backend and back.",
        peers: PEERS,
        metrics: SMALL_METRICS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Streaming::begin(setting, Shape::SMALL)?)),
    },
    Scenario {
        id: "grpc-streaming-16kB",
        group: GROUP,
        title: "gRPC streaming, messages of 16,000 B",
        about: "16 calls that stay open, four on a connection, each with four messages of 16,000 bytes under way to the backend and back: as much \
                as the default window of HTTP/2 holds.",
        peers: PEERS,
        metrics: LARGE_METRICS,
        rounds: Rounds { quick: 1, full: 3 },
        begin: |setting| Ok(Box::new(Streaming::begin(setting, Shape::LARGE_IN_CALLS)?)),
    },
];

struct Streaming {
    shape: Shape,
    dir: PathBuf,
    pace: Pace,
    runtime: Runtime,
    backends: Backends,
}

/// One call, from the client's side.
struct Stream {
    send: SendStream<Bytes>,
    incoming: RecvStream,
    received: BytesMut,
}

// === impl Streaming ===

impl Streaming {
    fn begin(setting: &Setting, shape: Shape) -> Result<Self> {
        let Setting { dir, pace } = setting;
        let runtime = host::runtime()?;
        let backends = Backends::start(dir, &runtime)?;
        Ok(Self { shape, dir: dir.clone(), pace: *pace, runtime, backends })
    }

    fn job(&self) -> Result<Job> {
        Ok(Job {
            dir: self.dir.clone(),
            connections: self.shape.count,
            tuning: self.shape.tuning(),
            ..Job::on_free_ports()?
        })
    }
}

impl Measure for Streaming {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let (shape, connections) = (self.shape, self.shape.count / CALLS);
        let started = http2::start_with(peer, &self.runtime, &self.backends, self.job()?)?;
        let target = started.listen;
        let cost = closed_loop::measure(&started.running, self.pace, connections, async |meter| {
            let send = open(target).await?;
            let calls = (0..CALLS).map(async |_| {
                let mut stream = Stream::begin(send.clone(), target).await?;
                echoes::run(&mut stream, shape, &meter).await?;
                stream.end().await
            });
            futures_util::future::try_join_all(calls).await.map(drop)
        })?;
        Ok(shape.figures(cost))
    }
}

/// A connection by prior knowledge, driven until it ends.
async fn open(target: SocketAddr) -> Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(stream)
        .await?;
    tokio::spawn(connection);
    Ok(send)
}

// === impl Stream ===

impl Stream {
    /// Begins a call, which has to be answered by the baseline before anything is sent in it.
    async fn begin(send: SendRequest<Bytes>, target: SocketAddr) -> Result<Self> {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://{target}{PATH}"));
        for (name, value) in Call::Grpc.headers(Traffic::Unkeyed) {
            request = request.header(name, value);
        }
        let (response, send) = send.ready().await?.send_request(request.body(())?, false)?;
        let (head, incoming) = response.await?.into_parts();
        ensure!(head.status == StatusCode::OK, "answered {}", head.status);
        let by = head.headers.get(ANSWERED_BY).context("nobody says who answers")?;
        ensure!(by == "baseline", "an unkeyed call was answered by {by:?}");
        Ok(Self { send, incoming, received: BytesMut::new() })
    }

    /// The call's end, with the status that the backend gives it.
    async fn end(mut self) -> Result<()> {
        self.send.send_data(Bytes::new(), true)?;
        while let Some(chunk) = self.incoming.data().await {
            self.incoming.flow_control().release_capacity(chunk?.len())?;
        }
        let trailers = self.incoming.trailers().await?.context("the trailers are lost")?;
        ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "the status is lost");
        Ok(())
    }
}

impl Duplex for Stream {
    async fn send(&mut self, message: Bytes) -> Result<()> {
        let mut data = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        data.put_u8(0);
        data.put_u32(u32::try_from(message.len())?);
        data.put(message);
        self.send.reserve_capacity(data.len());
        while self.send.capacity() < data.len() {
            poll_fn(|context| self.send.poll_capacity(context)).await.context("the call was ended")??;
        }
        Ok(self.send.send_data(data.freeze(), false)?)
    }

    async fn receive(&mut self, bytes: usize) -> Result<Bytes> {
        while self.received.len() < PREFIX_BYTES + bytes {
            let chunk = self.incoming.data().await.context("the call was ended")??;
            self.incoming.flow_control().release_capacity(chunk.len())?;
            self.received.extend_from_slice(&chunk);
        }
        let is_compressed = self.received.get_u8() != 0;
        let length = self.received.get_u32();
        ensure!(!is_compressed && usize::try_from(length)? == bytes, "a message's prefix came back changed");
        Ok(self.received.split_to(bytes).freeze())
    }
}
