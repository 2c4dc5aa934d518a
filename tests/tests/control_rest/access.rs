//! Who may listen without authentication, and what tokens allow.

use super::*;

#[test]
fn without_authentication_only_loopback_is_listened_on() {
    for flag in ["--grpc-listen", "--rest-listen"] {
        let port = free_address().port();
        let done = Control::new().flag(flag, &format!("0.0.0.0:{port}")).run();
        assert_ne!(done.code, Some(0), "{flag}");
        assert!(done.code.is_some(), "{flag}: it ended by itself");
        assert!(done.stderr.contains("0.0.0.0"), "{flag}: {}", done.stderr);
        let text = done.stderr.to_lowercase();
        assert!(
            text.contains("loopback") || text.contains("tls") || text.contains("token"),
            "{flag}: {text}"
        );
    }
}

fn tokens() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("make a directory");
    let path = directory.path().join("tokens.json");
    let tokens = json!({ "tokens": [
        { "name": "all", "token": "token-of-all-0123456789abcdef", "scopes": ["read", "write"] },
        { "name": "reader", "token": "token-of-reader-0123456789abcdef", "scopes": ["read"] },
        { "name": "ci", "token": "token-of-ci-0123456789abcdef", "scopes": ["read", "write:sandbox/ci-"] },
    ] });
    std::fs::write(&path, tokens.to_string()).expect("write");
    let text = path.to_string_lossy().into_owned();
    (directory, text)
}

#[test]
fn a_token_may_do_what_its_scopes_say_and_nobody_else_anything() {
    let (_directory, path) = tokens();
    let control = Control::new().flag("--tokens-file", &path).start();
    let rest = control.rest();
    let put = |name: &str, token: &str| {
        let fields =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        status_of(&rest, "PUT", &format!("/v1/sandboxes/{name}"), &fields, &cart(name).text())
    };
    assert_eq!(put("alice", ""), 401);
    assert_eq!(put("alice", "guess"), 401);
    assert_eq!(put("alice", "token-of-reader-0123456789abcdef"), 403);
    assert_eq!(put("alice", "token-of-ci-0123456789abcdef"), 403);
    assert_eq!(put("ci-1", "token-of-ci-0123456789abcdef"), 201);
    assert_eq!(put("alice", "token-of-all-0123456789abcdef"), 201);
    let get = |fields: &str| rest.send("GET", "/v1/sandboxes", fields, "");
    let refused = get("");
    assert_eq!(refused.status, 401);
    assert!(
        refused.field("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
        "{refused:?}"
    );
    assert_eq!(get("Authorization: Bearer token-of-reader-0123456789abcdef\r\n").status, 200);
    assert_eq!(get("Authorization: Basic dG9rZW46\r\n").status, 401);
    assert!(Watch::open(rest.address(), "/v1/sandboxes?watch=true", "").is_err());
    let log = control.log();
    assert!(!log.contains("token-of-"), "a token is in the log:\n{log}");
}

#[test]
fn a_file_of_tokens_that_is_wrong_is_refused_at_the_start_without_quoting_it() {
    let (directory, path) = tokens();
    std::fs::write(
        &path,
        r#"{"tokens":[{"name":"x","token":"secret-secret-secret-secret","scopes":["fly"]}]}"#,
    )
    .expect("write");
    let done = Control::new().flag("--tokens-file", &path).run();
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains("fly") && done.stderr.contains("read"), "{}", done.stderr);
    assert!(!done.stderr.contains("secret-secret"), "{}", done.stderr);
    drop(directory);
}

#[test]
fn a_unix_socket_needs_no_authentication_and_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("make a directory");
    let socket = directory.path().join("grpc.sock");
    let description = Control::new().flag("--grpc-listen", &format!("unix:{}", socket.display()));
    let control = description.start_unready();
    let mode = eventually("the socket is there", || std::fs::metadata(&socket).ok()).permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
    eventually("REST answers", || control.rest().try_send("GET", "/v1/sandboxes", "", ""));
    let proxy = TestProxy::sidecar(CART, baseline.address())
        .flag("--control", &format!("unix:{}", socket.display()))
        .start();
    control.rest().put_programmed(&Document::sandbox("a").key("a").fork(CART, "f", &[fork.address()]));
    assert_eq!(proxy.get("/x", "sd-routing-key: a\r\n").field("x-backend"), Some("fork"));
    // A socket that a killed process left is no obstacle.
    let down = control.kill();
    let control = down.start_unready();
    eventually_within(DEADLINE, "it listens again", || {
        control.rest().try_send("GET", "/v1/sandboxes", "", "")
    });
    eventually("the proxy is back", || {
        (control.rest().get("/v1/sandboxes/a")["status"]["programmed"]["acknowledged"] == 1).then_some(())
    });
}
