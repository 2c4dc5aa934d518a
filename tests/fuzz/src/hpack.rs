//! What must hold for the header compression of `spurline-http`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken. What is read and written is judged by
//! [`model`], a decoder of its own, and by [`rules`], which say what a head may be.

use spurline_http::{
    Head, Limits,
    h2::{BlockError, Decoder, Encoder, Scheme, Section},
};

#[path = "hpack/model.rs"]
pub mod model;
#[path = "hpack/rules.rs"]
pub mod rules;

use model::{Failure, Field, Model};

/// What both sides start from (RFC 9113 section 6.5.2).
const TABLE_BYTES: usize = 4096;

/// The data is blocks of one connection, each after an octet that says what it is and one with its length.
pub fn h2_hpack_decode(mut data: &[u8]) {
    let (mut decoder, mut model) = (Decoder::new(TABLE_BYTES), Model::new(TABLE_BYTES));
    let mut head = Head::default();
    while let [choice, length, rest @ ..] = data {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let section = section(*choice);
        let limits = if choice & 4 == 0 { Limits::default() } else { rules::TIGHT };
        let bytes_max = 4 * rules::bytes_max(section, &limits);
        let expected = match block.len() > bytes_max {
            true => Err(Failure::Bomb),
            false => model.decode(block, bytes_max),
        };
        let read = decoder.decode(block, section, &limits, &mut head);
        if read.is_err() {
            assert_eq!(head.bytes(), 0, "a refused head is empty");
        }
        match (&expected, read) {
            (Err(Failure::Bomb), Err(BlockError::Bomb)) => return,
            (Err(Failure::Compression), Err(BlockError::Compression)) => return,
            (Ok(fields), Ok(_)) => {
                let message = rules::judged(section, fields, &limits);
                assert_eq!(Some(rules::read(&head)), message, "{fields:?}");
                // Joined cookies stand twice; names of pseudo-fields stay.
                assert!(head.bytes() <= 2 * bytes_max);
            }
            (Ok(fields), Err(BlockError::Malformed(_) | BlockError::TooLarge(_))) => {
                assert_eq!(rules::judged(section, fields, &limits), None, "{fields:?}");
            }
            (expected, read) => panic!("{expected:?} is read as {read:?}"),
        }
    }
}

/// The data is what happens on one connection, in which everything that is sent is read again.
pub fn h2_hpack_roundtrip(mut data: &[u8]) {
    const TABLE_SIZES: [u32; 8] = [0, 33, 64, 100, 300, 4096, 65_536, u32::MAX];
    let (mut encoder, mut decoder, mut model) =
        (Encoder::new(), Decoder::new(TABLE_BYTES), Model::new(TABLE_BYTES));
    let mut peer_bytes = TABLE_BYTES;
    while let Some((choice, rest)) = data.split_first() {
        data = rest;
        if choice & 7 == 7 {
            let bytes = TABLE_SIZES[usize::from(choice >> 5)];
            peer_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            encoder.set_peer_table_bytes(bytes);
            continue;
        }
        let section = section(*choice);
        let fields = make_fields(section, usize::from(choice >> 4), &mut data);
        let Some(head) = head(section, &fields) else { continue };
        let mut block = Vec::new();
        match section {
            Section::Request => encoder.encode_request(&head, Scheme::Https, &mut block),
            Section::Response => encoder.encode_response(&head, &mut block),
            Section::Trailers => encoder.encode_trailers(&head, &mut block),
        }
        let sent = model.decode(&block, usize::MAX).expect("what is sent is HPACK");
        let mut again = Head::default();
        let read = decoder.decode(&block, section, &Limits::default(), &mut again);
        assert!(read.is_ok(), "{read:?}: {sent:?}");
        assert_eq!(rules::read(&again), rules::read(&head));
        assert!(model.size() <= peer_bytes, "the peer's table is not overrun");
        check_secrets(&fields, &sent, &model);
    }
}

/// Whatever may not be in a table is in none, and the next hop is told so.
fn check_secrets(fields: &[Field], sent: &[Field], model: &Model) {
    for (name, value) in &model.entries {
        let is_short_cookie = name == b"cookie" && value.len() < 20;
        let is_secret = [b"authorization".as_slice(), b"set-cookie", b":path"].contains(&name.as_slice());
        assert!(!is_short_cookie && !is_secret, "{}: {}", name.escape_ascii(), value.escape_ascii());
    }
    for field in sent.iter().filter(|field| field.name == b"authorization") {
        assert!(field.never_indexed);
    }
    for secret in fields.iter().filter(|field| field.never_indexed && field.name == b"x-secret") {
        assert!(sent.contains(secret), "{secret:?}");
    }
}

fn section(choice: u8) -> Section {
    match choice & 3 {
        0 | 3 => Section::Request,
        1 => Section::Response,
        _ => Section::Trailers,
    }
}

/// Fields of few names, whose values come again or are the data's own.
fn make_fields(section: Section, count: usize, data: &mut &[u8]) -> Vec<Field> {
    const NAMES: [&str; 16] = [
        "user-agent",
        "accept",
        "x-a",
        "x-b",
        "x-secret",
        "authorization",
        "cookie",
        "set-cookie",
        "traceparent",
        "content-type",
        "x-request-id",
        "date",
        "grpc-status",
        "accept-encoding",
        "baggage",
        "etag",
    ];
    let field = |name: &str, value: &[u8]| Field {
        name: name.as_bytes().to_vec(),
        value: value.to_vec(),
        never_indexed: name == "x-secret",
    };
    let mut fields = match section {
        Section::Request => vec![
            field(":method", if count & 1 == 0 { b"GET" } else { b"PUT" }),
            field(":scheme", b"http"),
            field(":path", if count & 2 == 0 { b"/" } else { b"/secret?a=b" }),
            field(":authority", b"a.b:80"),
        ],
        Section::Response => vec![field(":status", if count & 1 == 0 { b"200" } else { b"418" })],
        Section::Trailers => Vec::new(),
    };
    for _ in 0..count {
        let Some((choice, rest)) = data.split_first() else { break };
        *data = rest;
        let length = usize::from(choice >> 4);
        let value = if choice & 0x80 == 0 {
            b"gzip, deflate".repeat(length)
        } else {
            let (own, rest) = data.split_at(data.len().min(length));
            *data = rest;
            own.to_vec()
        };
        fields.push(field(NAMES[usize::from(choice & 15)], &value));
    }
    fields
}

/// The head that these fields are, if they are one.
fn head(section: Section, fields: &[Field]) -> Option<Head> {
    let mut block = Vec::new();
    for Field { name, value, never_indexed } in fields {
        block.push(if *never_indexed { 0x10 } else { 0 });
        for string in [name, value] {
            let left = string.len().checked_sub(127);
            match left {
                None => block.push(string.len() as u8),
                Some(left) => block.extend([127, 0x80 | (left & 0x7f) as u8, (left >> 7) as u8]),
            }
            block.extend(string);
        }
    }
    let mut head = Head::default();
    Decoder::new(TABLE_BYTES).decode(&block, section, &Limits::default(), &mut head).ok().map(|_| head)
}
