//! What holds for all text: the body of the fuzz target, run on pieces of documents in any order.

#![allow(missing_debug_implementations, unreachable_pub, reason = "the bodies are a library elsewhere")]

use proptest::{collection::vec, prelude::*, sample::select};

#[path = "../../../tests/fuzz/src/source.rs"]
#[expect(
    clippy::expect_used,
    reason = "a broken promise is meant to panic; the lint's exemption covers test functions only"
)]
mod bodies;

/// Pieces of files and of their neighbourhood, so that generated files are near to real ones.
const PIECES: &[&str] = &[
    "kind: Sandbox\n",
    "kind: Workload\n",
    "metadata: { name: a }\n",
    "metadata: {name: \"s/D/x\", labels: {a: yes}}\n",
    "spec:\n  forks: []\n",
    "spec: {forks: [{workload: s/D/x, ports: {8080: [\"127.0.0.1:1\"]}}]}\n",
    "spec: { ports: { \"*\": [ 127.0.0.1:1 ] } }\n",
    "  routingKey: 12e4\n",
    "  ttl: {after: 1h}\n",
    "---\n",
    "...\n",
    "# comment\n",
    "- ",
    "? ",
    ": ",
    "&a ",
    "*a ",
    "<<: ",
    "!!str ",
    "|\n",
    ">-\n ",
    "%YAML 1.2\n",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "  ",
    "~",
    "0x1f",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\u{e9}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn faults_and_documents_have_lines_of_their_file(pieces in vec(select(PIECES), 0..16)) {
        bodies::text(pieces.concat().as_bytes());
    }
}
