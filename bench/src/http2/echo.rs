//! The backend of everything that speaks HTTP/2: two addresses of one process on the h2 crate, one thread. It sends a request's
//! body back as it comes, and says in a field which of the two it is.
//!
//! It is a load generator's other half, not an example: no limits beyond the crate's, no time-outs but one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

/// The field that names who answered: `baseline` or `fork`.
pub(crate) const ANSWERED_BY: &str = "answered-by";
const BASELINE: &str = "baseline";
const FORK: &str = "fork";
/// Answers with [`Counts`] as JSON.
pub(crate) const STATUS_PATH: &str = "/bench-status";
/// Answers after [`HOLD_TIME`], unless the request is cancelled before: work that a reset can save.
pub(crate) const HOLD_PATH: &str = "/bench-hold";
/// Answers with [`LARGE_BYTES`] bytes.
pub(crate) const LARGE_PATH: &str = "/bench-large";

const HOLD_TIME: Duration = Duration::from_secs(1);
const LARGE_BYTES: usize = 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const STREAMS_MAX: u32 = 1000;

/// What both backends have seen so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    /// Those for [`STATUS_PATH`] included.
    pub(crate) requests: u64,
    /// Of these, those that came to the fork.
    pub(crate) fork_requests: u64,
    /// The most that were being answered at once since this was last asked for.
    pub(crate) in_flight_peak: u64,
}

/// Shared by all connections.
struct State {
    connections: AtomicU64,
    requests: AtomicU64,
    fork_requests: AtomicU64,
    in_flight: AtomicU64,
    in_flight_peak: AtomicU64,
    large: Bytes,
}

/// Counts a request as in flight as long as it lives.
struct InFlight(Arc<State>);

/// Serves until the process is killed.
pub(crate) fn run(baseline: SocketAddr, fork: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let state = Arc::new(State {
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            fork_requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_peak: AtomicU64::new(0),
            large: Bytes::from(vec![b'l'; LARGE_BYTES]),
        });
        tokio::try_join!(
            accept(baseline, HeaderValue::from_static(BASELINE), Arc::clone(&state)),
            accept(fork, HeaderValue::from_static(FORK), Arc::clone(&state)),
        )?;
        Ok(())
    })
}

async fn accept(listen: SocketAddr, name: HeaderValue, state: Arc<State>) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("bind {listen}"))?;
    loop {
        let (stream, _) = listener.accept().await?;
        state.connections.fetch_add(1, Ordering::Relaxed);
        // A connection that breaks ends by itself; who broke it is for the measured side to count.
        tokio::spawn(serve(stream, name.clone(), Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, name: HeaderValue, state: Arc<State>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        // What a proxy under attack passes on is its own affair: here nothing is refused for its number.
        .max_pending_accept_reset_streams(usize::MAX)
        .max_local_error_reset_streams(None)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        state.requests.fetch_add(1, Ordering::Relaxed);
        if name == FORK {
            state.fork_requests.fetch_add(1, Ordering::Relaxed);
        }
        tokio::spawn(answer(request, respond, name.clone(), Arc::clone(&state)));
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    name: HeaderValue,
    state: Arc<State>,
) -> Result<(), h2::Error> {
    // From here on, not from when it arrived: one that was cancelled meanwhile is no work.
    let in_flight = InFlight::enter(&state);
    let mut response = Response::new(());
    response.headers_mut().insert(ANSWERED_BY, name);
    match request.uri().path() {
        STATUS_PATH => {
            let counts = serde_json::to_vec(&in_flight.0.look()).unwrap_or_default();
            whole(respond.send_response(response, false)?, counts.into()).await
        }
        LARGE_PATH => whole(respond.send_response(response, false)?, in_flight.0.large.clone()).await,
        HOLD_PATH => {
            tokio::select! {
                _ = poll_fn(|context| respond.poll_reset(context)) => {}
                () = tokio::time::sleep(HOLD_TIME) => { respond.send_response(response, true)?; }
            }
            Ok(())
        }
        _ => {
            let content_type = request.headers().get(CONTENT_TYPE).cloned();
            let is_grpc =
                content_type.as_ref().is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
            if let Some(content_type) = content_type {
                response.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            let mut body = request.into_body();
            let nothing_comes = body.is_end_stream() && !is_grpc;
            let mut send = respond.send_response(response, nothing_comes)?;
            if nothing_comes {
                return Ok(());
            }
            if is_grpc {
                echo(&mut body, &mut send, End::Trailers).await?;
                let status =
                    (hyper::http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                send.send_trailers(HeaderMap::from_iter([status]))
            } else {
                echo(&mut body, &mut send, End::Data).await
            }
        }
    }
}

/// What ends a response.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Data,
    Trailers,
}

async fn echo(body: &mut RecvStream, send: &mut SendStream<Bytes>, end: End) -> Result<(), h2::Error> {
    let mut ended = false;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        ended = body.is_end_stream() && end == End::Data;
        // Frames without content that end nothing look like a flood to Envoy, once many calls end at once.
        if !chunk.is_empty() || ended {
            transmit(send, chunk, ended).await?;
        }
    }
    if !ended && end == End::Data {
        send.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

async fn whole(mut send: SendStream<Bytes>, body: Bytes) -> Result<(), h2::Error> {
    transmit(&mut send, body, true).await
}

/// Sends `data` as the windows allow; small data that they allow at once without a turn through the scheduler.
async fn transmit(send: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Result<(), h2::Error> {
    loop {
        send.reserve_capacity(data.len());
        while send.capacity() == 0 && !data.is_empty() {
            match poll_fn(|context| send.poll_capacity(context)).await {
                Some(capacity) => capacity?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let part = data.split_to(send.capacity().min(data.len()));
        let ends = is_last && data.is_empty();
        send.send_data(part, ends)?;
        if data.is_empty() {
            return Ok(());
        }
    }
}

// === impl State ===

impl State {
    fn look(&self) -> Counts {
        Counts {
            connections: self.connections.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            fork_requests: self.fork_requests.load(Ordering::Relaxed),
            in_flight_peak: self
                .in_flight_peak
                .swap(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed),
        }
    }
}

// === impl InFlight ===

impl InFlight {
    fn enter(state: &Arc<State>) -> Self {
        let now = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        state.in_flight_peak.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
