//! What holds for all bytes: the bodies of the fuzz targets, run on a small corpus and on generated messages, and what
//! only a generator can ask for: valid heads, any chunking, any edit.

#![allow(missing_debug_implementations, unreachable_pub, reason = "the bodies are a library elsewhere")]

use proptest::{collection::vec, prelude::*, sample::select};
use spurline_http::{Framing, Head, Limits, Version, h1};

#[path = "../../../tests/fuzz/src/http.rs"]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise is meant to panic; the lint's exemption covers test functions only"
)]
mod bodies;

use bodies::strict::{self, Fields};

/// Pieces of the grammar and of its neighbourhood, so that generated messages are near to real ones.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "POST /p?q HTTP/1.1\r\nHost: a\r\n",
    "GET http://b:80?x HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.0 304 x\r\n",
    "HTTP/1.1 103 Early\r\n",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close, x\r\n",
    "Connection: connection, te\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: foo/1, bar\r\n",
    "Sec-WebSocket-Key: x\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Keep-Alive: timeout=5\r\n",
    "TE: Trailers\r\n",
    "Expect: 100-continue\r\n",
    "x:\r\n",
    "X: \t \r\n",
    "y: a \r\n",
    " folded\r\n",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "hello",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "\u{e9}",
    ": ",
];

fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
        1 => (1_usize..9000).prop_map(|count| vec![b'x'; count]),
    ];
    let start = select(vec!["", "\0", "\x01", "\x02", "\x03", "\x05"]);
    (start, vec(piece, 0..14)).prop_map(|(start, pieces)| [start.as_bytes(), &pieces.concat()].concat())
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&b"!#$%&'*+-.^`|~0123456789abcXYZ"[..]), 1..12)
}

/// A value as it stands between its white space.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let inner = prop_oneof![20 => b' '..=b'~', 2 => 0x80_u8.., 1 => Just(b'\t')];
    let bytes = vec(inner, 0..30);
    bytes.prop_map(|bytes| String::from_utf8_lossy(&bytes).trim().as_bytes().to_vec())
}

fn white_space() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&b" \t"[..]), 0..3)
}

/// A valid head that nothing has to be changed in, with its fields.
fn plain_request(length: impl Strategy<Value = Option<u64>>) -> impl Strategy<Value = (Vec<u8>, Fields)> {
    let line = (token(), white_space(), value(), white_space());
    let method = select(&["GET", "POST", "DELETE", "PATCH", "X-1"][..]);
    let target = vec(select(&b"-._~:/?[]@!$&'()*+,;=%azAZ19"[..]), 0..20);
    (method, target, vec(line, 0..12), length).prop_map(|(method, target, lines, length)| {
        let target = String::from_utf8_lossy(&target).replace("%00", "%01");
        let mut bytes = format!("{method} /{target} HTTP/1.1\r\nHost: a.b:80\r\n").into_bytes();
        let mut fields: Fields = vec![(b"Host".to_vec(), b"a.b:80".to_vec())];
        for (name, before, value, after) in lines {
            // A token made of single letters and digits is none of the names that mean something here.
            let name = [b"x", name.as_slice()].concat();
            bytes.extend([&name, b":".as_slice(), &before, &value, &after, b"\r\n"].concat());
            fields.push((name, value));
        }
        if let Some(length) = length {
            bytes.extend(format!("Content-Length: {length}\r\n").into_bytes());
            fields.push((b"Content-Length".to_vec(), length.to_string().into_bytes()));
        }
        bytes.extend(b"\r\n");
        (bytes, fields)
    })
}

#[derive(Clone, Debug)]
enum Edit {
    Remove(usize),
    Replace(usize, Vec<u8>),
    Append(Vec<u8>, Vec<u8>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let hostile = vec(select(&b"ab: \t\r\n\0\x7f\xe9,;"[..]), 0..8);
    let text = prop_oneof![value(), hostile];
    let name = prop_oneof![4 => token(), 1 => text.clone()];
    // The first field is the host, which a request cannot do without.
    let index = 1_usize..14;
    prop_oneof![
        index.clone().prop_map(Edit::Remove),
        (index, text.clone()).prop_map(|(index, value)| Edit::Replace(index, value)),
        (name, text).prop_map(|(name, value)| Edit::Append([b"x", name.as_slice()].concat(), value)),
    ]
}

/// Whether a field line of these reads as one field of these.
fn is_one_field(name: &[u8], value: &[u8]) -> bool {
    let line = [b"GET / HTTP/1.1\r\nHost: a\r\n", name, b":", value, b"\r\n\r\n"].concat();
    let expected = (name.to_vec(), value.to_vec());
    matches!(strict::request(&line), Ok((message, [])) if message.fields.get(1..) == Some(&[expected][..]))
}

/// A body, and a way to send it in chunks.
fn chunked_body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = select(&["", ";a", ";a=\"b\""][..]);
    let chunk = (vec(any::<u8>(), 1..40), 0_usize..3, any::<bool>(), extension);
    vec(chunk, 0..12).prop_map(|chunks| {
        let (mut content, mut bytes) = (Vec::new(), Vec::new());
        for (data, zeros, upper, extension) in chunks {
            let size = format!("{}{:x}", "0".repeat(zeros), data.len());
            let size = if upper { size.to_ascii_uppercase() } else { size };
            bytes.extend(format!("{size}{extension}\r\n").into_bytes());
            bytes.extend([data.as_slice(), b"\r\n"].concat());
            content.extend(data);
        }
        bytes.extend(b"0\r\n\r\n");
        (content, bytes)
    })
}

fn run_all(data: &[u8]) {
    bodies::h1_request(data);
    bodies::h1_response(data);
    bodies::h1_body(data);
    bodies::h1_relay(data);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_a_promise(data in prop_oneof![vec(any::<u8>(), 0..300), near_message()]) {
        run_all(&data);
    }

    #[test]
    fn a_full_buffer_is_never_left_undecided(data in vec(any::<u8>(), 128), line in near_message()) {
        let limits = Limits { head_bytes_max: 128, ..Limits::default() };
        let data = [line, data].concat();
        let read = h1::read_request(&data, &limits, &mut Head::default());
        prop_assert!(!matches!(read, Ok(None)));
        let method = spurline_http::Method(b"GET");
        let read = h1::read_response(&data, method, &limits, &mut Head::default());
        prop_assert!(!matches!(read, Ok(None)));
    }

    #[test]
    fn a_head_that_needs_no_change_is_sent_on_byte_for_byte(
        (bytes, fields) in plain_request(proptest::option::of(0_u64..1_000_000_000_000_000_000)),
    ) {
        bodies::h1_request(&bytes);
        let mut head = Head::default();
        let read = h1::read_request(&bytes, &Limits::default(), &mut head).unwrap().unwrap();
        prop_assert_eq!(bodies::kept(&head), fields);
        prop_assert_eq!(head.version(), Version::Http11);
        let mut out = Vec::new();
        h1::encode_request(&head, read.framing, None, &mut out);
        prop_assert_eq!(&out, &bytes);
        let mut again = Head::default();
        let reread = h1::read_request(&out, &Limits::default(), &mut again).unwrap().unwrap();
        prop_assert_eq!(reread, read);
    }

    #[test]
    fn an_edited_head_has_the_fields_that_were_meant(
        (bytes, fields) in plain_request(Just(None)),
        edits in vec(edit(), 0..10),
    ) {
        let mut head = Head::default();
        let read = h1::read_request(&bytes, &Limits::default(), &mut head).unwrap().unwrap();
        let mut model: Vec<_> = fields.into_iter().map(Some).collect();
        for edit in edits {
            match edit {
                Edit::Remove(index) => {
                    head.remove(index);
                    if let Some(field) = model.get_mut(index) {
                        *field = None;
                    }
                }
                Edit::Replace(index, value) => {
                    let outcome = head.replace(index, &value);
                    if let Some(Some((name, old))) = model.get_mut(index) {
                        prop_assert_eq!(outcome.is_ok(), is_one_field(name, &value));
                        *old = if outcome.is_ok() { value } else { std::mem::take(old) };
                    }
                }
                Edit::Append(name, value) => {
                    let outcome = head.append(&name, &value);
                    prop_assert_eq!(outcome.is_ok(), is_one_field(&name, &value));
                    model.extend(outcome.is_ok().then_some(Some((name, value))));
                }
            }
        }
        let mut out = Vec::new();
        h1::encode_request(&head, read.framing, None, &mut out);
        let expected: Fields = model.into_iter().flatten().collect();
        prop_assert_eq!(&bodies::kept(&head), &expected);
        let (message, rest) = strict::request(&out).unwrap();
        prop_assert_eq!((&message.fields, rest.len()), (&expected, 0));
    }

    #[test]
    fn a_chunked_body_reads_the_same_however_it_is_cut((content, bytes) in chunked_body(), piece in 1_usize..50) {
        let body = bodies::decode(Framing::Chunked, &bytes, piece, &Limits::default()).unwrap();
        prop_assert_eq!(&body.content, &content);
        prop_assert_eq!((body.consumed, body.is_done), (bytes.len(), true));
        let written = bodies::encode(&body, piece);
        let again = bodies::decode(Framing::Chunked, &written, piece, &Limits::default()).unwrap();
        prop_assert_eq!(&again.content, &content);
    }
}

#[test]
fn the_corpus_breaks_no_promise() {
    for text in [
        "",
        "\0",
        "\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST http://b HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nT: 1\r\n\r\n",
        "GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcGET /",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nGET /",
        "\0HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "\x03HTTP/1.0 204\r\nContent-Length: 5\r\n\r\n",
        "\x02HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\x015;a=b\r\nhello\r\n0\r\nt: 1\r\nhost: a\r\n\r\nrest",
    ] {
        run_all(text.as_bytes());
    }
}
