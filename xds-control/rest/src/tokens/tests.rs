use std::fs;

use super::*;

#[test]
fn a_token_is_found_by_itself_or_its_hash_and_nothing_else_is() {
    // Of "hashed-0123456789abcdef".
    let hash: String =
        Sha256::digest("hashed-0123456789abcdef").iter().map(|byte| format!("{byte:02x}")).collect();
    let tokens = load(&format!(
        r#"{{"tokens": [
            {{"name": "plain", "token": "plain-0123456789abcdef", "scopes": ["read"]}},
            {{"name": "hashed", "sha256": "{hash}", "scopes": ["write"]}}
        ]}}"#
    ))
    .unwrap();
    let name = |presented: &[u8]| tokens.find(presented).map(|token| token.name().to_string());
    assert_eq!(name(b"plain-0123456789abcdef").as_deref(), Some("plain"));
    assert_eq!(name(b"hashed-0123456789abcdef").as_deref(), Some("hashed"));
    for wrong in [&b""[..], b"plain-0123456789abcde", b"plain-0123456789abcdef0", hash.as_bytes()] {
        assert_eq!(name(wrong), None);
    }
}

#[test]
fn a_scope_reaches_its_kind_and_prefix_and_no_further() {
    let tokens = load(
        r#"{"tokens": [{"name": "ci", "token": "0123456789abcdef", "scopes": ["write:sandbox/ci-", "write:workload/shop/"]}]}"#,
    )
    .unwrap();
    let token = tokens.find(b"0123456789abcdef").unwrap();
    assert!(!token.may_read());
    assert!(token.may_write("sandbox", "ci-1") && token.may_write("workload", "shop/Deployment/cart"));
    assert!(!token.may_write("sandbox", "c") && !token.may_write("routegroup", "ci-1"));
}

#[test]
fn everything_wrong_with_a_file_is_told_at_once_and_no_token_is_quoted() {
    let text = load(
        r#"{"tokens": [
            {"name": "a b", "token": "short", "scopes": ["fly"]},
            {"name": "ok", "token": "secret-0123456789", "sha256": "00", "scopes": [], "color": 1},
            {"name": "twice", "token": "secret-0123456789", "scopes": ["read"]},
            {"name": "twice", "token": "other-secret-0123456789", "scopes": ["write:pod/x"]},
            7
        ]}"#,
    )
    .unwrap_err()
    .to_string();
    for wanted in [
        "/tokens/0/name",
        "/tokens/0/token",
        "/tokens/0/scopes/0",
        "/tokens/1:",
        "/tokens/1/scopes",
        "/tokens/1/color",
        "/tokens/3/scopes/0",
        "/tokens/3:",
        "/tokens/4:",
        "\"fly\"",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("secret") && !text.contains("short;"), "{text}");
}

#[test]
fn files_that_are_none_are_refused_without_a_panic() {
    for text in
        ["", "{", "[]", "{}", r#"{"tokens": []}"#, r#"{"tokens": 1}"#, r#"{"token": [], "tokens": [1]}"#]
    {
        assert!(load(text).is_err(), "{text}");
    }
    assert!(matches!(Tokens::load(Path::new("/nonexistent/tokens")), Err(TokensError::Unreadable { .. })));
}

#[test]
fn tokens_are_not_shown() {
    let tokens =
        load(r#"{"tokens": [{"name": "a", "token": "0123456789abcdef", "scopes": ["read"]}]}"#).unwrap();
    let text = format!("{tokens:?}");
    assert!(
        text.contains("\"a\"") && !text.contains("0123456789abcdef") && !text.contains("sha256"),
        "{text}"
    );
}

fn load(text: &str) -> Result<Tokens, TokensError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    fs::write(&path, text).unwrap();
    Tokens::load(&path)
}
