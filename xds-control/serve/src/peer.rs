//! Who sent a request, as far as the connection tells.

use std::{net::SocketAddr, sync::Arc};

use rustls_pki_types::CertificateDer;

/// The peer of the connection that a request came on; a request extension.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where it connected from; `None` over a Unix socket.
    pub addr: Option<SocketAddr>,
    /// Who it proved to be; `None` without a client certificate.
    pub identity: Option<Arc<Identity>>,
}

/// The names in a client certificate that the client CA vouches for. The common name is not among them: what may name
/// a peer stands in the subject alternative names (RFC 9525, section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// URI names, such as `spiffe://cluster.local/ns/shop/sa/cart`.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
}

// === impl Identity ===

impl Identity {
    /// The names in a certificate that has been verified. One that cannot be read, which verification would not have
    /// let pass, has no names.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Self::default() };
        Self {
            uris: certificate.valid_uri_names().map(str::to_owned).collect(),
            dns_names: certificate.valid_dns_names().map(str::to_owned).collect(),
        }
    }
}
