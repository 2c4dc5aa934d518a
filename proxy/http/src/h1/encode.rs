use crate::{Framing, Head, Name, Start, Version, h1::Upgrade};

/// What a response says about the connection it is sent on (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The connection closes after this message.
    Close,
    /// It stays open, which an HTTP/1.0 client has to be told.
    KeepAlive,
}

/// Writes a request head whose hop-by-hop fields are gone. `framing` decides whether a transfer coding is announced;
/// a content length is among the fields as received. An upgrade is asked for where there is one.
pub fn encode_request(head: &Head, framing: Framing, upgrade: Option<&Upgrade>, out: &mut Vec<u8>) {
    out.reserve(head.block.len() + 64);
    let line = head.line.of(&head.block);
    if head.version == Version::Http11 && !line.is_empty() {
        out.extend_from_slice(line);
    } else {
        out.extend_from_slice(head.method().0);
        out.push(b' ');
        out.extend_from_slice(head.target());
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }
    head.write_fields(out);
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if head.version == Version::Http2 && head.value(Name::Te).is_some() {
        // HTTP/2 has it without the nomination that HTTP/1 asks for (RFC 9110 section 10.1.4).
        out.extend_from_slice(b"connection: te\r\n");
    }
    if let Some(upgrade) = upgrade {
        encode_upgrade(upgrade.protocols(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// How a response is written, beside what its head says.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEncoding<'a> {
    /// [`Framing::Close`] and [`Framing::Chunked`] become the chunked coding unless the client speaks HTTP/1.0, for
    /// which such a body ends with the connection.
    pub framing: Framing,
    /// What the client speaks.
    pub client: Version,
    pub persistence: Persistence,
    /// The accepted protocol of a 101 response.
    pub upgrade: Option<&'a [u8]>,
}

/// Writes a response head whose hop-by-hop fields are gone.
pub fn encode_response(head: &Head, encoding: ResponseEncoding<'_>, out: &mut Vec<u8>) {
    let ResponseEncoding { framing, client, persistence, upgrade } = encoding;
    out.reserve(head.block.len() + 64);
    let line = head.line.of(&head.block);
    if head.version == Version::Http11 && !line.is_empty() {
        out.extend_from_slice(line);
    } else if let Start::Response(status) = head.start {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.target());
        out.extend_from_slice(b"\r\n");
    }
    head.write_fields(out);
    if matches!(framing, Framing::Chunked | Framing::Close) && client == Version::Http11 {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match (upgrade, persistence, client) {
        (Some(protocol), ..) => encode_upgrade(protocol, out),
        (None, Persistence::Close, _) => out.extend_from_slice(b"connection: close\r\n"),
        (None, Persistence::KeepAlive, Version::Http10) => {
            out.extend_from_slice(b"connection: keep-alive\r\n")
        }
        (None, Persistence::KeepAlive, Version::Http11 | Version::Http2) => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn encode_upgrade(protocols: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    out.extend_from_slice(protocols);
    out.extend_from_slice(b"\r\n");
}

/// Writes one chunk. An empty one would end the body, so it is left out.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(DIGITS.get((data.len() >> (4 * place)) & 0xf).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body, with its trailer fields where there are any.
pub fn encode_last_chunk(trailers: Option<&Head>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_fields(out);
    }
    out.extend_from_slice(b"\r\n");
}
