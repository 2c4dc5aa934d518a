//! TLS, client certificates, tokens and Unix sockets.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: SanType) -> (String, String) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

#[test]
fn rest_over_tls_wants_the_right_authority_and_a_token() {
    let folder = Folder::new();
    let (ours, theirs) = (authority(), authority());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let (ca, wrong_ca) = (folder.write("ca.crt", &ours.pem()), folder.write("wrong.crt", &theirs.pem()));
    let tokens = folder.write(
        "tokens.json",
        r#"{"tokens": [{"name": "ci", "token": "correct-horse-battery-staple-and-more", "scopes": ["read", "write"]}]}"#,
    );
    let token = folder.write("token", "correct-horse-battery-staple-and-more\n");
    let wrong_token = folder.write("wrong-token", "guess\n");
    let service = Service::start(&[
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
        &format!("--tokens-file={tokens}"),
    ])
    .ready();
    let server = service.rest("https");
    let list = |more: &[&str]| ask(&server, &[&["sandbox", "list"], more].concat());
    let (code, _, stderr) = list(&["--ca-file", &ca, "--token-file", &token]);
    assert_eq!(code, 0, "{stderr}\n{}", service.log());
    assert_eq!(list(&["--ca-file", &wrong_ca, "--token-file", &token]).0, 1);
    for more in [&["--ca-file", &ca][..], &["--ca-file", &ca, "--token-file", &wrong_token]] {
        let (code, _, stderr) = list(more);
        assert!(code == 1 && stderr.contains("401"), "{stderr}");
    }
    let plain = server.replace("https", "http");
    let (code, _, stderr) = ask(&plain, &["sandbox", "list"]);
    assert!(code == 1 && stderr.contains("does it want https?"), "{stderr}");
    assert!(!service.log().contains("correct-horse"));
}

#[test]
fn a_token_that_may_only_write_is_enough_to_apply() {
    let folder = Folder::new();
    let token = "correct-horse-battery-staple-and-more";
    let tokens =
        format!(r#"{{"tokens": [{{"name": "ci", "token": "{token}", "scopes": ["write:sandbox/ci-"]}}]}}"#);
    let service =
        Service::start(&[&format!("--tokens-file={}", folder.write("tokens.json", &tokens))]).ready();
    let (server, token) = (service.rest("http"), folder.write("token", token));
    let file = folder.write("a.yaml", &sandbox("ci-1", "a", 1));
    let apply = || ask(&server, &["sandbox", "apply", "-f", &file, "--token-file", &token]);
    assert_eq!(apply().1, "sandbox/ci-1 created\n");
    assert_eq!(apply().1, "sandbox/ci-1 written\n", "whether it changed is not for this token to see");
    let file = folder.write("b.yaml", &sandbox("alice", "a", 1));
    let (code, _, stderr) = ask(&server, &["sandbox", "apply", "-f", &file, "--token-file", &token]);
    assert!(code == 1 && stderr.contains("write:sandbox/"), "{stderr}");
}

#[test]
fn with_a_client_ca_clients_show_a_certificate_and_are_named_in_the_log() {
    let (folder, ours) = (Folder::new(), authority());
    let ca = folder.write("ca.crt", &ours.pem());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let service = Service::start(&[
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
        &format!("--rest-client-ca-file={ca}"),
    ])
    .ready();
    let server = service.rest("https");
    let (cert, key) = issue(&ours, SanType::URI("spiffe://spurline/ci".try_into().unwrap()));
    let (cert, key) = (folder.write("ci.crt", &cert), folder.write("ci.key", &key));
    let file = folder.write("a.yaml", &sandbox("alice", "a", 1));
    let apply = ["sandbox", "apply", "-f", &file, "--ca-file", &ca];
    assert_eq!(ask(&server, &apply).0, 1);
    let (code, _, stderr) = ask(&server, &[&apply[..], &["--cert-file", &cert, "--key-file", &key]].concat());
    assert_eq!(code, 0, "{stderr}");
    eventually("the write is logged", || service.log().contains("spiffe://spurline/ci").then_some(()));
}

#[test]
fn commands_work_over_a_unix_socket() {
    let folder = Folder::new();
    let server = format!("unix:{}", folder.path().join("s.sock").display());
    let mut service = Service::start(&[&format!("--rest-listen={server}")]).ready();
    let file = folder.write("a.yaml", &sandbox("alice", "a", 1));
    assert_eq!(ask(&server, &["sandbox", "apply", "-f", &file, "--wait"]).0, 0);
    assert!(ask(&server, &["sandbox", "get", "alice", "-o", "json"]).1.contains("\"alice\""));
    service.signal(Signal::TERM);
    assert_eq!(service.ended().code(), Some(0));
    let (code, _, stderr) = ask(&server, &["sandbox", "list"]);
    assert!(code == 1 && stderr.contains(&server), "{stderr}");
}

#[test]
fn a_unix_socket_beside_tls_is_in_clear_text() {
    let (folder, ours) = (Folder::new(), authority());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let server = format!("unix:{}", folder.path().join("s.sock").display());
    let _service = Service::start(&[
        &format!("--rest-listen={server}"),
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
    ])
    .ready();
    let (code, _, stderr) = ask(&server, &["sandbox", "list"]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn commands_tell_their_token_to_no_proxy_of_the_environment() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let token = folder.write("token", "0123456789abcdef");
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut command = control();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &url);
    }
    let arguments = ["sandbox", "list", "--server", &service.rest("http"), "--token-file", &token];
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(proxy.accept().is_err(), "nobody connected to the proxy");
}
