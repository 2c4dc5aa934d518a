//! Which protocol a connection speaks, from the first bytes its client sends.
//!
//! Pure: reading, waiting and the detection timeout belong to the caller. Nothing is validated beyond what tells
//! protocols apart; the codecs do that. What is not certain to be HTTP or TLS is opaque and passes untouched.

/// No more bytes than this are ever needed to decide.
pub const DETECT_BYTES_MAX: usize = 64;

/// The client connection preface (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest method looked for. The longest registered one is `UPDATEREDIRECTREF`, 17 bytes.
const METHOD_BYTES_MAX: usize = 24;
/// The longest fragment a TLS record may carry in the clear (RFC 8446 section 5.1).
const TLS_FRAGMENT_BYTES_MAX: usize = 1 << 14;

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detection {
    /// Undecided. Only ever the answer to fewer than [`DETECT_BYTES_MAX`] bytes.
    NeedMore,
    /// The start of an HTTP/1 request line.
    Http1,
    /// The whole HTTP/2 client preface.
    Http2,
    /// A TLS record that carries the start of a ClientHello.
    Tls,
    /// None of these.
    Opaque,
}

/// How one protocol's pattern relates to the bytes seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Never,
    Partial,
    Full,
}

/// Decides from `bytes`, the connection's first ones, as early as it is certain.
///
/// Total, and consistent: once it has decided on some bytes, more of them do not change the answer.
///
/// HTTP/1 is a method, a space and the start of a target: `/…`, `* `, `http://…`, `https://…`, or after `CONNECT`
/// a host (RFC 9112 section 3); one empty line may stand before it (section 2.2). Methods with lower-case letters
/// are left to the opaque path: no registered one has any, and text protocols such as memcached's (`get /key`)
/// would be taken for HTTP.
pub fn detect(bytes: &[u8]) -> Detection {
    match (http2(bytes), tls(bytes), http1(bytes)) {
        (Match::Full, _, _) => Detection::Http2,
        // `PRI * ` is a request line too; it stays open until it can no longer become the preface.
        (Match::Partial, _, _) => Detection::NeedMore,
        (_, Match::Full, _) => Detection::Tls,
        (_, _, Match::Full) => Detection::Http1,
        (_, Match::Partial, _) | (_, _, Match::Partial) => Detection::NeedMore,
        _ => Detection::Opaque,
    }
}

fn http2(bytes: &[u8]) -> Match {
    starts_with(bytes, HTTP2_PREFACE)
}

/// Record type 22, version 3.0 to 3.4, a sound length, handshake type 1 (RFC 8446 sections 4 and 5.1). The version
/// is frozen at 3.1 or 3.3 on the wire; a record may be as short as one byte of the ClientHello.
fn tls(bytes: &[u8]) -> Match {
    let is_length = |high: u8, low: u8| {
        let length = usize::from(u16::from_be_bytes([high, low]));
        (1..=TLS_FRAGMENT_BYTES_MAX).contains(&length)
    };
    match *bytes {
        [] | [22] | [22, 3] | [22, 3, 0..=4] => Match::Partial,
        [22, 3, 0..=4, high] if usize::from(high) <= TLS_FRAGMENT_BYTES_MAX >> 8 => Match::Partial,
        [22, 3, 0..=4, high, low] if is_length(high, low) => Match::Partial,
        [22, 3, 0..=4, high, low, 1, ..] if is_length(high, low) => Match::Full,
        _ => Match::Never,
    }
}

fn http1(bytes: &[u8]) -> Match {
    if bytes == b"\r" {
        return Match::Partial;
    }
    let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let method_bytes = line.iter().position(|byte| !is_method_byte(*byte)).unwrap_or(line.len());
    if method_bytes > METHOD_BYTES_MAX {
        return Match::Never;
    }
    let (method, rest) = line.split_at(method_bytes);
    match rest {
        [] => Match::Partial,
        [b' ', ..] if method.is_empty() => Match::Never,
        [b' ', target @ ..] => http1_target(method, target),
        _ => Match::Never,
    }
}

fn http1_target(method: &[u8], target: &[u8]) -> Match {
    match target {
        [b'/', ..] | [b'*', b' ', ..] => Match::Full,
        [] | [b'*'] => Match::Partial,
        // A host's first byte (RFC 3986 section 3.2.2). NATS, which says `CONNECT {`, is told apart here.
        [first, ..] if method == b"CONNECT" => {
            if first.is_ascii_alphanumeric() || *first == b'[' {
                Match::Full
            } else {
                Match::Never
            }
        }
        _ => match (scheme(target, b"http://"), scheme(target, b"https://")) {
            (Match::Full, _) | (_, Match::Full) => Match::Full,
            (Match::Partial, _) | (_, Match::Partial) => Match::Partial,
            _ => Match::Never,
        },
    }
}

/// Schemes are compared without regard to case (RFC 3986 section 3.1).
fn scheme(target: &[u8], pattern: &[u8]) -> Match {
    let seen = target.get(..pattern.len()).unwrap_or(target);
    if !pattern.iter().zip(seen).all(|(want, got)| want.eq_ignore_ascii_case(got)) {
        return Match::Never;
    }
    if seen.len() == pattern.len() { Match::Full } else { Match::Partial }
}

fn starts_with(bytes: &[u8], pattern: &[u8]) -> Match {
    if bytes.starts_with(pattern) {
        Match::Full
    } else if pattern.starts_with(bytes) {
        Match::Partial
    } else {
        Match::Never
    }
}

/// Token bytes (RFC 9110 section 5.6.2) without the lower-case letters.
fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
