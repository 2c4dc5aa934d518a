//! The server's side: which certificate is shown for which name, and the handshake.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{StartHandshake, TlsStream};

use super::{
    CertificateFiles, HandshakeError, Heard, MinVersion, Reload, Speech, TlsError,
    alpn::BySpeech,
    certificate::Certificate,
    file::{Followed, authorities},
    provider,
};
use crate::Transport;

/// What a server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// At least one. For a name that several are for, the first one that the client can verify is shown.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities that sign client certificates. With it every client needs one.
    pub client_ca: Option<PathBuf>,
    /// The lowest version that is spoken.
    pub min_version: MinVersion,
}

/// A server's certificates, which follow their files.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    provider: Arc<CryptoProvider>,
    offer: ArcSwap<Offer>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    certificates: Vec<Followed<Certificate>>,
    verifier: Option<Followed<Arc<dyn ClientCertVerifier>>>,
}

/// What clients are offered at one time.
#[derive(Debug)]
pub struct Offer {
    names: Arc<Names>,
    configs: BySpeech<ByPreference>,
}

/// The same, for each of whom the cipher suite is chosen by.
#[derive(Debug)]
struct ByPreference {
    ours: Arc<ServerConfig>,
    clients: Arc<ServerConfig>,
}

/// Certificates by the names they are shown for: `a.example`, `.b.example` for one label more, empty for all.
#[derive(Debug, Default)]
struct Names(HashMap<String, Vec<Arc<CertifiedKey>>>);

/// A handshake that failed. The client has been told why, if it can be.
pub struct HandshakeFailure {
    /// What went wrong.
    pub error: HandshakeError,
    /// The connection, to be read on so that the client gets what it was told.
    pub stream: TcpStream,
}

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be used: unreadable, not PEM, not the key of its certificate, expired, without a name.
    pub fn load(files: ServerFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let load = |files: &CertificateFiles| Followed::load(&files.paths(), || files.load(&provider));
        let certificates = files.certificates.iter().map(load).collect::<Result<_, _>>()?;
        let load = |path: &PathBuf| Followed::load(&[path], || verifier(path, &provider));
        let verifier = files.client_ca.as_ref().map(load).transpose()?;
        let state = State { certificates, verifier };
        let offer = ArcSwap::from_pointee(state.offer(&files, &provider)?);
        Ok(Self { files, provider, offer, state: Mutex::new(state) })
    }

    /// What a connection that is accepted now is served with.
    pub fn offer(&self) -> Arc<Offer> {
        self.offer.load_full()
    }

    /// When the certificates end, in the order of their files.
    pub fn expiries(&self) -> Vec<SystemTime> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.certificates.iter().map(|certificate| certificate.current.not_after).collect()
    }

    /// Reads those files again that changed since the last look. Each certificate counts for itself, with its key.
    pub fn follow(&self) -> Reload {
        let Self { files, provider, .. } = self;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reload = Reload::default();
        for (files, followed) in files.certificates.iter().zip(&mut state.certificates) {
            let changed = followed.follow(&files.paths(), || files.load(provider));
            reload.note(&files.cert, changed);
        }
        if let (Some(path), Some(followed)) = (&files.client_ca, &mut state.verifier) {
            let changed = followed.follow(&[path], || verifier(path, provider));
            reload.note(path, changed);
        }
        if !reload.taken.is_empty() {
            match state.offer(files, provider) {
                Ok(offer) => self.offer.store(Arc::new(offer)),
                Err(error) => reload.rejected.push(error),
            }
        }
        reload
    }
}

// === impl Reload ===

impl Reload {
    pub(super) fn note(&mut self, path: &Path, changed: Result<bool, TlsError>) {
        match changed {
            Ok(true) => self.taken.push(path.to_owned()),
            Ok(false) => {}
            Err(error) => self.rejected.push(error),
        }
    }
}

// === impl State ===

impl State {
    fn offer(&self, files: &ServerFiles, provider: &Arc<CryptoProvider>) -> Result<Offer, TlsError> {
        let mut names = Names::default();
        for Followed { current: certificate, .. } in &self.certificates {
            for name in &certificate.names {
                let name = name.strip_prefix('*').unwrap_or(name);
                names.0.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.identity));
            }
        }
        let names = Arc::new(names);
        let first = files.certificates.first().map(|files| files.cert.clone()).unwrap_or_default();
        let unusable = |error: rustls::Error| TlsError::unusable(&first, error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(files.min_version.versions())
            .map_err(unusable)?;
        let builder = match &self.verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(&verifier.current)),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&names) as _);
        // Its keys change by themselves every six hours. New ones with each change of a file, so that no client resumes
        // a session that the new certificates or authorities would not have allowed.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(unusable)?;
        let configs = BySpeech::new(|protocols| {
            let mut config = config.clone();
            config.alpn_protocols = protocols;
            let clients = Arc::new(config.clone());
            config.ignore_client_order = true;
            ByPreference { ours: Arc::new(config), clients }
        });
        Ok(Offer { names, configs })
    }
}

fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(authorities(path)?, Arc::clone(provider))
        .build()
        .map_err(|error| TlsError::unusable(path, error.to_string()))
}

// === impl Offer ===

impl Offer {
    /// Whether there is a certificate for the name that a client asks for, or for clients that ask for none.
    pub fn covers(&self, server_name: Option<&str>) -> bool {
        self.names.find(server_name).is_some()
    }

    /// Goes through the handshake that a ClientHello has begun. Cancel-safe in that a dropped one is closed; how long it
    /// takes is the caller's affair.
    ///
    /// # Errors
    /// See [`HandshakeFailure`].
    pub async fn accept(
        &self,
        heard: Heard,
        stream: TcpStream,
        speech: Speech,
    ) -> Result<Transport, HandshakeFailure> {
        let ByPreference { ours, clients } = self.configs.get(speech);
        let config = Arc::clone(if heard.prefers_chacha20() { clients } else { ours });
        let handshake = StartHandshake::from_parts(heard.accepted, stream).into_stream(config);
        match handshake.into_fallible().await {
            Ok(stream) => Ok(Transport::secure(TlsStream::Server(stream))),
            Err((error, stream)) => Err(HandshakeFailure { error: error.into(), stream }),
        }
    }
}

// === impl Names ===

impl Names {
    fn find(&self, server_name: Option<&str>) -> Option<&[Arc<CertifiedKey>]> {
        let by_name = |name: &str| {
            let parent = || name.find('.').and_then(|dot| self.0.get(name.get(dot..)?));
            self.0.get(name).or_else(parent)
        };
        server_name.and_then(by_name).or_else(|| self.0.get("")).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let certificates = self.find(name.as_deref())?;
        let usable =
            |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(hello.signature_schemes()).is_some();
        certificates.iter().find(usable).or_else(|| certificates.first()).map(Arc::clone)
    }
}

// === impl HandshakeFailure ===

impl fmt::Debug for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeFailure").field("error", &self.error).finish_non_exhaustive()
    }
}
