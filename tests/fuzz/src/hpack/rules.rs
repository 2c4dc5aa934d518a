//! What a head of HTTP/2 may be, said once more and plainly (RFC 9113 section 8).

use spurline_http::{Head, Limits, authority_is_valid, h2::Section};

use super::model::{Field, counted};

/// Limits that short blocks reach.
pub const TIGHT: Limits = Limits {
    head_bytes_max: 300,
    fields_max: 4,
    target_bytes_max: 8,
    chunk_extension_bytes_max: 8,
    trailer_bytes_max: 100,
    trailer_fields_max: 2,
};

/// RFC 9113 section 8.2.2.
const OF_CONNECTION: &str = "\
    connection keep-alive proxy-connection transfer-encoding upgrade";

/// Names that mean something to a proxy, so that one must not look like them.
const MEANT: &str = "\
    connection content-length expect host http2-settings keep-alive proxy-authenticate \
    proxy-authorization proxy-connection sec-websocket-key sec-websocket-version te trailer \
    transfer-encoding upgrade via";

/// RFC 9110 section 6.5.1, and what a proxy acts on.
const LEFT_OUT: &str = "\
    age authorization baggage cache-control content-encoding content-range content-type cookie date \
    expires forwarded grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since location \
    max-forwards pragma range retry-after set-cookie traceparent tracestate vary via warning \
    www-authenticate x-forwarded-for content-length expect host http2-settings proxy-authenticate \
    proxy-authorization sec-websocket-key sec-websocket-version te trailer keep-alive";

/// A head without what stands for how it was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub protocol: Vec<u8>,
    pub status: u16,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

pub fn bytes_max(section: Section, limits: &Limits) -> usize {
    if section == Section::Trailers { limits.trailer_bytes_max } else { limits.head_bytes_max }
}

/// A head as it will be sent on.
pub fn read(head: &Head) -> Message {
    let is_response = head.status() > 0;
    Message {
        method: head.method().0.to_vec(),
        target: if is_response { Vec::new() } else { head.target().to_vec() },
        protocol: head.protocol().to_vec(),
        status: head.status(),
        fields: head
            .pairs()
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    }
}

/// The message that these fields are; `None` when they are none.
pub fn judged(section: Section, fields: &[Field], limits: &Limits) -> Option<Message> {
    let bytes: usize = fields.iter().map(counted).sum();
    let pseudo_count = fields.iter().take_while(|field| field.name.starts_with(b":")).count();
    let (pseudo, regular) = fields.split_at(pseudo_count);
    let fields_max = if section == Section::Trailers { limits.trailer_fields_max } else { limits.fields_max };
    let fits = bytes <= bytes_max(section, limits) && regular.len() <= fields_max;
    if !fits || !fields.iter().all(|field| value_is_good(&field.value)) || !regular.iter().all(is_good) {
        return None;
    }
    let mut message = Message::default();
    let mut scheme = None;
    let mut seen: Vec<&[u8]> = Vec::new();
    for Field { name, value, .. } in pseudo {
        if seen.contains(&name.as_slice()) {
            return None;
        }
        seen.push(name);
        match (section, name.as_slice()) {
            (Section::Request, b":method") => message.method = value.clone(),
            (Section::Request, b":path") => message.target = value.clone(),
            (Section::Request, b":scheme") => scheme = Some(value.as_slice()),
            (Section::Request, b":protocol") => message.protocol = value.clone(),
            (Section::Request, b":authority") => message.fields.push((b"host".to_vec(), value.clone())),
            (Section::Response, b":status") => {
                message.status = std::str::from_utf8(value).ok()?.parse().ok()?;
                let known = (100..600).contains(&message.status) && message.status != 101;
                known.then_some(()).filter(|()| value.len() == 3 && value[0] != b'+')?;
            }
            _ => return None,
        }
    }
    add_regular(section, regular, &mut message)?;
    match section {
        Section::Request => is_request(&message, scheme, seen.contains(&b":protocol".as_slice()), limits),
        Section::Response => message.status > 0,
        Section::Trailers => true,
    }
    .then_some(message)
}

fn is_in(names: &str, name: &[u8]) -> bool {
    names.split(' ').any(|known| known.as_bytes() == name)
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

fn value_is_good(value: &[u8]) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let control = |byte: &u8| (*byte < 32 && *byte != 9) || *byte == 127;
    !value.iter().any(control) && !white(value.first()) && !white(value.last())
}

fn is_good(field: &Field) -> bool {
    let Field { name, value, .. } = field;
    let text = String::from_utf8_lossy(name);
    let is_alias = text.contains('_') && is_in(MEANT, text.replace('_', "-").as_bytes());
    let value_ok = match text.as_ref() {
        "te" => value.eq_ignore_ascii_case(b"trailers"),
        "expect" => value.eq_ignore_ascii_case(b"100-continue"),
        "host" => authority_is_valid(value),
        _ => true,
    };
    is_token(name)
        && !name.iter().any(u8::is_ascii_uppercase)
        && !is_alias
        && !is_in(OF_CONNECTION, name)
        && value_ok
}

/// Adds the fields to the message, with what must be joined, merged or left out.
fn add_regular(section: Section, regular: &[Field], message: &mut Message) -> Option<()> {
    let mut hosts = 0;
    for Field { name, value, .. } in regular {
        if section == Section::Trailers {
            if !is_in(LEFT_OUT, name) {
                message.fields.push((name.clone(), value.clone()));
            }
            continue;
        }
        let earlier = message.fields.iter_mut().find(|(known, _)| known == name);
        match (name.as_slice(), earlier) {
            (b"cookie", Some(_)) if value.is_empty() => {}
            (b"cookie", Some((_, joined))) => {
                let separator: &[u8] = if joined.is_empty() { b"" } else { b"; " };
                joined.extend([separator, value].concat());
            }
            (b"content-length", Some(_)) => return None,
            (b"host", Some((_, authority))) => {
                hosts += 1;
                let first_is_authority =
                    hosts == 1 && regular.iter().filter(|f| f.name == b"host").count() == 1;
                if !first_is_authority || !authority.eq_ignore_ascii_case(value) {
                    return None;
                }
            }
            _ => message.fields.push((name.clone(), value.clone())),
        }
    }
    let must_not_have_length = (100..200).contains(&message.status) || message.status == 204;
    let is_number = |value: &[u8]| {
        value == b"0"
            || (value.len() < 19 && value.iter().all(u8::is_ascii_digit) && !matches!(value, [] | [b'0', ..]))
    };
    let is_length = |(name, _): &(Vec<u8>, Vec<u8>)| name == b"content-length";
    if message.fields.iter().any(|field| is_length(field) && !is_number(&field.1)) {
        return None;
    }
    message.fields.retain(|field| !(must_not_have_length && is_length(field)));
    Some(())
}

fn is_request(message: &Message, scheme: Option<&[u8]>, has_protocol: bool, limits: &Limits) -> bool {
    let Message { method, target, protocol, fields, .. } = message;
    let method_ok = is_token(method)
        && method.len() <= 24
        && !method.iter().any(u8::is_ascii_lowercase)
        && ![b"TRACE".as_slice(), b"PRI"].contains(&method.as_slice())
        && (method == b"CONNECT") == has_protocol
        && (!has_protocol || is_token(protocol));
    let target_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(byte);
    let form_ok = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    let target_ok = form_ok
        && target.iter().all(target_byte)
        && !String::from_utf8_lossy(target).contains("%00")
        && target.len() <= limits.target_bytes_max;
    let host = fields.iter().find(|(name, _)| name == b"host");
    let scheme_ok = matches!(scheme, Some(b"http" | b"https"));
    method_ok && target_ok && scheme_ok && host.is_some_and(|(_, host)| authority_is_valid(host))
}
