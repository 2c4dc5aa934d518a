//! Mistakes of users: what is wrong, where, and what is allowed.

use super::*;

fn problem(rest: &Rest, target: &str, body: &str) -> Value {
    let answer = rest.send("PUT", target, "", body);
    assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    let problem = json_of(&answer);
    for field in ["type", "title", "status", "detail"] {
        assert!(!problem[field].is_null(), "no {field}: {problem}");
    }
    problem
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("errors");
    errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect()
}

#[test]
fn every_fault_of_a_document_is_named_at_once_with_its_place_and_what_is_allowed() {
    let control = TestControl::start();
    let document = json!({
        "metadata": { "name": "alice", "labels": { "a b": "c" } },
        "spec": {
            "routingKey": "no key!",
            "ttl": { "after": "soon" },
            "forks": [
                { "workload": "cart", "ports": { "8080": ["127.0.0.1:1"] } },
                { "workload": CART, "ports": { "99999": ["127.0.0.1:1"] } },
                { "workload": "shop/Deployment/web", "onUnavailable": "Maybe", "ports": { "80": ["localhost:1"] } },
                { "workload": "shop/Deployment/db", "prots": {} },
            ],
        },
    });
    let problem = problem(&control.rest(), "/v1/sandboxes/alice", &document.to_string());
    let found = pointers(&problem);
    for wanted in [
        "/metadata/labels",
        "/spec/routingKey",
        "/spec/ttl/after",
        "/spec/forks/0/workload",
        "/spec/forks/1/ports",
        "/spec/forks/2/onUnavailable",
        "/spec/forks/2/ports/80",
        "/spec/forks/3",
    ] {
        assert!(found.iter().any(|pointer| pointer.starts_with(wanted)), "nothing at {wanted}: {problem:#}");
    }
    for error in problem["errors"].as_array().expect("errors") {
        assert!(!error["detail"].as_str().unwrap_or_default().is_empty(), "{error}");
        assert!(!error["allowed"].as_str().unwrap_or_default().is_empty(), "{error}");
    }
    let text = problem.to_string();
    assert!(text.contains("prots") && text.contains("ports"), "the nearest name is told: {text}");
    assert!(text.contains("Reject") && text.contains("Baseline"), "{text}");
}

#[test]
fn a_document_that_is_none_or_another_is_refused_with_a_word() {
    let control = TestControl::start();
    let rest = control.rest();
    let refused = |target: &str, body: &str| {
        let answer = rest.send("PUT", target, "", body);
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.status);
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{body}");
        json_of(&answer).to_string()
    };
    refused("/v1/sandboxes/alice", "");
    refused("/v1/sandboxes/alice", "{");
    refused("/v1/sandboxes/alice", "[]");
    refused("/v1/sandboxes/alice", "null");
    refused("/v1/sandboxes/alice", "\u{0}");
    let text = refused("/v1/sandboxes/alice", &cart("bob").text());
    assert!(text.contains("alice") && text.contains("bob"), "{text}");
    let text =
        refused("/v1/sandboxes/alice", r#"{"kind":"RouteGroup","metadata":{"name":"alice"},"spec":{}}"#);
    assert!(text.contains("Sandbox"), "{text}");
    refused("/v1/sandboxes/No_Name", &Document::sandbox("No_Name").text());
    refused("/v1/workloads/shop/Deployment/-", &Document::workload("shop/Deployment/-", &[]).text());
    let twice = cart("alice").fork(CART, "again", &[]);
    let text = refused("/v1/sandboxes/alice", &twice.text());
    assert!(text.contains(CART), "one fork for each workload: {text}");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    refused("/v1/sandboxes/alice", &deep);
    assert!(rest.sandboxes().is_empty());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let control = TestControl::start();
    let rest = control.rest();
    let large = format!("{{\"spec\": \"{}\"}}", "x".repeat(2 << 20));
    let answer = rest.try_send("PUT", "/v1/sandboxes/alice", "", &large);
    // The connection may be gone before all of it was sent.
    assert!(answer.is_none_or(|answer| answer.status == 413));
    let mut many = Document::sandbox("alice");
    for number in 0..1001 {
        many = many.fork(&format!("shop/Deployment/w{number}"), "fork", &[]);
    }
    let answer = rest.send("PUT", &many.target(), "", &many.text());
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("1000"), "{}", answer.text());
    assert!(control.resident_bytes() < 200 << 20);
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused_in_the_same_shape() {
    let control = TestControl::start();
    let rest = control.rest();
    for (method, target, status) in [
        ("GET", "/v1/nonsense", 404),
        ("GET", "/v1/sandboxes/nobody", 404),
        ("POST", "/v1/sandboxes/nobody/heartbeat", 404),
        ("PATCH", "/v1/sandboxes/alice", 405),
        ("POST", "/v1/sandboxes", 405),
        ("GET", "/v1/sandboxes/alice?nonsense=1", 400),
        ("PUT", "/v1/sandboxes/alice?wait=nonsense", 400),
        ("PUT", "/v1/sandboxes/alice?wait=programmed&timeout=never", 400),
    ] {
        let body = if method == "PUT" { cart("alice").text() } else { String::new() };
        let answer = rest.send(method, target, "", &body);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{method} {target}");
    }
}

#[test]
fn the_openapi_document_describes_every_path_that_is_served() {
    let control = TestControl::start();
    let document = control.rest().get("/openapi.json");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3."), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/v1/sandboxes",
        "/v1/sandboxes/{name}",
        "/v1/sandboxes/{name}/heartbeat",
        "/v1/routegroups",
        "/v1/routegroups/{name}",
        "/v1/workloads/{namespace}/{kind}/{name}",
        "/api/v1/workloads/routing-rules",
    ] {
        assert!(paths.contains_key(path), "{path} is not described: {:?}", paths.keys().collect::<Vec<_>>());
    }
    let text = document.to_string();
    for reference in
        text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().expect("a reference"))
    {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn a_web_page_changes_nothing() {
    let control = TestControl::start();
    let rest = control.rest();
    let body = cart("alice").text();
    let put = |fields: &str| status_of(&rest, "PUT", "/v1/sandboxes/alice", fields, &body);
    assert_eq!(put("Origin: http://evil.example\r\n"), 403);
    assert!(rest.sandboxes().is_empty());
    let mut client = spurline_tests::RawClient::connect(rest.address());
    let answer =
        client.exchange("GET /v1/sandboxes HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 403, "a name that suddenly resolves to this machine");
}
