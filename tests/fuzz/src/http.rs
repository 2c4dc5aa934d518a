//! What must hold for `spurline-http`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken. What is written is judged by [`strict`], a
//! parser of its own.

use spurline_http::{
    BodyEvent, Error, Framing, Head, Limits, Method, Name, Version, connection_options,
    h1::{self, BodyDecoder, Persistence, RequestHead, ResponseEncoding, ResponseHead},
    remove_hop_by_hop,
};

#[path = "http/strict.rs"]
pub mod strict;

use strict::Fields;

/// Limits that short inputs reach.
pub const TIGHT: Limits = Limits {
    head_bytes_max: 96,
    fields_max: 4,
    target_bytes_max: 24,
    chunk_extension_bytes_max: 8,
    trailer_bytes_max: 32,
    trailer_fields_max: 2,
};

/// The data is what arrives on a connection.
pub fn h1_request(data: &[u8]) {
    for limits in [Limits::default(), TIGHT] {
        let read = |input: &[u8]| h1::read_request(input, &limits, &mut Head::default());
        let whole = read(data);
        check_extent(whole.map(|head| head.map(|head| head.consumed)), data, &limits);
        check_prefixes(whole, data, read);
        let Ok(Some(RequestHead { consumed, .. })) = whole else { continue };
        let mut head = Head::default();
        assert_eq!(read_into(&mut head, data, &limits), whole);
        let received = data.strip_prefix(b"\r\n").unwrap_or(data);
        let received = &received[..consumed - (data.len() - received.len())];
        let is_origin = received.split(|byte| *byte == b' ').nth(1) == Some(head.target());
        let edits = [Name::Connection, Name::Te, Name::TransferEncoding, Name::Upgrade, Name::KeepAlive]
            .into_iter()
            .chain([Name::Http2Settings, Name::ProxyAuthenticate, Name::ProxyAuthorization])
            .chain([Name::ProxyConnection]);
        if is_origin
            && head.version() == Version::Http11
            && edits.clone().all(|name| head.value(name).is_none())
        {
            let mut out = Vec::new();
            remove_hop_by_hop(&mut head);
            h1::encode_request(&head, Framing::None, None, &mut out);
            assert_eq!(
                out.escape_ascii().to_string(),
                received.escape_ascii().to_string(),
                "it is not touched"
            );
        }
    }
}

/// The first byte says what was asked and by whom, the rest is what the upstream answers.
pub fn h1_response(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { Method(b"GET") } else { Method(b"HEAD") };
    let client = if choice & 2 == 0 { Version::Http11 } else { Version::Http10 };
    for limits in [Limits::default(), TIGHT] {
        let read = |input: &[u8]| h1::read_response(input, method, &limits, &mut Head::default());
        let whole = read(data);
        check_extent(whole.map(|head| head.map(|head| head.consumed)), data, &limits);
        check_prefixes(whole, data, read);
        let Ok(Some(ResponseHead { framing, .. })) = whole else { continue };
        let mut head = Head::default();
        assert_eq!(h1::read_response(data, method, &limits, &mut head), whole);
        if connection_options(&mut head, |_| false).is_err() {
            continue;
        }
        remove_hop_by_hop(&mut head);
        let mut out = Vec::new();
        let persistence = Persistence::KeepAlive;
        let encoding = ResponseEncoding { framing, client, persistence, upgrade: None };
        h1::encode_response(&head, encoding, &mut out);
        check_response(&out, &head, (method, client, framing));
    }
}

/// The first byte says in what pieces the rest, a chunked body, arrives.
pub fn h1_body(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else { return };
    for limits in [Limits::default(), TIGHT] {
        let whole = decode(Framing::Chunked, data, data.len().max(1), &limits);
        let pieces = decode(Framing::Chunked, data, usize::from(*piece).max(1), &limits);
        assert_eq!(whole, pieces, "the pieces do not matter");
        let Ok(body) = whole else { continue };
        let judged = strict::chunked(data);
        if !body.is_done {
            assert!(judged.is_err(), "a whole body is read to its end");
            continue;
        }
        let ((content, _), rest) = judged.expect("what is decoded is well-formed");
        assert_eq!(body.content, content);
        assert_eq!(body.consumed, data.len() - rest.len());
        // A space behind each colon is ours.
        let wide = Limits { trailer_bytes_max: 2 * limits.trailer_bytes_max, ..limits };
        let written = encode(&body, usize::from(*piece).max(1));
        let again = decode(Framing::Chunked, &written, 1, &wide).expect("what is written is read back");
        assert_eq!((&again.content, &again.trailers), (&body.content, &body.trailers));
        assert_eq!((again.consumed, again.is_done), (written.len(), true));
    }
}

/// The data is what arrives on a connection; what is sent on has to be exactly one message, the one that was meant.
pub fn h1_relay(data: &[u8]) {
    let limits = Limits::default();
    let mut head = Head::default();
    let Ok(Some(read)) = read_into(&mut head, data, &limits) else { return };
    let Ok(options) = connection_options(&mut head, |_| false) else { return };
    let Ok(upgrade) = h1::requested_upgrade(&head, options, read.framing) else { return };
    remove_hop_by_hop(&mut head);
    if head.value(Name::Host).is_none() {
        head.append(b"host", b"added.test").expect("the field is valid");
    }
    let Ok(body) = decode(read.framing, &data[read.consumed..], 7, &limits) else { return };
    let mut out = Vec::new();
    h1::encode_request(&head, read.framing, upgrade.as_ref(), &mut out);
    let head_bytes = out.len();
    match read.framing {
        Framing::Chunked if body.is_done => out.extend(encode(&body, 5)),
        Framing::Chunked => {}
        _ => out.extend_from_slice(&body.content),
    }
    let judged = strict::request(&out);
    if !body.is_done {
        assert!(judged.is_err(), "a body that was cut is not complete");
        return;
    }
    let (message, rest) = judged.unwrap_or_else(|error| panic!("{error}: {}", out.escape_ascii()));
    assert!(rest.is_empty(), "nothing is smuggled behind it: {}", out.escape_ascii());
    assert_eq!((&message.body, &message.trailers), (&body.content, &body.trailers));
    let mut expected = kept(&head);
    if read.framing == Framing::Chunked {
        expected.push((b"transfer-encoding".to_vec(), b"chunked".to_vec()));
    }
    if let Some(upgrade) = &upgrade {
        expected.push((b"connection".to_vec(), b"upgrade".to_vec()));
        expected.push((b"upgrade".to_vec(), upgrade.protocols().to_vec()));
    }
    assert_eq!(message.fields, expected, "each field is sent as it is, and no other");
    // What is added may be one over the limits of what is received.
    let wide = Limits { head_bytes_max: out.len() + 1, fields_max: Limits::FIELDS_CEILING, ..limits };
    let mut again = Head::default();
    let reread = read_into(&mut again, &out, &wide).expect("our own words are valid").expect("and whole");
    assert_eq!((reread.framing, reread.consumed), (read.framing, head_bytes));
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert_eq!(kept(&again), expected);
}

/// A body as far as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    pub content: Vec<u8>,
    pub trailers: Fields,
    pub consumed: usize,
    pub is_done: bool,
}

/// Reads a body that arrives in pieces of so many bytes.
pub fn decode(framing: Framing, data: &[u8], piece: usize, limits: &Limits) -> Result<Body, Error> {
    let mut decoder = BodyDecoder::new(framing);
    let mut head = Head::default();
    let mut body = Body { content: Vec::new(), trailers: Fields::new(), consumed: 0, is_done: false };
    let mut arrived = 0;
    loop {
        let input = &data[body.consumed..arrived];
        let (consumed, event) = decoder.decode(input, limits, &mut head)?;
        assert!(consumed <= input.len());
        body.consumed += consumed;
        match event {
            BodyEvent::Data(range) => {
                assert!(!range.is_empty() && range.end == consumed, "data is progress");
                body.content.extend_from_slice(&input[range]);
            }
            BodyEvent::Trailers | BodyEvent::End => {
                assert!(decoder.is_done() && decoder.finish().is_ok());
                let trailers = event == BodyEvent::Trailers;
                body.trailers = if trailers { kept(&head) } else { Fields::new() };
                body.is_done = true;
                return Ok(body);
            }
            BodyEvent::NeedMore if arrived == data.len() => {
                assert!(!decoder.is_done());
                assert_eq!(decoder.finish().is_ok(), framing == Framing::Close, "a cut is told from an end");
                return Ok(body);
            }
            BodyEvent::NeedMore => arrived = data.len().min(arrived + piece),
        }
    }
}

/// Writes a body in chunks of so many bytes.
pub fn encode(body: &Body, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for data in body.content.chunks(chunk) {
        h1::encode_chunk(data, &mut out);
    }
    let mut trailers = Head::default();
    for (name, value) in &body.trailers {
        trailers.append(name, value).expect("it was read as a field");
    }
    h1::encode_last_chunk((!body.trailers.is_empty()).then_some(&trailers), &mut out);
    out
}

/// The fields that are not removed.
pub fn kept(head: &Head) -> Fields {
    let fields = head.pairs().filter(|(name, _)| !name.is_empty());
    fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn read_into(head: &mut Head, data: &[u8], limits: &Limits) -> Result<Option<RequestHead>, Error> {
    h1::read_request(data, limits, head)
}

fn check_extent(consumed: Result<Option<usize>, Error>, data: &[u8], limits: &Limits) {
    match consumed {
        Ok(Some(consumed)) => assert!(consumed <= data.len().min(limits.head_bytes_max)),
        Ok(None) => assert!(data.len() < limits.head_bytes_max, "a full buffer is decided on"),
        Err(_) => {}
    }
}

/// Once decided, more bytes do not change the outcome; what is wrong may be told by another name.
fn check_prefixes<T: Copy + std::fmt::Debug + PartialEq>(
    whole: Result<Option<T>, Error>,
    data: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<T>, Error>,
) {
    let step = data.len() / 64 + 1;
    for end in (0..data.len()).step_by(step) {
        match read(&data[..end]) {
            Ok(None) => {}
            Ok(some) => assert_eq!(Ok(some), whole, "at {end}"),
            Err(error) => assert!(whole.is_err(), "{error} at {end}, but not of the whole"),
        }
    }
}

fn check_response(out: &[u8], head: &Head, (method, client, framing): (Method<'_>, Version, Framing)) {
    let (message, rest) = strict::response(out).unwrap_or_else(|e| panic!("{e}: {}", out.escape_ascii()));
    assert!(rest.is_empty(), "{}", out.escape_ascii());
    let status = head.status();
    assert_eq!(message.start[1], status.to_string().as_bytes());
    let mut expected = kept(head);
    let chunked = matches!(framing, Framing::Chunked | Framing::Close) && client == Version::Http11;
    if chunked {
        expected.push((b"transfer-encoding".to_vec(), b"chunked".to_vec()));
    }
    if client == Version::Http10 {
        expected.push((b"connection".to_vec(), b"keep-alive".to_vec()));
    }
    assert_eq!(message.fields, expected);
    let never = status < 200 || status == 204;
    let is_empty = never || method.is("HEAD") || status == 304;
    assert!(!never || message.framing == strict::Framing::Nothing, "neither length nor coding at {status}");
    match framing {
        Framing::None if is_empty => assert_ne!(message.framing, strict::Framing::Chunked),
        _ if is_empty => panic!("{status} has no body"),
        Framing::None => assert_eq!(message.framing, strict::Framing::Length(0)),
        Framing::Length(length) => assert_eq!(message.framing, strict::Framing::Length(length)),
        Framing::Chunked | Framing::Close if chunked => {
            assert_eq!(message.framing, strict::Framing::Chunked)
        }
        Framing::Chunked | Framing::Close => assert_eq!(message.framing, strict::Framing::Nothing),
    }
}
