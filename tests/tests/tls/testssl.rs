//! What testssl.sh finds: versions, ciphers, forward secrecy, and every known attack on TLS that it has a test for.

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use spurline_tests::{Recorder, run};

use crate::certificates::{Authority, VALID};
use crate::clients::s_client;
use crate::terminating;

/// It takes about a minute, most of which it waits.
const DEADLINE: Duration = Duration::from_secs(600);
/// One of each part that it was told to run.
const FOUND: [&str; 8] =
    ["SSLv3", "TLS1_3", "GREASE", "cipherlist_STRONG", "PFS", "cipher_order", "heartbleed", "LUCKY13"];
/// It looks for this with `openssl s_client` and sees nothing where that speaks TLS 1.3, so it is asked for here.
const ASKED_HERE: &str = "secure_renego";

#[derive(Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

#[test]
fn nothing_is_found_by_testssl() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["localhost"], VALID).setting("");
    let proxy = terminating(&recorder, ",protocol=http,tls_unmatched=refuse", &[certificate]).start();
    let report = authority.path("testssl.json");
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]);
    command.args(["--ip", &proxy.address().ip().to_string()]);
    command.args(["--protocols", "--grease", "--standard", "--pfs", "--server-preference", "--vulnerable"]);
    command.arg("--jsonfile").arg(&report).arg(format!("localhost:{}", proxy.address().port()));
    let finished = run(command, DEADLINE);
    let read = std::fs::read(&report).unwrap_or_else(|error| panic!("no report: {error}\n{finished:?}"));
    let findings: Vec<Finding> = serde_json::from_slice(&read).expect("a list of findings");
    for id in FOUND {
        assert!(findings.iter().any(|finding| finding.id == id), "nothing was said of {id}: {finished:?}");
    }
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.id != ASKED_HERE && !["OK", "INFO"].contains(&finding.severity.as_str()))
        .map(|finding| format!("{}: {}, {}", finding.id, finding.severity, finding.finding))
        .collect();
    assert_eq!(bad, [""; 0]);
    let asked = s_client(proxy.address(), &["-tls1_2", "-servername", "localhost"], "");
    assert!(asked.contains("Secure Renegotiation IS supported"), "{asked}");
    assert_eq!(recorder.violations(), [""; 0]);
}
