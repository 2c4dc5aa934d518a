//! TLS from files that are read again when they change.
//!
//! A rotation usually replaces several files one after the other. Whatever cannot be used as a whole, such as a new
//! certificate beside the old key, leaves what is in use in use; the next change of a file is the next try. Connections
//! that are open keep what they were opened with.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::{
    ListenError,
    counters::{Counters, count},
};

/// The protocols offered, best first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files of one listener, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the service, followed by its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that sign client certificates. With it every client needs one.
    pub client_ca: Option<PathBuf>,
}

/// A TLS configuration that follows its files.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// The files as they were at the last try, good or bad.
    tried: Vec<Option<Identity>>,
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

// === impl Tls ===

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or they do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self, ListenError> {
        let tried = files.identities();
        let config = files.config()?;
        Ok(Self { files, state: Mutex::new(State { config, tried }) })
    }

    /// The files it follows.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// What a connection that is accepted now is served with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Reads the files again if one of them changed since the last look.
    pub(crate) fn follow(&self, counters: &Counters) {
        let found = self.files.identities();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tried == found {
            return;
        }
        state.tried = found;
        match self.files.config() {
            Ok(config) => {
                state.config = config;
                count(&counters.reloads);
                tracing::info!(cert = %self.files.cert.display(), "Certificates reloaded");
            }
            Err(error) => {
                count(&counters.reloads_failed);
                tracing::warn!(%error, "Changed certificates are unusable, those in use stay");
            }
        }
    }
}

// === impl TlsFiles ===

impl TlsFiles {
    fn identities(&self) -> Vec<Option<Identity>> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| Identity::of(path))
            .collect()
    }

    fn config(&self) -> Result<Arc<ServerConfig>, ListenError> {
        let Self { cert, key, client_ca } = self;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(cert, &error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider.clone())?),
        };
        let identity = CertifiedKey::new(certificates(cert)?, signing_key(key, &provider)?);
        if let Err(rustls::Error::InconsistentKeys(_)) = identity.keys_match() {
            let what = format!("not the key of {}; allowed: a certificate and its key", cert.display());
            return Err(unusable(key, &what));
        }
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, ListenError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&contents(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(path, &"no certificate in it; allowed: PEM, BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}

fn signing_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, ListenError> {
    // The errors of the parsers could quote what they read, and this is a secret.
    let unusable = || unusable(path, &"no private key in it; allowed: PEM with an RSA, ECDSA or Ed25519 key");
    let key = PrivateKeyDer::from_pem_slice(&contents(path)?).map_err(|_| unusable())?;
    provider.key_provider.load_private_key(key).map_err(|_| unusable())
}

fn contents(path: &Path) -> Result<Vec<u8>, ListenError> {
    fs::read(path).map_err(|error| ListenError::Unreadable { path: path.to_owned(), error })
}

fn unusable(path: &Path, what: &impl ToString) -> ListenError {
    ListenError::Tls { path: path.to_owned(), what: what.to_string() }
}

// === impl Identity ===

impl Identity {
    /// `None` while there is no such file. Symbolic links are followed, so a mounted Secret that is swapped is seen.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
