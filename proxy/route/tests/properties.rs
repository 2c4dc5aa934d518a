//! What holds for every head: the bodies of the fuzz targets, run on a small corpus and on generated heads.

#![allow(missing_debug_implementations, unreachable_pub, reason = "the bodies are a library elsewhere")]

use proptest::prelude::*;

#[path = "../../../tests/fuzz/src/route.rs"]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a broken promise is meant to panic; the lint's exemption covers test functions only"
)]
mod bodies;

/// Pieces of the grammar and of its neighbourhood, so that generated heads are near to real ones.
const PIECES: &[&str] = &[
    "sd-routing-key",
    "sd-sandbox",
    "sd-workspace",
    "k1",
    "k2",
    "k3v9m2x7q4ab",
    "=",
    "=k1",
    "=k2",
    ",",
    ";",
    ";p=1",
    " ",
    "\t",
    "a=1",
    "b=%20",
    "%",
    "%6b1",
    "%zz",
    "\"",
    "&",
    "?",
    "sd=k1",
    "sd",
    "\u{e9}",
    "1",
    ".",
    "--",
];

const NAMES: &[&str] = &[
    "baggage",
    "Baggage",
    "tracestate",
    "sd-routing-key",
    "SD-Routing-Key",
    "uberctx-sd-routing-key",
    "ot-baggage-sd-sandbox",
    "baggage-sd-workspace",
    "x-spurline-strict",
    "cookie",
    "accept",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => Just(b"a=1,".repeat(60)),
        1 => Just(vec![b'x'; 8150]),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn head() -> impl Strategy<Value = bodies::Head> {
    let key = proptest::sample::select(&["k1", "k2", "no key!"][..]).prop_map(|key| key.as_bytes().to_vec());
    let member =
        (proptest::sample::select(&["sd-routing-key=k1", "a=1,sd-routing-key=k2", "sd-sandbox=k3"][..]))
            .prop_map(|member| member.as_bytes().to_vec());
    let name = proptest::sample::select(NAMES).prop_map(|name| name.as_bytes().to_vec());
    proptest::collection::vec((name, prop_oneof![value(), key, member]), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_and_what_is_not_ours_is_kept(head in head()) {
        bodies::holds(&bodies::sidecar(), &head);
    }

    #[test]
    fn nothing_breaks_a_promise(data in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), value()]) {
        run_all(&data);
    }
}

#[test]
fn the_corpus_breaks_no_promise() {
    for text in [
        "",
        "\n",
        "shop.example.com /?sd=k1\nbaggage:sd-routing-key=k1\nBAGGAGE: a=1,,sd-sandbox=%6b2;p=\ncookie:sd=k1",
        "k1--web.preview.example.com /\nsd-routing-key:k1\nsd-routing-key:k2,k1\nuberctx-sd-routing-key:k1",
        "sd-routing-key=k1,sd-routing-key=k2;ttl=1, sd-workspace = k3 \na=1\nsd-routing-key",
        "{key}--*.preview.example.com\nK1--web.preview.example.com.:443",
        "/?sd=%6b1&sd&x=sd=2\nsd=k1; a=\"sd=k1\"\nsd=\"k2\"",
        "k3v9m2x7q4ab",
        "k.1.a.AAAA",
    ] {
        run_all(text.as_bytes());
    }
}

fn run_all(data: &[u8]) {
    bodies::baggage(data);
    bodies::tracestate(data);
    bodies::extract(data);
    bodies::propagate(data);
    bodies::token(data);
    bodies::host_pattern(data);
    bodies::cookie_query(data);
}
