//! Why a handshake failed.

use std::{fmt, io};

/// Whose fault a failed handshake is, for a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeFault {
    /// The peer's certificate is missing, or does not verify.
    Certificate,
    /// The connection ended.
    Closed,
    /// There is no version, suite, curve or protocol that both speak.
    Incompatible,
    /// What the peer sent is no handshake, or breaks its rules.
    Protocol,
    /// The peer refused with an alert; often it is our certificate that it does not accept.
    Refused,
}

/// A handshake that failed: whose fault it is, and what is wrong in words.
pub struct HandshakeError {
    /// Whose fault it is.
    pub fault: HandshakeFault,
    error: io::Error,
}

// === impl HandshakeError ===

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use rustls::Error as Tls;
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
        let fault = match cause {
            Some(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) => HandshakeFault::Certificate,
            Some(Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol) => HandshakeFault::Incompatible,
            Some(Tls::AlertReceived(_)) => HandshakeFault::Refused,
            Some(_) => HandshakeFault::Protocol,
            None => HandshakeFault::Closed,
        };
        Self { fault, error }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeError").field("fault", &self.fault).field("error", &self.error).finish()
    }
}

impl std::error::Error for HandshakeError {}
