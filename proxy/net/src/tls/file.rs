//! Files: what is in them, and whether they have changed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{RootCertStore, crypto::CryptoProvider, sign::SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::TlsError;

/// What a look at the files led to.
#[derive(Debug, Default)]
pub struct Reload {
    /// Files, each named by its certificate, that changed and are in use now.
    pub taken: Vec<PathBuf>,
    /// What changed and cannot be used; what was in use before stays.
    pub rejected: Vec<TlsError>,
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Something made from files, and the files as they were at the last try, good or bad.
#[derive(Debug)]
pub(super) struct Followed<T> {
    pub(super) current: T,
    tried: Vec<Option<Identity>>,
}

// === impl Identity ===

impl Identity {
    /// `None` while there is no such file. Symbolic links are followed, so a mounted Secret that is swapped is seen.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

// === impl Followed ===

impl<T> Followed<T> {
    /// Makes it for the first time.
    pub(super) fn load(
        paths: &[&Path],
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes in between is a change.
        let tried = identities(paths);
        Ok(Self { current: make()?, tried })
    }

    /// Makes it again if one of its files changed since the last look. Says whether it is another one now.
    pub(super) fn follow(
        &mut self,
        paths: &[&Path],
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<bool, TlsError> {
        let found = identities(paths);
        if self.tried == found {
            return Ok(false);
        }
        self.tried = found;
        self.current = make()?;
        Ok(true)
    }
}

fn identities(paths: &[&Path]) -> Vec<Option<Identity>> {
    paths.iter().map(|path| Identity::of(path)).collect()
}

/// The certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&contents(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::unusable(path, format!("not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsError::unusable(path, "no certificate in it; allowed: PEM, BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}

/// The private key in a file.
pub(super) fn signing_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
    // The errors of the parsers could quote what they read, and this is a secret.
    let unusable =
        || TlsError::unusable(path, "no private key in it; allowed: PEM with an RSA, ECDSA or Ed25519 key");
    let key = PrivateKeyDer::from_pem_slice(&contents(path)?).map_err(|_| unusable())?;
    provider.key_provider.load_private_key(key).map_err(|_| unusable())
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::unusable(path, error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
}
