use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A start, and what it is.
const STARTS: &[(&[u8], Detection)] = &[
    (b"GET / HTTP/1.1\r\n", Detection::Http1),
    (b"POST /x?y HTTP/1.0\r\n", Detection::Http1),
    (b"OPTIONS * HTTP/1.1\r\n", Detection::Http1),
    (b"GET http://example.test/ HTTP/1.1\r\n", Detection::Http1),
    (b"GET HTTPS://example.test/ HTTP/1.1\r\n", Detection::Http1),
    (b"CONNECT example.test:443 HTTP/1.1\r\n", Detection::Http1),
    (b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n", Detection::Http1),
    (b"VERSION-CONTROL /doc HTTP/1.1\r\n", Detection::Http1),
    (b"M-SEARCH * HTTP/1.1\r\n", Detection::Http1),
    (b"\r\nGET / HTTP/1.1\r\n", Detection::Http1),
    (b"PRI * HTTP/1.1\r\n", Detection::Http1),
    (b"PRIORITY / HTTP/1.1\r\n", Detection::Http1),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04", Detection::Http2),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Detection::Tls),
    (b"\x16\x03\x03\x00\x01\x01\x16\x03\x03\x00\x01", Detection::Tls),
    (b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n", Detection::Opaque),
    (b"*2\r\n$3\r\nGET\r\n$1\r\n/\r\n", Detection::Opaque),
    (b"PING\r\n", Detection::Opaque),
    (b"KEYS *\r\n", Detection::Opaque),
    (b"get /key\r\n", Detection::Opaque),
    (b"EHLO http.example.test\r\n", Detection::Opaque),
    (b"CONNECT {\"verbose\":false}\r\n", Detection::Opaque),
    (b"CONNECT\naccept-version:1.2\n\n\0", Detection::Opaque),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Detection::Opaque),
    (b"\x00\x00\x00\x1f\x00\x12\x00\x03\x00\x00\x00\x01", Detection::Opaque),
    (b"\x16\x03\x01\x02\x00\x02", Detection::Opaque),
    (b"\x16\x03\x01\x40\x01\x01", Detection::Opaque),
    (b"\x16\x03\x01\x00\x00\x01", Detection::Opaque),
    (b"\x15\x03\x01\x00\x02\x02\x28", Detection::Opaque),
    (b" / HTTP/1.1\r\n", Detection::Opaque),
    (b"\r\n\r\nGET / HTTP/1.1\r\n", Detection::Opaque),
    (b"AAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n", Detection::Opaque),
];

fn decided(bytes: &[u8]) -> bool {
    detect(bytes) != Detection::NeedMore
}

#[test]
fn nothing_decides_nothing() {
    assert_eq!(detect(b""), Detection::NeedMore);
}

#[test]
fn each_start_is_known_however_it_is_cut() {
    for (start, expected) in STARTS {
        assert_eq!(detect(start), *expected, "{}", start.escape_ascii());
        for end in 0..start.len() {
            let early = detect(&start[..end]);
            let consistent = early == Detection::NeedMore || early == *expected;
            assert!(consistent, "{} at {end}: {early:?}", start.escape_ascii());
        }
    }
}

#[test]
fn a_request_line_is_known_at_the_first_byte_of_its_target() {
    assert_eq!(detect(b"GET "), Detection::NeedMore);
    assert_eq!(detect(b"GET /"), Detection::Http1);
    assert_eq!(detect(b"CONNECT e"), Detection::Http1);
    assert_eq!(detect(b"GET http://"), Detection::Http1);
}

#[test]
fn a_byte_that_no_request_may_start_with_is_opaque_at_once() {
    for byte in [0x00, b'{', b'a', b'"', 0x80, 0xff] {
        assert_eq!(detect(&[byte]), Detection::Opaque);
    }
}

#[test]
fn the_preface_is_known_with_its_last_byte_only() {
    assert_eq!(detect(&HTTP2_PREFACE[..23]), Detection::NeedMore);
    assert_eq!(detect(HTTP2_PREFACE), Detection::Http2);
}

/// Bytes that come near to something, as random ones hardly ever would.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    (select(STARTS), any::<prop::sample::Index>(), any::<Option<u8>>(), vec(any::<u8>(), 0..80)).prop_map(
        |((start, _), at, change, tail)| {
            let mut bytes = start.to_vec();
            if let Some(change) = change {
                let at = at.index(bytes.len());
                bytes[at] = change;
            }
            bytes.extend(tail);
            bytes
        },
    )
}

fn starts() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = b"GETPRICONNECT */ \r\nhttp://SM2.0[]\x16\x03\x01\x00".to_vec();
    prop_oneof![vec(any::<u8>(), 0..96), near_misses(), vec(select(alphabet), 0..96)]
}

proptest! {
    #[test]
    fn a_decision_is_never_taken_back(bytes in starts()) {
        let last = detect(&bytes);
        for end in 0..bytes.len() {
            let early = detect(&bytes[..end]);
            prop_assert!(early == Detection::NeedMore || early == last, "at {}: {:?}, then {:?}", end, early, last);
        }
    }

    #[test]
    fn enough_bytes_always_decide(bytes in starts()) {
        prop_assert!(bytes.len() < DETECT_BYTES_MAX || decided(&bytes));
    }

    #[test]
    fn every_token_method_before_a_path_is_http(method in "[A-Z0-9!#$%&'*+.^_`|~-]{1,24}", path in "/[!-~]{0,40}") {
        let line = format!("{method} {path} HTTP/1.1\r\n");
        prop_assert_eq!(detect(line.as_bytes()), Detection::Http1);
    }
}
