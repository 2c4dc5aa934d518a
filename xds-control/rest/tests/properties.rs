//! What holds for all requests: the bodies of the fuzz targets, run on pieces of requests in any order.

#![allow(missing_debug_implementations, unreachable_pub, reason = "the bodies are a library elsewhere")]

use proptest::{collection::vec, prelude::*, sample::select};

#[path = "../../../tests/fuzz/src/rest.rs"]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a broken promise is meant to panic; the lint's exemption covers test functions only"
)]
mod bodies;

/// Pieces of requests and of their neighbourhood, so that generated requests are near to real ones.
const PIECES: &[&str] = &[
    "?",
    "&",
    "dryRun=true",
    "wait=programmed",
    "timeout=5ms",
    "limit=3",
    "after=a",
    "watch=true",
    "labelSelector=a%3Db,!c",
    "labelSelector=a!%3Db",
    "routingKey=k",
    "%",
    "%ff",
    "=",
    "/",
    "..",
    "/a",
    "\n",
    "\n",
    "\n\n",
    "if-match: *",
    "if-match: \"0000000000000001\"",
    "if-none-match: *",
    "if-none-match: W/\"1\", \"2\"",
    "last-event-id: 1",
    "content-type: application/json",
    "content-length: 5",
    "authorization: Bearer x",
    "accept: text/event-stream",
    "{\"spec\": {\"forks\": []}}",
    "{\"spec\": {\"sandboxes\": {\"names\": [\"a\"]}, \"ttl\": {\"after\": \"1h\"}}}",
    "{\"spec\": {\"ports\": {\"80\": [\"127.0.0.1:1\"]}}}",
    "{",
];

/// Pieces of a file of tokens.
const TOKENS: &[&str] = &[
    "{\"tokens\": [",
    "{\"name\": \"ci\"",
    ", \"token\": \"x\"",
    ", \"sha256\": \"0000000000000000000000000000000000000000000000000000000000000000\"",
    ", \"scopes\": [\"read\", \"write:sandbox/ci-\"]",
    ", \"scopes\": [\"a scope that is longer than a secret\"]",
    "},",
    "}",
    "]}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_and_every_refusal_says_why(
        choice in any::<[u8; 2]>(),
        pieces in vec(select(PIECES), 0..10),
    ) {
        bodies::api(&[&choice, pieces.concat().as_bytes()].concat());
    }

    #[test]
    fn a_file_of_tokens_gives_no_token_away(pieces in vec(select(TOKENS), 0..10)) {
        bodies::tokens(pieces.concat().as_bytes());
    }
}
