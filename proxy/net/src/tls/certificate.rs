//! A certificate with its key, and the names that it is shown for.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};

use super::{
    TlsError,
    der::Summary,
    file::{certificates, signing_key},
};

/// Where a certificate and its key are, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The names it is shown for: exact ones, `*.` with what follows one label, or `*` for every name and for clients
    /// that name none. Empty: those in the certificate.
    pub names: Vec<String>,
    /// The certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate that can be shown.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) names: Vec<String>,
    pub(super) identity: Arc<CertifiedKey>,
    pub(super) not_after: SystemTime,
}

// === impl CertificateFiles ===

impl CertificateFiles {
    pub(super) fn paths(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }

    /// Reads both files.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Certificate, TlsError> {
        let (identity, not_after) = identity(&self.cert, &self.key, provider)?;
        let names = if self.names.is_empty() { self.names_of(&identity)? } else { self.names.clone() };
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Certificate { names, identity: Arc::new(identity), not_after })
    }

    fn names_of(&self, identity: &CertifiedKey) -> Result<Vec<String>, TlsError> {
        let names = match identity.end_entity_cert().map(webpki::EndEntityCert::try_from) {
            Ok(Ok(certificate)) => certificate.valid_dns_names().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() {
            let what = "no DNS name in it (subjectAltName); name it for some, or use one that has any";
            return Err(TlsError::unusable(&self.cert, what));
        }
        Ok(names)
    }
}

/// Reads a certificate and its key, and checks what can be checked without a peer.
pub(super) fn identity(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, SystemTime), TlsError> {
    let identity = CertifiedKey::new(certificates(cert)?, signing_key(key, provider)?);
    if let Err(rustls::Error::InconsistentKeys(_)) = identity.keys_match() {
        let what = format!("not the key of {}; allowed: a certificate and its key", cert.display());
        return Err(TlsError::unusable(key, what));
    }
    let summary = identity.end_entity_cert().ok().and_then(|certificate| Summary::of(certificate));
    let Some(summary) = summary else { return Err(TlsError::unusable(cert, "no X.509 certificate")) };
    let now = SystemTime::now();
    if let Ok(since) = now.duration_since(summary.not_after) {
        let what = format!("expired {} ago; allowed: one that is valid", age(since.as_secs()));
        return Err(TlsError::unusable(cert, what));
    }
    if let Ok(wait) = summary.not_before.duration_since(now) {
        let what = format!("not valid before {} from now", age(wait.as_secs()));
        return Err(TlsError::unusable(cert, what));
    }
    Ok((identity, summary.not_after))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
