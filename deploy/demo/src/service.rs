//! One service of the shop: an ordinary HTTP server on hyper, with an ordinary pooling client.
//!
//! It does not know that Spurline exists. The one thing it does for its callers is what any service with
//! OpenTelemetry does: it copies the `baggage` header of a request to the request it makes itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// An answer is a few hundred bytes; more than this is not one of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Below the proxies' idle timeout, so that the client never picks a connection which is being closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Which copy of a service this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Version {
    Baseline,
    Fork,
}

/// One service that took part in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Hop {
    pub(crate) service: String,
    pub(crate) version: Version,
}

/// What a service answers with: the path it was asked for, and who answered, the caller first.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Reply {
    pub(crate) path: String,
    pub(crate) answered_by: Vec<Hop>,
}

/// Settings of one service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) listen: SocketAddr,
    /// Base URL of the service to call, without a path. `None`: the end of the chain.
    pub(crate) next: Option<String>,
}

/// Serves until the process is told to stop.
///
/// # Errors
/// The address cannot be bound. A single connection that fails ends alone.
pub(crate) async fn serve(service: Service) -> Result<Infallible> {
    let listener = TcpListener::bind(service.listen)
        .await
        .with_context(|| format!("cannot listen on {}", service.listen))?;
    let handler = Handler {
        client: Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector()),
        service,
    };
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, handler.clone()));
            }
            // Descriptors may be short for a moment: the listener itself stays sound.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// One client connection. Its errors are the peer's business and end only this connection.
async fn connection(stream: TcpStream, handler: Handler) {
    let _ = stream.set_nodelay(true);
    let serve = service_fn(|request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
}

#[derive(Clone, Debug)]
struct Handler {
    service: Service,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut answered_by = vec![Hop { service: self.service.name.clone(), version: self.service.version }];
        if let Some(next) = &self.service.next {
            match self.ask(next, &path, request.headers()).await {
                Ok(reply) => answered_by.extend(reply.answered_by),
                Err(error) => {
                    return json(
                        StatusCode::BAD_GATEWAY,
                        &serde_json::json!({ "error": format!("{error:#}") }),
                    );
                }
            }
        }
        json(StatusCode::OK, &Reply { path, answered_by })
    }

    async fn ask(&self, next: &str, path: &str, headers: &HeaderMap) -> Result<Reply> {
        let uri = Uri::from_str(&format!("{next}{path}")).context("the next service has no valid URL")?;
        let mut request = Request::get(uri).body(Empty::new())?;
        for line in headers.get_all("baggage") {
            request.headers_mut().append("baggage", line.clone());
        }
        let response =
            self.client.request(request).await.with_context(|| format!("{next} cannot be reached"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| anyhow::anyhow!(error)).with_context(|| format!("{next} broke off"))?;
        anyhow::ensure!(status == StatusCode::OK, "{next} answered {status}");
        serde_json::from_slice(&body.to_bytes())
            .with_context(|| format!("{next} gave an answer of another shape"))
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

// === impl Version ===

impl Version {
    /// The word for it on the command line and in answers.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Fork => "fork",
        }
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "baseline" => Ok(Self::Baseline),
            "fork" => Ok(Self::Fork),
            _ => Err("allowed: baseline, fork"),
        }
    }
}
