//! A relay as one writes it on hyper in an afternoon: its HTTP/2 server, the pooled client of hyper-util, both at their
//! defaults, one thread. It looks for the key in `baggage`, chooses between two upstreams and streams bodies and trailers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::work::ROUTING_KEY;

/// Serves until the process is killed.
pub(crate) fn run(listen: SocketAddr, baseline: SocketAddr, fork: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
        let relay = Arc::new(Relay {
            client,
            needle: format!("sd-routing-key={ROUTING_KEY}").into_bytes(),
            baseline: baseline.to_string().parse()?,
            fork: fork.to_string().parse()?,
        });
        let listener = TcpListener::bind(listen).await.with_context(|| format!("bind {listen}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .serve_connection(
                        TokioIo::new(stream),
                        service_fn(|request| Arc::clone(&relay).forward(request)),
                    );
                if let Err(error) = serving.await {
                    eprintln!("hyper-relay: {error}");
                }
            });
        }
    })
}

struct Relay {
    client: Client<HttpConnector, Incoming>,
    needle: Vec<u8>,
    baseline: Authority,
    fork: Authority,
}

impl Relay {
    async fn forward(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let baggage = request.headers().get_all("baggage").iter();
        let is_forked = baggage
            .map(hyper::http::HeaderValue::as_bytes)
            .any(|value| value.windows(self.needle.len()).any(|window| window == self.needle));
        let mut target = request.uri().clone().into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(if is_forked { self.fork.clone() } else { self.baseline.clone() });
        target.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        // Every part is there, so that this holds; the request's own target would only be refused by the client.
        if let Ok(target) = Uri::from_parts(target) {
            *request.uri_mut() = target;
        }
        self.client.request(request).await
    }
}
