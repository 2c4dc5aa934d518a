use crate::{ConnectionOptions, Error, Framing, Head, Name, Version, ascii};

/// A request's wish to leave HTTP on this connection (RFC 9110 section 7.8): the value of its `Upgrade` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade(Vec<u8>);

impl Upgrade {
    /// To WebSocket (RFC 6455 section 4.1), for a client that asked for it in another way.
    pub fn websocket() -> Self {
        Self(b"websocket".to_vec())
    }

    /// The protocols in the order of preference, as they will be sent.
    pub fn protocols(&self) -> &[u8] {
        &self.0
    }
}

/// The upgrade that a request asks for, to be read before its hop-by-hop fields go. `None`: none that is forwarded.
///
/// Not forwarded, so that the request is served as if it had not asked: `h2c` (RFC 9113 section 3.1 deprecates it),
/// an upgrade on a request with a body (where the body ends and the tunnel starts is read differently by different
/// servers), more than one `Upgrade` field, an HTTP/1.0 request, an `Upgrade` without its connection option.
///
/// # Errors
/// A WebSocket handshake that no server accepts (RFC 6455 section 4.2.1): [`Error::Upgrade`], and
/// [`Error::UpgradeVersion`] for another version than 13.
pub fn requested_upgrade(
    head: &Head,
    options: ConnectionOptions,
    framing: Framing,
) -> Result<Option<Upgrade>, Error> {
    let mut fields = head.values(Name::Upgrade);
    let Some(value) = fields.next() else { return Ok(None) };
    let single = fields.next().is_none();
    let websocket = ascii::list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    let h2c = ascii::list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
    if websocket {
        check_websocket(head, options)?;
    }
    let names_one = ascii::list(value).next().is_some();
    let forwarded = single
        && names_one
        && !h2c
        && options.upgrade
        && framing == Framing::None
        && head.version() == Version::Http11
        && ascii::list(value).all(|protocol| protocol.iter().all(|b| *b == b'/' || ascii::is_tchar(*b)));
    Ok(forwarded.then(|| Upgrade(ascii::trim_ows(value).to_vec())))
}

fn check_websocket(head: &Head, options: ConnectionOptions) -> Result<(), Error> {
    let handshake = head.method().is("GET") && head.version() == Version::Http11 && options.upgrade;
    if !handshake || head.value(Name::SecWebsocketKey).is_none() {
        return Err(Error::Upgrade);
    }
    match head.value(Name::SecWebsocketVersion) {
        Some(b"13") => Ok(()),
        _ => Err(Error::UpgradeVersion),
    }
}

/// The protocol that a 101 response switches to, if it is one that was asked for. The response's fields must still be
/// there. `None`: the response is not a valid answer to the request.
pub fn accepted_protocol(response: &Head, options: ConnectionOptions, upgrade: &Upgrade) -> Option<Vec<u8>> {
    let mut fields = response.values(Name::Upgrade);
    let value = fields.next()?;
    let asked = |protocol: &[u8]| ascii::list(&upgrade.0).any(|asked| asked.eq_ignore_ascii_case(protocol));
    let accepted = options.upgrade && fields.next().is_none() && ascii::list(value).all(asked);
    (accepted && ascii::list(value).next().is_some()).then(|| ascii::trim_ows(value).to_vec())
}
