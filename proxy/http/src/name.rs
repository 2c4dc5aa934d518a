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
    /// Every name that is not `Other`, in lower case.
    const KNOWN: [(&'static str, Self); 18] = [
        ("connection", Self::Connection),
        ("content-length", Self::ContentLength),
        ("content-type", Self::ContentType),
        ("expect", Self::Expect),
        ("grpc-timeout", Self::GrpcTimeout),
        ("host", Self::Host),
        ("http2-settings", Self::Http2Settings),
        ("keep-alive", Self::KeepAlive),
        ("proxy-authenticate", Self::ProxyAuthenticate),
        ("proxy-authorization", Self::ProxyAuthorization),
        ("proxy-connection", Self::ProxyConnection),
        ("sec-websocket-key", Self::SecWebsocketKey),
        ("sec-websocket-version", Self::SecWebsocketVersion),
        ("te", Self::Te),
        ("trailer", Self::Trailer),
        ("transfer-encoding", Self::TransferEncoding),
        ("upgrade", Self::Upgrade),
        ("via", Self::Via),
    ];

    /// Classifies a field name, without regard to case.
    pub fn classify(name: &[u8]) -> Self {
        // The length alone settles most names, so that the common case compares no bytes at all.
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            3 => &[(b"via", Self::Via)],
            4 => &[(b"host", Self::Host)],
            6 => &[(b"expect", Self::Expect)],
            7 => &[(b"upgrade", Self::Upgrade), (b"trailer", Self::Trailer)],
            10 => &[(b"connection", Self::Connection), (b"keep-alive", Self::KeepAlive)],
            12 => &[(b"content-type", Self::ContentType), (b"grpc-timeout", Self::GrpcTimeout)],
            14 => &[(b"content-length", Self::ContentLength), (b"http2-settings", Self::Http2Settings)],
            16 => &[(b"proxy-connection", Self::ProxyConnection)],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"sec-websocket-key", Self::SecWebsocketKey),
            ],
            18 => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            21 => &[(b"sec-websocket-version", Self::SecWebsocketVersion)],
            _ => &[],
        };
        candidates
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(_, name)| *name)
    }

    /// Whether the name reads as one of the known ones once `_` is taken for `-`, as CGI-like servers do.
    /// Such an alias (`Transfer_Encoding`) is how a field is smuggled past a proxy, so it is refused. What only says
    /// which protocol is inside decides nothing about where a message ends or goes, so its alias is none.
    pub fn is_alias(name: &[u8]) -> bool {
        let harmless = |name: Self| matches!(name, Self::ContentType | Self::GrpcTimeout);
        memchr::memchr(b'_', name).is_some()
            && Self::KNOWN.iter().any(|(known, of)| {
                known.len() == name.len()
                    && !harmless(*of)
                    && known.bytes().zip(name).all(|(k, n)| {
                        let n = if *n == b'_' { b'-' } else { n.to_ascii_lowercase() };
                        k == n
                    })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_classified_in_any_case() {
        for (known, name) in Name::KNOWN {
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
