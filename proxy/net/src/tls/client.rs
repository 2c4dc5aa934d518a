//! The client's side: whose certificates are accepted, what is shown, and the handshake.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{
    HandshakeError, MinVersion, Reload, Speech, TlsError,
    alpn::BySpeech,
    certificate::identity,
    der::Summary,
    file::{Followed, authorities},
    provider,
};
use crate::Transport;

/// What a client needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that sign the certificates of servers. No others are trusted, the system's neither.
    pub ca: PathBuf,
    /// What is shown to servers that ask for a certificate: it and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that certificates must be for, and that is asked for. `None`: the address that is connected to.
    pub server_name: Option<String>,
    /// The lowest version that is spoken.
    pub min_version: MinVersion,
}

/// How TLS is spoken with servers. It follows its files.
#[derive(Debug)]
pub struct ClientTls {
    files: ClientFiles,
    provider: Arc<CryptoProvider>,
    configs: ArcSwap<BySpeech<Arc<ClientConfig>>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    roots: Followed<Arc<RootCertStore>>,
    identity: Option<Followed<Arc<CertifiedKey>>>,
}

/// Says who issued a certificate that nobody vouches for; in all else the library decides.
#[derive(Debug)]
struct Explaining {
    verifier: Arc<WebPkiServerVerifier>,
    ca: PathBuf,
}

/// A certificate of an authority that is not trusted.
#[derive(Debug)]
struct UntrustedIssuer {
    issuer: Option<String>,
    ca: PathBuf,
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be used: unreadable, not PEM, not the key of its certificate, expired.
    pub fn load(files: ClientFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let roots = Followed::load(&[&files.ca], || authorities(&files.ca))?;
        let load =
            |(cert, key): &(PathBuf, PathBuf)| Followed::load(&[cert, key], || shown(cert, key, &provider));
        let state = State { roots, identity: files.identity.as_ref().map(load).transpose()? };
        let configs = ArcSwap::from_pointee(state.configs(&files, &provider)?);
        Ok(Self { files, provider, configs, state: Mutex::new(state) })
    }

    /// Reads those files again that changed since the last look.
    pub fn follow(&self) -> Reload {
        let Self { files, provider, .. } = self;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reload = Reload::default();
        reload.note(&files.ca, state.roots.follow(&[&files.ca], || authorities(&files.ca)));
        if let (Some((cert, key)), Some(followed)) = (&files.identity, &mut state.identity) {
            reload.note(cert, followed.follow(&[cert, key], || shown(cert, key, provider)));
        }
        if !reload.taken.is_empty() {
            match state.configs(files, provider) {
                Ok(configs) => self.configs.store(Arc::new(configs)),
                Err(error) => reload.rejected.push(error),
            }
        }
        reload
    }

    /// Goes through the handshake with the server at `addr`. How long it takes is the caller's affair.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(
        &self,
        addr: SocketAddr,
        stream: TcpStream,
        speech: Speech,
    ) -> Result<Transport, HandshakeError> {
        let config = Arc::clone(self.configs.load().get(speech));
        let named = self.files.server_name.as_deref().map(ServerName::try_from);
        let name = match named {
            Some(Ok(name)) => name.to_owned(),
            // A name that is none was refused when the files were loaded.
            Some(Err(_)) | None => ServerName::IpAddress(addr.ip().into()),
        };
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Transport::secure(TlsStream::Client(stream)))
    }
}

// === impl State ===

impl State {
    fn configs(
        &self,
        files: &ClientFiles,
        provider: &Arc<CryptoProvider>,
    ) -> Result<BySpeech<Arc<ClientConfig>>, TlsError> {
        let unusable = |error: &dyn fmt::Display| TlsError::unusable(&files.ca, error.to_string());
        if let Some(name) = &files.server_name {
            ServerName::try_from(name.as_str()).map_err(|error| unusable(&error))?;
        }
        let roots = Arc::clone(&self.roots.current);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(files.min_version.versions())
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Explaining { verifier, ca: files.ca.clone() }));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let identity = SingleCertAndKey::from(Arc::clone(&identity.current));
                builder.with_client_cert_resolver(Arc::new(identity))
            }
        };
        Ok(BySpeech::new(|protocols| {
            let mut config = config.clone();
            config.alpn_protocols = protocols;
            Arc::new(config)
        }))
    }
}

fn shown(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    identity(cert, key, provider).map(|(identity, _)| Arc::new(identity))
}

// === impl Explaining ===

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Self { verifier, ca } = self;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(
            |error| match error {
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                    let last = intermediates.last().unwrap_or(end_entity);
                    let issuer = Summary::of(last).and_then(|summary| summary.issuer);
                    let untrusted = Arc::new(UntrustedIssuer { issuer, ca: ca.clone() });
                    CertificateError::Other(OtherError(untrusted)).into()
                }
                other => other,
            },
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

// === impl UntrustedIssuer ===

impl fmt::Display for UntrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuer = self.issuer.as_deref().unwrap_or("somebody without a name");
        write!(f, "issued by {issuer:?}, which is not in {}", self.ca.display())
    }
}

impl std::error::Error for UntrustedIssuer {}
