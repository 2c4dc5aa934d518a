//! What holds for all header blocks: the bodies of the fuzz targets, run on generated blocks and on generated traffic.

#![allow(missing_debug_implementations, unreachable_pub, reason = "the bodies are a library elsewhere")]

use proptest::{collection::vec, prelude::*, sample::select};

#[path = "../../../tests/fuzz/src/hpack.rs"]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise is meant to panic; the lint's exemption covers test functions only"
)]
mod bodies;

/// Fields and what is near to them: representations of every kind, whole heads, and what is refused.
const PIECES: &[&[u8]] = &[
    b"\x82\x86\x84\x41\x01a",
    b"\x83\x87\x04\x02/x\x01\x03a.b",
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x88",
    b"\x48\x82\x64\x02",
    b"\x08\x03204",
    b"\x08\x03101",
    b"\x00\x09:protocol\x09websocket",
    b"\x02\x07CONNECT",
    b"\x40\x0acustom-key\x0dcustom-header",
    b"\x10\x08password\x06secret",
    b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
    b"\x58\x85\xae\xc3\x77\x1a\x4b",
    b"\x60\x03a=1",
    b"\x60\x03b=2",
    b"\x0f\x0d\x015",
    b"\x0f\x0d\x0205",
    b"\x66\x01a",
    b"\x66\x01A",
    b"\x66\x01b",
    b"\x54\x00",
    b"\x00\x02te\x08trailers",
    b"\x00\x02te\x04gzip",
    b"\x40\x0aconnection\x05close",
    b"\x40\x01X\x01y",
    b"\x40\x01x\x01\x0a",
    b"\x40\x01x\x02 y",
    b"\x40\x0bgrpc-status\x010",
    b"\x53\x0c100-continue",
    b"\xbe",
    b"\xbf",
    b"\xc0",
    b"\xff\x00",
    b"\x7f\x00\x01z",
    b"\x0f\x2f\x01z",
    b"\x20",
    b"\x3f\x21",
    b"\x3f\xe1\x1f",
    b"\x3f\xe2\x1f",
    b"\x80",
];

fn near_block() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        30 => select(PIECES).prop_map(<[u8]>::to_vec),
        4 => (0x82_u8..=0xc8).prop_map(|octet| vec![octet]),
        1 => vec(any::<u8>(), 0..5),
        1 => (1_usize..60).prop_map(|count| vec![0xbe; count]),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Several blocks of one connection, as the body of the fuzz target reads them.
fn near_connection() -> impl Strategy<Value = Vec<u8>> {
    let block = (0_u8..8, near_block()).prop_map(|(choice, mut block)| {
        block.truncate(255);
        [vec![choice, block.len() as u8], block].concat()
    });
    vec(block, 0..6).prop_map(|blocks| blocks.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_block_is_read_as_a_plain_decoder_reads_it(data in prop_oneof![near_connection(), vec(any::<u8>(), 0..200)]) {
        bodies::h2_hpack_decode(&data);
    }

    #[test]
    fn what_is_sent_reads_back_whatever_the_table_goes_through(data in vec(any::<u8>(), 0..600)) {
        bodies::h2_hpack_roundtrip(&data);
    }
}

/// The traffic that eviction is hardest on: many values that come again, while the peer changes its mind.
#[test]
fn a_long_connection_reads_back() {
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(60_000)
    .collect();
    bodies::h2_hpack_roundtrip(&data);
}
