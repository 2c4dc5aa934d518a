//! New connections as fast as they come, one request on each: with rustls, several at once on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption as Sessions;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::certificate::NAME;
use crate::host;
use crate::probe::{ask, request};
use crate::work::{PATH, Traffic};

/// From opening a connection to its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a connection takes up the session of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Resumption {
    Never,
    /// As soon as there is one.
    Always,
}

/// A load to send.
#[derive(Clone, Copy)]
pub(super) struct Handshakes {
    pub(super) target: SocketAddr,
    /// Connections being opened and used at once.
    pub(super) concurrency: u32,
    pub(super) resumption: Resumption,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opened {
    pub(super) answered: u64,
    /// Those that took up an earlier session; the first ones cannot.
    pub(super) resumed: u64,
}

/// What opens them.
pub(super) struct Client {
    runtime: Runtime,
    name: ServerName<'static>,
    config: ClientConfig,
}

/// What one task needs.
struct Caller {
    connector: TlsConnector,
    name: ServerName<'static>,
    target: SocketAddr,
    request: String,
}

// === impl Client ===

impl Client {
    /// One that trusts `root` and nothing else. It speaks TLS 1.3 alone, so that no peer is measured with less work.
    pub(super) fn new(root: CertificateDer<'static>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { runtime: host::runtime()?, name: ServerName::try_from(NAME)?, config })
    }

    /// Sends the load for `time` and returns how many connections had their answer.
    pub(super) fn run(&self, load: Handshakes, time: Duration) -> Result<Opened> {
        // Each with sessions of its own: a store keeps eight, and several that connect at once would find it empty.
        let callers: Vec<_> = (0..load.concurrency)
            .map(|_| self.caller(load.target, load.resumption, Traffic::Unkeyed))
            .collect();
        let end = Instant::now() + time;
        let opened = self.runtime.block_on(async {
            let tasks: Vec<_> = callers.into_iter().map(|caller| tokio::spawn(caller.calls(end))).collect();
            let mut sum = Opened::default();
            for task in tasks {
                let opened = task.await??;
                sum.answered += opened.answered;
                sum.resumed += opened.resumed;
            }
            anyhow::Ok(sum)
        })?;
        ensure!(opened.answered > 0, "no connection was answered");
        Ok(opened)
    }

    /// The body that answers one request, over TLS.
    pub(super) fn ask(&self, target: SocketAddr, traffic: Traffic) -> Result<Vec<u8>> {
        let caller = self.caller(target, Resumption::Never, traffic);
        self.runtime.block_on(async { Ok(caller.call().await?.1) })
    }

    fn caller(&self, target: SocketAddr, resumption: Resumption, traffic: Traffic) -> Caller {
        let mut config = self.config.clone();
        config.resumption = match resumption {
            Resumption::Never => Sessions::disabled(),
            Resumption::Always => Sessions::in_memory_sessions(8),
        };
        let connector = TlsConnector::from(Arc::new(config));
        let request = request(PATH, NAME, &traffic.headers());
        Caller { connector, name: self.name.clone(), target, request }
    }
}

// === impl Caller ===

impl Caller {
    /// One connection after the other until `end`.
    async fn calls(self, end: Instant) -> Result<Opened> {
        let mut opened = Opened::default();
        while Instant::now() < end {
            let (kind, _) = self.call().await?;
            opened.answered += 1;
            opened.resumed += u64::from(kind == Some(HandshakeKind::Resumed));
        }
        Ok(opened)
    }

    async fn call(&self) -> Result<(Option<HandshakeKind>, Vec<u8>)> {
        tokio::time::timeout(TIMEOUT, self.connect_and_ask()).await.context("no answer in time")?
    }

    async fn connect_and_ask(&self) -> Result<(Option<HandshakeKind>, Vec<u8>)> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let connecting = self.connector.connect(self.name.clone(), stream);
        let mut stream = connecting.await.context("the handshake")?;
        let body = ask(&mut stream, &self.request).await?;
        Ok((stream.get_ref().1.handshake_kind(), body))
    }
}
