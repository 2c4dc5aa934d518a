//! What is spoken inside of TLS, on which the handshake agrees (RFC 7301).

/// `http/1.1` (RFC 7301 section 6).
const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 over TLS (RFC 9113 section 3.1).
const HTTP2: &[u8] = b"h2";

/// What may be spoken inside of TLS.
///
/// A client that offers nothing of it is refused with `no_application_protocol`; one that offers nothing at all is not,
/// and neither is a server that chooses nothing: no protocol is agreed on then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/2 or HTTP/1.1, preferably HTTP/2.
    Http,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// Something that has no name; none is offered, and none is agreed on.
    Opaque,
}

/// What a handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

/// One thing for each [`Speech`].
#[derive(Debug)]
pub(super) struct BySpeech<T> {
    http: T,
    http1: T,
    http2: T,
    opaque: T,
}

// === impl Alpn ===

impl Alpn {
    /// The protocol of this name; `None` for names that [`Speech`] never offers.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            HTTP1 => Some(Self::Http1),
            HTTP2 => Some(Self::Http2),
            _ => None,
        }
    }
}

// === impl BySpeech ===

impl<T> BySpeech<T> {
    /// Makes each from the names of its protocols, the preferred one first.
    pub(super) fn new(make: impl Fn(Vec<Vec<u8>>) -> T) -> Self {
        let make = |names: &[&[u8]]| make(names.iter().map(|name| name.to_vec()).collect());
        Self { http: make(&[HTTP2, HTTP1]), http1: make(&[HTTP1]), http2: make(&[HTTP2]), opaque: make(&[]) }
    }

    pub(super) fn get(&self, speech: Speech) -> &T {
        match speech {
            Speech::Http => &self.http,
            Speech::Http1 => &self.http1,
            Speech::Http2 => &self.http2,
            Speech::Opaque => &self.opaque,
        }
    }
}
