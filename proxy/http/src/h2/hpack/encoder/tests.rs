use super::*;
use crate::{
    Limits,
    h2::{Decoder, Section},
};

fn trailers(fields: &[(&str, &str)]) -> Head {
    let mut head = Head::default();
    for (name, value) in fields {
        head.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

fn encoded(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode_trailers(&trailers(fields), &mut out);
    out
}

#[test]
fn what_repeats_becomes_one_octet() {
    let mut encoder = Encoder::new();
    // A name of the static table: seen, inserted, indexed. A new name is inserted at once.
    let fields = [("server", "spurline"), ("x-tenant", "acme")];
    let lengths: Vec<_> = (0..4).map(|_| encoded(&mut encoder, &fields).len()).collect();
    assert_eq!(lengths[2..], [2, 2], "{lengths:?}");
    assert_eq!(encoded(&mut encoder, &[("x-tenant", "acme")]), [0xbf]);
    // Any number of fields that come together: none keeps another out.
    let many: Vec<_> = (0..40).map(|at| (format!("x-{at}"), format!("v{at}"))).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let lengths: Vec<_> = (0..3).map(|_| encoded(&mut encoder, &many).len()).collect();
    assert_eq!(lengths[2], 40, "{lengths:?}");
}

#[test]
fn what_changes_each_time_evicts_nothing() {
    let mut encoder = Encoder::new();
    for _ in 0..2 {
        encoded(&mut encoder, &[("server", "spurline")]);
    }
    for at in 0..1000 {
        let id = format!("{at:032}");
        let fields = [("x-correlation-id", &*id), ("traceparent", &*id), ("etag", &*id), ("date", &*id)];
        encoded(&mut encoder, &fields);
    }
    // The two names that the static table has not were inserted after it.
    assert_eq!(encoded(&mut encoder, &[("server", "spurline")]), [0xc0]);
    let large = "x".repeat(2000);
    for _ in 0..5 {
        encoded(&mut encoder, &[("x-large", &large)]);
    }
    assert_eq!(encoded(&mut encoder, &[("server", "spurline")]), [0xc0]);
}

#[test]
fn secrets_are_never_indexed() {
    let mut encoder = Encoder::new();
    for _ in 0..3 {
        assert_eq!(encoded(&mut encoder, &[("authorization", "x")]), [0x1f, 0x08, 0x01, b'x']);
        assert_eq!(encoded(&mut encoder, &[("set-cookie", "x")]), [0x1f, 0x28, 0x01, b'x']);
        assert_eq!(encoded(&mut encoder, &[("cookie", "a=1")]), [0x1f, 0x11, 0x03, b'a', b'=', b'1']);
    }
    let long = "a=0123456789abcdefghijklmnopqrstuvwxyz";
    let lengths: Vec<_> = (0..3).map(|_| encoded(&mut encoder, &[("cookie", long)]).len()).collect();
    assert_eq!(lengths[2], 1, "{lengths:?}");
}

#[test]
fn a_field_that_came_never_indexed_goes_never_indexed() {
    let block = b"\x10\x08password\x06secret";
    let mut head = Head::default();
    Decoder::default().decode(block, Section::Trailers, &Limits::default(), &mut head).unwrap();
    let mut encoder = Encoder::new();
    for _ in 0..3 {
        let mut out = Vec::new();
        encoder.encode_trailers(&head, &mut out);
        assert_eq!(out.first(), Some(&0x10));
        assert!(out.ends_with(b"\x06secret"));
    }
    head.replace(0, b"another").unwrap();
    let mut out = Vec::new();
    encoder.encode_trailers(&head, &mut out);
    assert_eq!(out.first(), Some(&0x10), "an edit does not make it less of a secret");
}

#[test]
fn the_peer_is_told_of_every_size_that_matters() {
    let mut encoder = Encoder::new();
    let mut told = |sizes: &[u32]| {
        sizes.iter().for_each(|size| encoder.set_peer_table_bytes(*size));
        encoded(&mut encoder, &[])
    };
    assert_eq!(told(&[]), [0; 0]);
    // It may be larger than ours ever is.
    assert_eq!(told(&[65_536]), [0; 0]);
    assert_eq!(told(&[u32::MAX]), [0; 0]);
    // Smaller, then as before: the smallest counts, for it has evicted (RFC 7541 section 4.2).
    assert_eq!(told(&[0, 4096]), [0x20, 0x3f, 0xe1, 0x1f]);
    assert_eq!(told(&[100]), [0x3f, 69]);
    assert_eq!(told(&[100]), [0; 0]);
    assert_eq!(told(&[64, 50, 80]), [0x3f, 19, 0x3f, 49]);
    assert_eq!(told(&[u32::MAX]), [0x3f, 0xe1, 0x1f]);
    assert_eq!(told(&[0]), [0x20]);
}

#[test]
fn nothing_is_inserted_into_a_table_that_has_no_room() {
    let mut encoder = Encoder::new();
    encoder.set_peer_table_bytes(0);
    encoded(&mut encoder, &[]);
    for _ in 0..3 {
        assert_eq!(encoded(&mut encoder, &[("server", "x")]), [0x0f, 0x27, 0x01, b'x']);
        assert_eq!(encoded(&mut encoder, &[("q", "x")]).first(), Some(&0x00));
    }
}

#[test]
fn names_are_sent_in_lower_case() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
    for (sent, arrives) in [("X-Tenant", "x-tenant"), ("SERVER", "server"), ("x-tenant", "x-tenant")] {
        let mut head = Head::default();
        let block = encoded(&mut encoder, &[(sent, "Acme")]);
        decoder.decode(&block, Section::Trailers, &Limits::default(), &mut head).unwrap();
        assert!(head.pairs().eq([(arrives.as_bytes(), &b"Acme"[..])]), "{sent}");
    }
}
