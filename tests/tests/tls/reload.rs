//! Certificates that change while they are in use.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spurline_tests::{Recorder, TestProxy, eventually, run};

use crate::certificates::{Authority, EXPIRED, VALID, replace};
use crate::clients::s_client;
use crate::{handshakes, terminating};

fn reloads(proxy: &TestProxy, result: &str) -> f64 {
    proxy.metric("spurline_tls_reloads_total", &[("result", result)])
}

/// The serial number of the certificate that is shown.
fn shown(proxy: &TestProxy) -> String {
    let options = ["-servername", "a.example"];
    let text = s_client(proxy.address(), &options, "");
    let begin = text.find("-----BEGIN CERTIFICATE").expect("a certificate");
    let end = text.find("-----END CERTIFICATE").expect("a whole certificate");
    text[begin..end].to_owned()
}

#[test]
fn a_changed_certificate_is_taken_with_its_key_and_not_without() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let files = authority.server("a", &["a.example"], VALID);
    let proxy = terminating(&recorder, "", &[files.setting("")]).start();
    let first = shown(&proxy);
    // Its key comes later.
    let next = authority.server("next", &["a.example"], VALID);
    replace(&files.cert, &std::fs::read_to_string(&next.cert).unwrap());
    eventually("half of a pair is rejected", || (reloads(&proxy, "rejected") >= 1.0).then_some(()));
    assert_eq!(shown(&proxy), first);
    assert!(proxy.log().contains("not the key of"), "{}", proxy.log());
    replace(&files.key, &std::fs::read_to_string(&next.key).unwrap());
    eventually("the pair is taken", || (reloads(&proxy, "applied") >= 1.0).then_some(()));
    let second = shown(&proxy);
    assert_ne!(second, first);
    // One that has expired, and none at all.
    authority.server("a", &["a.example"], EXPIRED);
    eventually("an expired one is rejected", || (reloads(&proxy, "rejected") >= 2.0).then_some(()));
    std::fs::remove_file(&files.cert).unwrap();
    eventually("a missing one is rejected", || (reloads(&proxy, "rejected") >= 3.0).then_some(()));
    assert_eq!(shown(&proxy), second);
    assert!(proxy.metric("spurline_tls_certificate_expiry_seconds", &[]) > 4.0e9);
}

#[test]
fn no_request_fails_while_certificates_rotate_under_load() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let files = authority.server("a", &["a.example"], VALID);
    let proxy = terminating(&recorder, "", &[files.setting("")]).start();
    let address = proxy.address();
    let done = AtomicBool::new(false);
    let resolve = format!("a.example:{}:{}", address.port(), address.ip());
    let url = format!("https://a.example:{}/[1-10]", address.port());
    let ca = authority.ca();
    std::thread::scope(|scope| {
        let load = || {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 3 {
                let mut command = Command::new("curl");
                // Each URL on a connection of its own.
                command
                    .args(["-sSf", "--http1.1", "--max-time", "20", "-H", "Connection: close", "--cacert"])
                    .arg(&ca);
                command.args(["--resolve", &resolve, &url]);
                let done = run(command, Duration::from_secs(60));
                assert_eq!(done.code, Some(0), "{done:?}");
                rounds += 1;
            }
        };
        let loads = [scope.spawn(load), scope.spawn(load)];
        for turn in 1..=3 {
            authority.server("a", &["a.example"], VALID);
            eventually("the pair is taken", || (reloads(&proxy, "applied") >= f64::from(turn)).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
        loads.into_iter().for_each(|load| load.join().expect("no request fails"));
    });
    assert!(handshakes(&proxy, "full") + handshakes(&proxy, "resumed") >= 60.0, "{:?}", proxy.metrics());
    for result in ["certificate", "incompatible", "refused", "malformed", "timeout"] {
        assert_eq!(handshakes(&proxy, result), 0.0, "{result}");
    }
}
