//! One connection to one server: TCP or a Unix socket, TLS or not, and what is known of it before a stream is opened.

use std::{
    error::Error,
    fs, io,
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tower::ServiceExt as _;

use super::{CONNECT_TIMEOUT, Link};
use crate::{Server, Tls};

/// The longest head of the server's answers.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What the server may send before it is read: enough for a response, and a bound on what it can make us hold.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Content types of TLS records (RFC 8446, section 5.1): change of cipher, alert, handshake, application data. No frame
/// that begins a connection of HTTP/2 is long enough to begin with one of them, and no text does.
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 20..=23;

/// What both sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Clear,
    Tls,
}

/// A connection that says so when the server speaks otherwise: the errors of TLS and HTTP/2 about it help nobody.
#[derive(Debug)]
struct Checked<S> {
    stream: S,
    /// Until the first byte came.
    expected: Option<Speech>,
}

/// Connects to a server of the link.
pub(super) async fn connect(link: &Link, server: &Server) -> Result<Channel, String> {
    let endpoint = match server {
        Server::Http(authority) => Endpoint::from_shared(format!("http://{authority}")),
        Server::Https(authority) => Endpoint::from_shared(format!("https://{authority}")),
        Server::Unix(_) => Ok(Endpoint::from_static("http://localhost")),
    };
    let mut endpoint = endpoint
        .and_then(|endpoint| endpoint.user_agent(link.user_agent.clone()))
        .map_err(|error| describe(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(link.timing.ping_interval)
        .keep_alive_timeout(link.timing.ping_timeout)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let mut expected = Speech::Clear;
    if matches!(server, Server::Https(_)) {
        expected = Speech::Tls;
        endpoint = endpoint.tls_config(tls_config(&link.tls)?).map_err(|error| describe(&error))?;
    }
    let connected = match server {
        Server::Unix(path) => {
            let path = path.clone();
            let connect = move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            };
            endpoint.connect_with_connector(tower::service_fn(connect)).await
        }
        Server::Http(_) | Server::Https(_) => {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
            let checked = move |stream: TokioIo<TcpStream>| {
                TokioIo::new(Checked { stream: stream.into_inner(), expected: Some(expected) })
            };
            endpoint.connect_with_connector(tcp.map_response(checked)).await
        }
    };
    connected.map_err(|error| describe(&error))
}

/// Read anew for each connection, so that rotated files need no signal.
fn tls_config(tls: &Tls) -> Result<ClientTlsConfig, String> {
    let read =
        |path: &Path| fs::read(path).map_err(|error: io::Error| format!("{}: {error}", path.display()));
    let mut config = ClientTlsConfig::new();
    if let Some(path) = &tls.ca_file {
        config = config.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let Some(identity) = &tls.identity {
        let identity = TlsIdentity::from_pem(read(&identity.cert_file)?, read(&identity.key_file)?);
        config = config.identity(identity);
    }
    Ok(config)
}

/// An error with what it is due to, for the outermost says little.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    add_causes(&mut text, error);
    text
}

/// Adds what an error is due to, unless the text ends with it already.
pub(super) fn add_causes(text: &mut String, error: &dyn Error) {
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
}

// === impl Speech ===

impl Speech {
    /// What is wrong when a server that is expected to speak so begins with this byte.
    fn check(self, first: u8) -> io::Result<()> {
        let what = match (self, TLS_RECORDS.contains(&first)) {
            (Self::Clear, true) => "the server speaks TLS: its address must begin with https://",
            (Self::Tls, false) => "the server does not speak TLS: its address must begin with http://",
            (Self::Clear, false) | (Self::Tls, true) => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

// === impl Checked ===

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        if let Some(expected) = self.expected
            && let Some(first) = buf.filled().get(before)
        {
            expected.check(*first)?;
            self.expected = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Checked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
