//! TLS 1.2 and 1.3 with certificates from files that are read again when they change.
//!
//! A rotation usually replaces several files one after the other. Whatever cannot be used as a whole, such as a new
//! certificate beside the old key, leaves what is in use in use; the next change of a file is the next try. Connections
//! that are open keep what they were opened with. No revocation is checked, no early data is taken, no secrets are logged.

mod alert;
mod alpn;
mod certificate;
mod client;
mod der;
mod failure;
mod file;
mod hello;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::{CipherSuite, crypto::CryptoProvider};

pub use alpn::{Alpn, Speech};
pub use certificate::CertificateFiles;
pub use client::{ClientFiles, ClientTls};
pub use failure::{HandshakeError, HandshakeFault};
pub use file::Reload;
pub use hello::{HELLO_BYTES_MAX, Heard, Hello, Unreadable};
pub use server::{HandshakeFailure, Offer, ServerFiles, ServerTls};

/// The lowest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3. Of 1.2 only suites with forward secrecy and authenticated encryption.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It can be read, and not be used.
    #[error("{}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, and what would be right.
        what: String,
    },
}

/// The primitives, with AES-128 before AES-256: everybody has it (RFC 8446 section 9.1), and its SHA-256 is an
/// instruction of most processors, where SHA-384 takes a sixth of the time of a handshake.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        suite if is_chacha20(suite) => 2,
        _ => 1,
    });
    provider
}

/// Whether it is one for who has no AES in hardware.
fn is_chacha20(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

// === impl MinVersion ===

impl MinVersion {
    fn versions(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static TLS13: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => &TLS13,
        }
    }
}

// === impl TlsError ===

impl TlsError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::Unusable { path, .. } => path,
        }
    }

    fn unusable(path: &Path, what: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), what: what.into() }
    }
}
