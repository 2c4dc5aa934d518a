//! The certificate that every peer shows: ECDSA on P-256, signed by itself, in the scratch directory.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;

/// The name it is for.
pub(crate) const NAME: &str = "bench.test";
pub(crate) const CHAIN: &str = "chain.pem";
pub(crate) const KEY: &str = "key.pem";
/// Both in one file.
pub(crate) const PEM: &str = "both.pem";

/// Writes the three files into `dir` and returns what a client has to trust.
pub(super) fn write(dir: &Path) -> Result<CertificateDer<'static>> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    fs::write(dir.join(CHAIN), &chain)?;
    fs::write(dir.join(KEY), &key)?;
    fs::write(dir.join(PEM), chain + &key)?;
    Ok(certificate.der().clone())
}
