//! A relay as one writes it on hyper in an afternoon: its servers, the pooled client of hyper-util, all at their
//! defaults, one thread. It takes the key out of `baggage`, chooses between two upstreams, streams bodies and trailers, and speaks HTTP/1.1
//! or HTTP/2 with the upstream as the client does.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::http::HeaderValue;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::work::ROUTING_KEY;

/// How a connection begins that speaks HTTP/2 by prior knowledge (RFC 9113, 3.4), and no request does.
const HTTP2_START: &[u8] = b"PRI";

/// Serves until the process is killed.
pub(crate) fn run(listen: SocketAddr, baseline: SocketAddr, fork: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let relay = Arc::new(Relay {
            http1: Client::builder(TokioExecutor::new()).build(connector.clone()),
            http2: Client::builder(TokioExecutor::new()).http2_only(true).build(connector),
            baseline: baseline.to_string().parse()?,
            fork: fork.to_string().parse()?,
        });
        let listener = TcpListener::bind(listen).await.with_context(|| format!("bind {listen}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                if let Err(error) = serve(stream, relay).await {
                    eprintln!("hyper-relay: {error}");
                }
            });
        }
    })
}

async fn serve(stream: TcpStream, relay: Arc<Relay>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut start = [0; HTTP2_START.len()];
    // All of it comes at once: a client writes the whole preface, or a whole request.
    let count = stream.peek(&mut start).await?;
    let service = service_fn(move |request| Arc::clone(&relay).forward(request));
    if start.get(..count) == Some(HTTP2_START) {
        let server = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        server.await?;
    } else {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await?;
    }
    Ok(())
}

struct Relay {
    http1: Client<HttpConnector, Incoming>,
    http2: Client<HttpConnector, Incoming>,
    baseline: Authority,
    fork: Authority,
}

impl Relay {
    async fn forward(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let lines = request.headers().get_all("baggage").iter();
        let key = lines.map(HeaderValue::as_bytes).find_map(key_of);
        let is_forked = key == Some(ROUTING_KEY.as_bytes());
        let mut target = request.uri().clone().into_parts();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(if is_forked { self.fork.clone() } else { self.baseline.clone() });
        target.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        // Every part is there, so that this holds; the request's own target would only be refused by the client.
        if let Ok(target) = Uri::from_parts(target) {
            *request.uri_mut() = target;
        }
        let client = if request.version() == Version::HTTP_2 { &self.http2 } else { &self.http1 };
        client.request(request).await
    }
}

/// The value of the member that carries the key, in one line of `baggage`, without its properties.
fn key_of(line: &[u8]) -> Option<&[u8]> {
    line.split(|byte| *byte == b',').find_map(|member| {
        let value = member.trim_ascii_start().strip_prefix(b"sd-routing-key=")?;
        value.split(|byte| *byte == b';').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_among_other_members() {
        assert_eq!(key_of(b"tenant=acme, sd-routing-key=k1;ttl=3,x=y"), Some(b"k1".as_slice()));
        assert_eq!(key_of(b"tenant=acme,xsd-routing-key=k1"), None);
    }
}
