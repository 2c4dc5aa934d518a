//! The demo's HTTP client: one keep-alive connection, one request at a time, every failure named.
//!
//! It does not retry and does not pool: a request that fails is what the demo looks for.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::service::Reply;

/// Longer than any answer on this machine takes; past it a request counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A header to send.
pub(crate) type Field<'a> = (&'static str, &'a str);

/// A client that keeps its connection while the peer does.
#[derive(Debug)]
pub(crate) struct Connection {
    addr: SocketAddr,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Owns the task that drives the connection: dropped, it is aborted.
    _driver: JoinSet<()>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, open: None }
    }

    /// [`Self::send`] for what has no body.
    pub(crate) async fn get(&mut self, path: &str, fields: &[Field<'_>]) -> Result<Answer> {
        self.send(Method::GET, path, fields, Bytes::new()).await
    }

    /// Sends one request and reads the whole answer.
    ///
    /// A connection that the peer closed after the previous answer is replaced first: nothing was sent on it.
    ///
    /// # Errors
    /// Anything that leaves the request without a complete answer within 5 seconds.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[Field<'_>],
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.addr.to_string());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body))?;
        let result = timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ANSWER_TIMEOUT:?}")));
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let mut open = match still_open(self.open.take()).await {
            Some(open) => open,
            None => connect(self.addr).await?,
        };
        let response = open.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("the answer broke off")?.to_bytes();
        self.open = Some(open);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// The connection, unless the peer has closed it since the last answer.
async fn still_open(open: Option<Open>) -> Option<Open> {
    let mut open = open?;
    open.sender.ready().await.ok()?;
    Some(open)
}

async fn connect(addr: SocketAddr) -> Result<Open> {
    let stream = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // An error here is also the error of the request that was under way.
        let _ = connection.await;
    });
    sender.ready().await?;
    Ok(Open { sender, _driver: driver })
}

// === impl Answer ===

impl Answer {
    /// The value of the last line of a response header, if there is one and it is text.
    ///
    /// Every proxy on the way adds its line after those of the proxies behind it: the last one is that of the
    /// proxy that was asked.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_all(name).iter().next_back()?.to_str().ok()
    }

    /// What the shop said, if it is the shop that answered.
    pub(crate) fn reply(&self) -> Result<Reply> {
        let reason =
            self.header("x-spurline-reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
        anyhow::ensure!(
            self.status == StatusCode::OK,
            "status {}{reason}: {}",
            self.status.as_u16(),
            String::from_utf8_lossy(&self.body).trim()
        );
        serde_json::from_slice(&self.body).context("an answer of another shape")
    }
}
