/// Field names that a proxy itself acts on; every other name is [`Name::Other`].
///
/// A name is classified once, when a head is read, so that later steps compare a byte and not a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Connection,
    ContentLength,
    ContentType,
    Expect,
    GrpcTimeout,
    Host,
    Http2Settings,
    KeepAlive,
    Other,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    SecWebsocketKey,
    SecWebsocketVersion,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
}

impl Name {
    /// The one known name, in lower case, that has this length and first letter. Most names have none, and are done with
    /// that.
    fn candidate(name: &[u8]) -> Option<(&'static [u8], Self)> {
        Some(match (name.len(), name.first()? | 0x20) {
            (2, b't') => (b"te", Self::Te),
            (3, b'v') => (b"via", Self::Via),
            (4, b'h') => (b"host", Self::Host),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b't') => (b"trailer", Self::Trailer),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (12, b'c') => (b"content-type", Self::ContentType),
            (12, b'g') => (b"grpc-timeout", Self::GrpcTimeout),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::Http2Settings),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b's') => (b"sec-websocket-key", Self::SecWebsocketKey),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (18, b'p') => (b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            (21, b's') => (b"sec-websocket-version", Self::SecWebsocketVersion),
            _ => return None,
        })
    }

    /// Classifies a field name, without regard to case.
    pub fn classify(name: &[u8]) -> Self {
        let candidate = Self::candidate(name).filter(|(known, _)| known.eq_ignore_ascii_case(name));
        candidate.map_or(Self::Other, |(_, name)| name)
    }

    /// Whether the name reads as one of the known ones once `_` is taken for `-`, as CGI-like servers do.
    /// Such an alias (`Transfer_Encoding`) is how a field is smuggled past a proxy, so it is refused. What only says
    /// which protocol is inside decides nothing about where a message ends or goes, so its alias is none.
    pub fn is_alias(name: &[u8]) -> bool {
        let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        match Self::candidate(name) {
            None | Some((_, Self::ContentType | Self::GrpcTimeout)) => false,
            Some((known, _)) => name.contains(&b'_') && name.iter().map(dashed).eq(known.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that is not `Other`.
    const KNOWN: [(&str, Name); 18] = [
        ("connection", Name::Connection),
        ("content-length", Name::ContentLength),
        ("content-type", Name::ContentType),
        ("expect", Name::Expect),
        ("grpc-timeout", Name::GrpcTimeout),
        ("host", Name::Host),
        ("http2-settings", Name::Http2Settings),
        ("keep-alive", Name::KeepAlive),
        ("proxy-authenticate", Name::ProxyAuthenticate),
        ("proxy-authorization", Name::ProxyAuthorization),
        ("proxy-connection", Name::ProxyConnection),
        ("sec-websocket-key", Name::SecWebsocketKey),
        ("sec-websocket-version", Name::SecWebsocketVersion),
        ("te", Name::Te),
        ("trailer", Name::Trailer),
        ("transfer-encoding", Name::TransferEncoding),
        ("upgrade", Name::Upgrade),
        ("via", Name::Via),
    ];

    #[test]
    fn every_known_name_is_classified_in_any_case() {
        for (known, name) in KNOWN {
            assert_eq!(Name::classify(known.as_bytes()), name);
            assert_eq!(Name::classify(known.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::classify(known.get(1..).unwrap().as_bytes()), Name::Other);
        }
    }

    #[test]
    fn an_underscore_alias_of_a_known_name_is_found() {
        for alias in ["Transfer_Encoding", "content_length", "HTTP2_settings", "keep_alive"] {
            assert!(Name::is_alias(alias.as_bytes()), "{alias}");
        }
        for name in ["x_custom", "transfer-encoding", "host", "_", "content_type"] {
            assert!(!Name::is_alias(name.as_bytes()), "{name}");
        }
    }
}
