//! WebSockets (RFC 6455), both ends, with the library most Rust services use.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::http::{HeaderValue, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::echoes::Duplex;
use crate::http2::echo::ANSWERED_BY;
use crate::work::{PATH, Traffic};

/// The library clears its read buffer for every read: its default of 128 KiB would make the load slower than any peer.
const READ_BUFFER_BYTES: usize = 16 * 1024;

fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES)
}

/// Accepts WebSockets and sends their messages back; `name` is in the answer to the upgrade.
pub(super) async fn serve(listener: TcpListener, name: &'static str) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One that breaks is its client's to notice.
        tokio::spawn(echo(stream, name));
    }
}

async fn echo(stream: TcpStream, name: &'static str) -> Result<()> {
    stream.set_nodelay(true)?;
    #[allow(clippy::result_large_err, reason = "the library gives the callback its type")]
    let named = |_: &Upgrade, mut response: Response| {
        response.headers_mut().insert(ANSWERED_BY, HeaderValue::from_static(name));
        Ok(response)
    };
    let mut socket = accept_hdr_async_with_config(stream, named, Some(config())).await?;
    while let Some(message) = socket.next().await {
        match message? {
            message @ Message::Binary(_) => socket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

/// A client's WebSocket.
pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Upgrades a connection of its own, which has to reach `answered_by`.
    pub(super) async fn open(target: SocketAddr, traffic: Traffic, answered_by: &str) -> Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let (socket, response) =
            client_async_with_config(request(target, traffic)?, stream, Some(config())).await?;
        let by = response.headers().get(ANSWERED_BY).and_then(|name| name.to_str().ok()).unwrap_or_default();
        ensure!(by == answered_by, "{} traffic is answered by {by:?}, not by {answered_by}", traffic.label());
        Ok(Self(socket))
    }
}

fn request(target: SocketAddr, traffic: Traffic) -> Result<Request<()>> {
    let mut request = format!("ws://{target}{PATH}").into_client_request()?;
    for (name, value) in traffic.headers() {
        request.headers_mut().insert(name, value.parse()?);
    }
    Ok(request)
}

impl Duplex for Socket {
    async fn send(&mut self, message: Bytes) -> Result<()> {
        Ok(self.0.send(Message::Binary(message)).await?)
    }

    async fn receive(&mut self, _bytes: usize) -> Result<Bytes> {
        match self.0.next().await.context("the WebSocket was ended")?? {
            Message::Binary(message) => Ok(message),
            other => bail!("{other} came instead of a binary message"),
        }
    }
}
