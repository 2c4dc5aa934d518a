//! A client on the h2 crate: readiness, who answered, idle connections, and the victim of the attacks.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use hyper::http::{HeaderMap, Method, Request, StatusCode};
use tokio::net::TcpStream;

use super::echo::ANSWERED_BY;
use crate::work::{PATH, Traffic};

const TIMEOUT: Duration = Duration::from_secs(5);

/// One connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    authority: String,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) answered_by: String,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: &'a Bytes,
}

impl Connection {
    /// Opens one by prior knowledge. It is driven by a task of the runtime that this runs on, as long as there are clones.
    pub(crate) async fn open(target: SocketAddr) -> Result<Self> {
        let opening = async {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            let (send, connection) = h2::client::handshake(stream).await?;
            tokio::spawn(connection);
            anyhow::Ok(send)
        };
        let send = tokio::time::timeout(TIMEOUT, opening).await.context("no connection in time")??;
        Ok(Self { send, authority: target.to_string() })
    }

    /// Sends a request and waits for all of its answer; an error for another status than 200.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Answer> {
        tokio::time::timeout(TIMEOUT, self.exchange(question)).await.context("no answer in time")?
    }

    async fn exchange(&self, question: Question<'_>) -> Result<Answer> {
        let Question { method, path, headers, body } = question;
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.authority));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut send = self.send.clone().ready().await?;
        let (response, mut upload) = send.send_request(request.body(())?, body.is_empty())?;
        if !body.is_empty() {
            upload.send_data(body.clone(), true)?;
        }
        let (head, mut incoming) = response.await?.into_parts();
        let mut received = BytesMut::new();
        while let Some(chunk) = incoming.data().await {
            let chunk = chunk?;
            incoming.flow_control().release_capacity(chunk.len())?;
            received.extend_from_slice(&chunk);
        }
        let trailers = incoming.trailers().await?;
        if head.status != StatusCode::OK {
            bail!("answered {}: {}", head.status, String::from_utf8_lossy(&received));
        }
        let answered_by = head.headers.get(ANSWERED_BY).and_then(|name| name.to_str().ok());
        let answered_by = answered_by.unwrap_or_default().to_owned();
        Ok(Answer { answered_by, body: received.freeze(), trailers })
    }

    /// A POST that has to be echoed by the backend that `traffic` belongs to.
    pub(crate) async fn expect_echo(&self, traffic: Traffic, body: &Bytes, answered_by: &str) -> Result<()> {
        let headers = traffic.headers();
        let question = Question { method: &Method::POST, path: PATH, headers: &headers, body };
        let answer = self.ask(question).await?;
        ensure!(
            answer.answered_by == answered_by,
            "{} traffic is answered by {:?}, not by {answered_by}",
            traffic.label(),
            answer.answered_by
        );
        ensure!(answer.body == body, "the body came back changed");
        Ok(())
    }
}
