use super::*;
use crate::tokens::Tokens;

const ALL: (&str, &str) = ("authorization", "Bearer all-0123456789abcdef");
const READER: (&str, &str) = ("authorization", "bearer reader-0123456789abcdef");
const CI: (&str, &str) = ("authorization", "Bearer ci-0123456789abcdef");

fn service() -> Service {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let tokens = json!({"tokens": [
        {"name": "all", "token": "all-0123456789abcdef", "scopes": ["read", "write"]},
        {"name": "reader", "token": "reader-0123456789abcdef", "scopes": ["read"]},
        {"name": "ci", "token": "ci-0123456789abcdef", "scopes": ["write:sandbox/ci-"]},
    ]});
    std::fs::write(&path, tokens.to_string()).unwrap();
    let tokens = Some(Tokens::load(&path).unwrap());
    Service::with(Settings { tokens, ..open_settings() }, Store::in_memory())
}

#[tokio::test]
async fn nobody_without_a_token_learns_anything() {
    let service = service();
    for target in ["/v1/sandboxes", "/v1/sandboxes/a", "/v1/status", "/nonsense"] {
        let answer = service.get(target).await;
        answer.problem(401);
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    let rules = service.get("/api/v1/workloads/routing-rules").await;
    assert_eq!(
        (rules.status.as_u16(), rules.headers["content-type"].to_str().unwrap()),
        (401, "text/plain; charset=utf-8")
    );
    for wrong in ["Bearer all-0123456789abcde", "Basic YWxs", "Bearer", "all-0123456789abcdef", "Bearer "] {
        service.send("GET", "/v1/sandboxes", &[("authorization", wrong)], "").await.problem(401);
    }
    service.send("GET", "/v1/sandboxes", &[ALL, ALL], "").await.problem(401);
    assert_eq!(service.get("/openapi.json").await.status, 200, "what is public is public");
}

#[tokio::test]
async fn scopes_say_who_may_read_and_write_what() {
    let service = service();
    let put = async |name: &str, token| {
        let target = format!("/v1/sandboxes/{name}");
        service.send("PUT", &target, &[token], &sandbox(name).to_string()).await.status.as_u16()
    };
    assert_eq!(put("alice", READER).await, 403);
    assert_eq!(put("alice", CI).await, 403);
    assert_eq!(put("ci-1", CI).await, 201);
    assert_eq!(put("alice", ALL).await, 201);
    let status = async |method: &str, target: &str, token| {
        service.send(method, target, &[token], "").await.status.as_u16()
    };
    assert_eq!(status("GET", "/v1/sandboxes", READER).await, 200);
    assert_eq!(status("GET", "/v1/sandboxes", CI).await, 403);
    assert_eq!(status("GET", "/v1/sandboxes?watch=true", CI).await, 403);
    assert_eq!(status("DELETE", "/v1/sandboxes/alice", CI).await, 403);
    assert_eq!(status("POST", "/v1/sandboxes/alice/heartbeat", READER).await, 403);
    assert_eq!(status("POST", "/v1/sandboxes/ci-1/heartbeat", CI).await, 200);
    assert_eq!(status("DELETE", "/v1/routegroups/ci-1", CI).await, 403, "a scope is for one kind");
    assert_eq!(status("DELETE", "/v1/sandboxes/ci-1", CI).await, 204);
}

#[tokio::test]
async fn web_pages_reach_nothing_by_a_name_of_their_own_and_change_nothing() {
    let service = Service::with(Settings { hosts: Hosts::Direct, ..open_settings() }, Store::in_memory());
    let get =
        async |host: &str| service.send("GET", "/v1/sandboxes", &[("host", host)], "").await.status.as_u16();
    assert_eq!(get("evil.example").await, 403);
    assert_eq!(get("127.0.0.1:7778").await, 200);
    assert_eq!(get("localhost").await, 200);
    let origin = [("host", "localhost"), ("origin", "http://localhost:3000")];
    service.send("POST", "/v1/sandboxes/a/heartbeat", &origin, "").await.problem(403);
}

#[tokio::test]
async fn writes_can_be_made_to_say_which_version_they_mean() {
    let settings = Settings { preconditions: Preconditions::Required, ..open_settings() };
    let service = Service::with(settings, Store::in_memory());
    service.put_sandbox("alice").await.problem(428);
    let body = sandbox("alice").to_string();
    let created = service.send("PUT", "/v1/sandboxes/alice", &[("if-none-match", "*")], &body).await;
    assert_eq!(created.status, 201);
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await.problem(428);
    let deleted = service.send("DELETE", "/v1/sandboxes/alice", &[("if-match", &created.etag())], "").await;
    assert_eq!(deleted.status, 204);
}
