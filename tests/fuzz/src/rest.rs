//! What must hold for `spurline-rest`, whatever is asked of it.
//!
//! The API is asked as a client asks it, by requests and responses of HTTP, but without a socket and a disk.

use std::{
    fs, process,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use serde_json::Value;
use spurline_hub::{Debounce, Hub};
use spurline_rest::{Hosts, Preconditions, Settings, Store, Tokens, TokensError, Writer};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const METHODS: [&str; 6] = ["GET", "PUT", "DELETE", "POST", "HEAD", "PATCH"];
const PATHS: [&str; 10] = [
    "/v1/sandboxes",
    "/v1/sandboxes/a",
    "/v1/sandboxes/a/heartbeat",
    "/v1/routegroups",
    "/v1/routegroups/g",
    "/v1/workloads",
    "/v1/workloads/shop/Deployment/cart",
    "/v1/status",
    "/api/v1/workloads/routing-rules",
    "",
];
/// No word of a message is one.
const SECRET: &str = "Hemmelighed.0123456789";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts")
});
static SERVICE: LazyLock<Service> = LazyLock::new(Service::start);

struct Service {
    router: Router,
    _writer: Writer,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Two bytes choose the method and the path. Up to the first line's end there is what follows the path, then header
/// fields up to an empty line, then the body.
pub fn api(data: &[u8]) {
    let [method, path, rest @ ..] = data else { return };
    let method = METHODS[usize::from(*method) % METHODS.len()];
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let (target, rest) = split(rest, b"\n");
    let (head, body) = split(rest, b"\n\n");
    let Ok(target) = str::from_utf8(target) else { return };
    // Names that anybody can choose would fill the memory in time.
    let target = if method == "PUT" { format!("{path}?{target}") } else { format!("{path}{target}") };
    let mut request = Request::builder().method(method).uri(&target);
    for line in head.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let (name, value) = split(line, b":");
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let Some(answer) = RUNTIME.block_on(SERVICE.call(request)) else { return };
    check(&answer, method);
    if method == "GET"
        && answer.status == StatusCode::OK
        && let Some(tag) = answer.headers.get(header::ETAG)
    {
        let again = Request::get(&target).header(header::IF_NONE_MATCH, tag).body(Body::empty());
        let again = RUNTIME.block_on(SERVICE.call(again.expect("it was a request before")));
        assert!(again.is_some_and(|again| again.status == StatusCode::NOT_MODIFIED), "{target}");
    }
}

/// The data is a file of tokens; every token in it is the same secret.
pub fn tokens(data: &[u8]) {
    let text = match serde_json::from_slice::<Value>(data) {
        Ok(mut value) => {
            hide(&mut value);
            value.to_string().into_bytes()
        }
        Err(_) => data.to_vec(),
    };
    let path = std::env::temp_dir().join(format!("spurline-fuzz-tokens-{}", process::id()));
    fs::write(&path, &text).expect("the file is written");
    match Tokens::load(&path) {
        Ok(tokens) => assert!(tokens.count() > 0),
        Err(error) => {
            assert!(!error.to_string().contains(SECRET), "{error}");
            if let TokensError::Faults { faults, .. } = error {
                assert!(!faults.is_empty());
            }
        }
    }
    fs::remove_file(&path).expect("the file is removed");
}

impl Service {
    fn start() -> Self {
        let (hub, _) = Hub::new(Debounce::default());
        let clock: spurline_rest::Clock = Arc::new(|| 1_800_000_000_000);
        let mut registry = Default::default();
        let writer = Writer::start(Store::in_memory(), &hub, clock, &mut registry).expect("a writer starts");
        let settings = Settings {
            tokens: None,
            hosts: Hosts::Any,
            preconditions: Preconditions::Optional,
            file_of: None,
            version: "0",
        };
        Self { router: spurline_rest::router(&writer, &hub, settings, &mut registry), _writer: writer }
    }

    /// `None`: a watch, which would not end.
    async fn call(&self, request: Request<Body>) -> Option<Answer> {
        let response = self.router.clone().oneshot(request).await.expect("a router is infallible");
        let (parts, body) = response.into_parts();
        if parts.headers.get(header::CONTENT_TYPE).is_some_and(|of| of == "text/event-stream") {
            return None;
        }
        let body = to_bytes(body, usize::MAX).await.expect("the body ends").to_vec();
        Some(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// An answer says what is wrong, and it is never the service.
fn check(answer: &Answer, method: &str) {
    let Answer { status, headers, body } = answer;
    assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(body));
    if method == "HEAD" || body.is_empty() {
        assert!(!status.is_client_error() || method == "HEAD", "{status} without a reason");
        return;
    }
    let value: Value = serde_json::from_slice(body).expect("every answer is JSON");
    if status.is_client_error() {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|of| of.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"));
        assert_eq!(value["status"], status.as_u16());
        assert!(value["title"].as_str().is_some_and(|title| !title.is_empty()), "{value}");
    } else {
        assert!(status.is_success() || *status == StatusCode::NOT_MODIFIED, "{status}");
    }
}

/// Puts the secret in the place of every token, and where a scope should stand that is long enough to be one.
fn hide(value: &mut Value) {
    let Some(list) = value.get_mut("tokens").and_then(Value::as_array_mut) else { return };
    for entry in list {
        if let Some(token) = entry.get_mut("token") {
            *token = SECRET.into();
        }
        for scope in entry.get_mut("scopes").and_then(Value::as_array_mut).into_iter().flatten() {
            if scope.as_str().is_some_and(|text| text.len() > SECRET.len()) {
                *scope = SECRET.into();
            }
        }
    }
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let place = bytes.windows(at.len()).position(|window| window == at);
    place.map_or((bytes, &[]), |place| (&bytes[..place], &bytes[place + at.len()..]))
}
