//! TLS with clients and with upstreams, spoken with curl, OpenSSL and Python, and what is not TLS or not in order.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/hostile.rs"]
mod hostile;
#[path = "tls/reload.rs"]
mod reload;
#[path = "tls/testssl.rs"]
mod testssl;
#[path = "tls/upstream.rs"]
mod upstream;

use certificates::{Authority, EXPIRED, VALID};
use clients::{Curl, s_client};
use spurline_tests::{Builder, Override, Recorder, Routes, Step, TestProxy};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";

/// A proxy whose only listener ends TLS.
fn terminating(recorder: &Recorder, more: &str, certificates: &[String]) -> Builder {
    let keys = format!("workload={WORKLOAD},port=8080,baseline={},tls=terminate{more}", recorder.address());
    certificates.iter().fold(TestProxy::build().listener("app", &keys), |builder, certificate| {
        builder.argument("--tls-certificate").argument(certificate)
    })
}

fn handshakes(proxy: &TestProxy, result: &str) -> f64 {
    proxy.metric("spurline_tls_handshakes_total", &[("result", result)])
}

#[test]
fn each_name_is_shown_its_certificate_and_requests_are_steered_inside() {
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork.address()]))
        .published();
    let authority = Authority::new("Shop");
    let certificates = [
        authority.server("a", &["a.example"], VALID).setting(""),
        authority.server("b", &["*.b.example"], VALID).setting(""),
        authority.server("c", &["c.example"], VALID).setting("other.example+c.example"),
    ];
    let proxy = terminating(&baseline, "", &certificates).routes(&routes).start();
    let curl = Curl::new(&authority, proxy.address());
    for name in ["a.example", "A.Example", "x.b.example", "c.example"] {
        assert!(curl.get(name, &[]).stdout.starts_with("baseline GET /"), "{name}");
        let keyed = curl.get(name, &["-H", &format!("sd-routing-key: {KEY}")]);
        assert!(keyed.stdout.starts_with("fork GET /"), "{name}: {keyed:?}");
    }
    for (version, host, is_served) in [
        ("--http2", "A.EXAMPLE:443", true),
        ("--http2", "y.b.example", true),
        ("--http2", "b.example", false),
        ("--http2", "elsewhere", false),
        ("--http1.1", "elsewhere", true),
    ] {
        let asked = curl.get("a.example", &[version, "-H", &format!("Host: {host}")]);
        let expected = if is_served { "baseline GET /" } else { "misdirected" };
        assert!(asked.stdout.starts_with(expected), "{version} {host}: {asked:?}");
    }
    // The certificate does not hold this name, so the client refuses; that it is shown is what is asked here.
    let shown = s_client(proxy.address(), &["-servername", "other.example"], "");
    assert!(shown.contains("DNS:c.example") || shown.contains("subject="), "{shown}");
    assert!(handshakes(&proxy, "full") >= 8.0);
    assert!(baseline.violations().is_empty(), "{:?}", baseline.violations());
}

#[test]
fn every_version_that_is_sane_is_spoken_and_no_other() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let proxy = terminating(&recorder, ",tls_unmatched=refuse", std::slice::from_ref(&certificate)).start();
    let ask = |proxy: &TestProxy, options: &[&str]| {
        let options = [&["-servername", "a.example"], options].concat();
        s_client(proxy.address(), &options, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    };
    let tls13 = ask(&proxy, &["-tls1_3", "-alpn", "http/1.1"]);
    assert!(tls13.contains("TLSv1.3") && tls13.contains("ALPN protocol: http/1.1"), "{tls13}");
    assert!(tls13.contains("one GET /"), "{tls13}");
    let tls12 = ask(&proxy, &["-tls1_2"]);
    assert!(tls12.contains("TLSv1.2") && tls12.contains("one GET /"), "{tls12}");
    assert!(ask(&proxy, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).contains("alert"));
    assert!(ask(&proxy, &["-tls1_2", "-cipher", "AES128-SHA"]).contains("alert handshake failure"));
    assert!(ask(&proxy, &["-alpn", "http/1.1,h2"]).contains("ALPN protocol: h2"));
    assert!(ask(&proxy, &["-alpn", "spdy/3"]).contains("no application protocol"));
    assert!(handshakes(&proxy, "incompatible") >= 2.0, "{:?}", proxy.metrics());
    let strict = terminating(&recorder, "", std::slice::from_ref(&certificate))
        .flag("--tls-min-version", "1.3")
        .start();
    assert!(ask(&strict, &["-tls1_2"]).contains("alert protocol version"));
    assert!(ask(&strict, &[]).contains("one GET /"));
    let http1 = terminating(&recorder, "", &[certificate]).argument("--http2=false").start();
    let agreed = ask(&http1, &["-alpn", "h2,http/1.1"]);
    assert!(agreed.contains("ALPN protocol: http/1.1") && agreed.contains("one GET /"), "{agreed}");
    assert!(ask(&http1, &["-alpn", "h2"]).contains("no application protocol"));
}

#[test]
fn a_session_is_resumed_in_either_version() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let proxy = terminating(&recorder, "", &[certificate]).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = authority.path(version);
        let session = session.to_str().unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let options = |what| [version, "-servername", "a.example", what, session];
        let first = s_client(proxy.address(), &options("-sess_out"), request);
        assert!(first.contains("New, TLSv1"), "{first}");
        let second = s_client(proxy.address(), &options("-sess_in"), request);
        assert!(second.contains("Reused, TLSv1"), "{version}: {second}");
    }
    assert!(handshakes(&proxy, "resumed") >= 2.0);
}

#[test]
fn what_there_is_no_certificate_for_passes_untouched_or_is_refused() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let files = authority.server("app", &["app.example"], VALID);
    let app = upstream::Server::start(&["-www"], &files);
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let builder = |more: &str| {
        let keys = format!("workload={WORKLOAD},port=8080,baseline={},tls=terminate{more}", app.address());
        TestProxy::build().listener("app", &keys).argument("--tls-certificate").argument(&certificate).start()
    };
    let passing = builder("");
    let through = Curl::new(&authority, passing.address()).get("app.example", &[]);
    assert!(through.stdout.contains("s_server"), "{through:?}");
    assert!(handshakes(&passing, "passed") >= 1.0);
    let refusing = builder(",tls_unmatched=refuse");
    for options in [&["-servername", "app.example"][..], &["-noservername"]] {
        let refused = s_client(refusing.address(), options, "");
        assert!(refused.contains("unrecognized name"), "{refused}");
    }
    assert!(handshakes(&refusing, "unrecognized-name") >= 2.0);
    // A certificate for every name is for clients that ask for none as well.
    let all = authority.server("all", &["any.example"], VALID).setting("*");
    let proxy = terminating(&recorder, ",role=gateway", &[all]).start();
    let got = Curl::new(&authority, proxy.address()).get("any.example", &[]);
    assert!(got.stdout.starts_with("one GET /"), "{got:?}");
    let nameless = s_client(proxy.address(), &["-noservername"], "");
    assert!(nameless.contains("BEGIN CERTIFICATE"), "{nameless}");
}

#[test]
fn a_client_needs_a_certificate_where_there_is_an_authority_for_them() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let stranger = Authority::new("Somebody");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let proxy = terminating(&recorder, "", &[certificate])
        .flag("--tls-client-ca-file", authority.ca().to_str().unwrap())
        .start();
    let curl = Curl::new(&authority, proxy.address());
    let with = |files: &certificates::Files| {
        let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
        curl.get("a.example", &["--cert", cert, "--key", key])
    };
    let good = with(&authority.client("good", VALID));
    assert!(good.stdout.starts_with("one GET /"), "{good:?}");
    let without = curl.get("a.example", &[]);
    assert!(without.stderr.contains("alert certificate required"), "{without:?}");
    let expired = with(&authority.client("expired", EXPIRED));
    assert!(expired.stderr.contains("alert certificate expired"), "{expired:?}");
    let unknown = with(&stranger.client("unknown", VALID));
    assert!(unknown.stderr.contains("alert unknown ca"), "{unknown:?}");
    let server = with(&authority.server("server", &["web.example"], VALID));
    assert_ne!(server.code, Some(0), "a server's certificate is none for a client: {server:?}");
    assert_eq!(handshakes(&proxy, "certificate"), 4.0, "{:?}", proxy.metrics());
    assert_eq!(recorder.requests().len(), 1);
}

#[test]
fn large_bodies_go_both_ways_and_a_slow_reader_gets_all_of_one() {
    const BYTES: usize = 4_000_000;
    let recorder = Recorder::scripted("one", |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        vec![Step::Body, Step::Send([head.into_bytes(), vec![b'd'; BYTES]].concat())]
    });
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let proxy = terminating(&recorder, "", &[certificate]).start();
    let upload = authority.path("upload");
    std::fs::write(&upload, vec![b'u'; BYTES]).unwrap();
    let options = ["-T", upload.to_str().unwrap(), "--limit-rate", "3M"];
    let got = Curl::new(&authority, proxy.address()).get("a.example", &options);
    assert_eq!((got.code, got.stdout.len()), (Some(0), BYTES), "{}", got.stderr);
    assert!(recorder.violations().is_empty(), "{:?}", recorder.violations());
}

#[test]
fn opaque_bytes_are_moved_inside_of_tls_as_well() {
    let recorder = Recorder::start("one");
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let keys = format!("protocol=tcp,baseline={},tls=terminate", recorder.address());
    let proxy = TestProxy::build()
        .listener("app", &keys)
        .argument("--tls-certificate")
        .argument(&certificate)
        .start();
    let got = Curl::new(&authority, proxy.address()).get("a.example", &["--no-alpn"]);
    assert!(got.stdout.starts_with("one GET /"), "{got:?}");
    assert!(proxy.metric("spurline_tunnels_total", &[("kind", "tcp")]) >= 1.0);
}

#[test]
fn a_start_with_files_that_are_not_in_order_says_which_and_why() {
    let authority = Authority::new("Shop");
    let good = authority.server("good", &["a.example"], VALID);
    let other = authority.server("other", &["a.example"], VALID);
    let expired = authority.server("expired", &["a.example"], EXPIRED);
    let nameless = authority.client("nameless", VALID);
    let text = authority.path("text.pem");
    std::fs::write(&text, "not a certificate").unwrap();
    let setting = |cert: &std::path::Path, key: &std::path::Path| {
        format!("--tls-certificate=cert={},key={}", cert.display(), key.display())
    };
    for (certificate, expected) in [
        (setting(&authority.path("missing.pem"), &good.key), "missing.pem: No such file"),
        (setting(&text, &good.key), "text.pem: no certificate in it"),
        (setting(&good.cert, &text), "text.pem: no private key in it"),
        (setting(&good.cert, &other.key), "other.key: not the key of"),
        (setting(&expired.cert, &expired.key), "expired.pem: expired"),
        (setting(&nameless.cert, &nameless.key), "nameless.pem: no DNS name in it"),
    ] {
        let listener = format!("--listener=name=a,listen=127.0.0.1:1,workload={WORKLOAD},tls=terminate");
        let told = TestProxy::command(&["--check", &listener, &certificate]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stderr.contains(expected) && told.stderr.contains("tls_certificate"), "{told:?}");
    }
}
