use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, header},
};
use serde_json::{Value, json};
use spurline_core::{
    catalog::{Pattern, ResourceType},
    document::{self, Kind},
    model::{Edit, Origin, Record},
};
use spurline_hub::Debounce;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt as _;

use super::*;
use crate::store::Store;

mod access;
mod documents;
mod limits;
mod openapi;
mod rules;
mod watch;

/// The API without a socket, and the clock it goes by.
struct Service {
    router: Router,
    hub: Hub,
    _writer: Writer,
    clock: Arc<AtomicU64>,
    registry: Registry,
}

/// Whether a client says all that it announced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    All,
    Part,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Service {
    fn new() -> Self {
        Self::with(open_settings(), Store::in_memory())
    }

    fn with(settings: Settings, store: Store) -> Self {
        let (hub, _publisher) = Hub::new(Debounce::default());
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        let clock = Arc::clone(&now);
        let mut registry = Registry::default();
        let clock_fn: crate::Clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let writer = Writer::start(store, &hub, clock_fn, &mut registry).unwrap();
        let router = router(&writer, &hub, settings, &mut registry);
        Self { router, hub, _writer: writer, clock: now, registry }
    }

    async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn send(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self.call(request.body(Body::from(body.to_owned())).unwrap()).await;
        openapi::check(method, target, &answer);
        answer
    }

    async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    async fn put(&self, target: &str, document: &Value) -> Answer {
        self.send("PUT", target, &[("content-type", "application/json")], &document.to_string()).await
    }

    async fn put_sandbox(&self, name: &str) -> Answer {
        self.put(&format!("/v1/sandboxes/{name}"), &sandbox(name)).await
    }

    fn pass(&self, span: Duration) {
        self.clock.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Applies documents as a directory of files does.
    fn apply_file(&self, kind: Kind, document: &Value) {
        let document = document::read(document, Some(kind)).unwrap();
        let record = Record { document, origin: Origin::File, created_unix_ms: 0, expires_unix_s: None };
        self.hub.apply(vec![Edit::Put(record)]);
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem, which has to have the form of one.
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        problem
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json()
    }

    fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

fn open_settings() -> Settings {
    Settings {
        tokens: None,
        hosts: Hosts::Any,
        preconditions: Preconditions::Optional,
        file_of: Some(Arc::new(|id| Some(format!("{}.yaml", id.name)))),
        version: "test",
    }
}

fn sandbox(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"team": "checkout"}},
        "spec": {"forks": [{"workload": "shop/Deployment/cart", "ports": {"8080": ["127.0.0.1:9102"]}}]},
    })
}

/// Something that has to become so within some seconds.
async fn eventually<R>(what: &str, mut look: impl AsyncFnMut() -> Option<R>) -> R {
    for _ in 0..2000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn status_says_what_there_is_and_metrics_count_without_names() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let status = service.get("/v1/status").await.ok();
    assert_eq!(status["documents"]["sandboxes"], 1);
    assert_eq!(status["overrides"], 1);
    assert_eq!(status["store"]["durable"], false);
    assert_eq!(status["store"]["writable"], true);
    assert_eq!(status["version"], "test");
    let metrics = service.metrics();
    assert!(metrics.contains("spurline_control_store_documents 1"), "{metrics}");
    assert!(metrics.contains("spurline_control_rest_responses_total{"), "{metrics}");
    assert!(!metrics.contains("alice"), "{metrics}");
}

/// Over a real socket, where bodies break off and come slowly.
#[tokio::test]
async fn a_real_connection_is_served_and_a_body_that_breaks_off_changes_nothing() {
    let service = Service::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = service.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let exchange = async |head: &str, body: &str, sends: Sends| {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n{body}").as_bytes())
            .await
            .unwrap();
        if sends == Sends::Part {
            stream.shutdown().await.unwrap();
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    };
    let body = sandbox("alice").to_string();
    let half = format!("PUT /v1/sandboxes/alice HTTP/1.1\r\ncontent-length: {}", body.len());
    let text = exchange(&half, body.get(..20).unwrap(), Sends::Part).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    assert_eq!(service.get("/v1/sandboxes/alice").await.status, 404);
    let text = exchange(&half, &body, Sends::All).await;
    assert!(text.starts_with("HTTP/1.1 201"), "{text}");
    let text = exchange("HEAD /v1/sandboxes/alice HTTP/1.1", "", Sends::All).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "{text}");
    let too_long = "PUT /v1/sandboxes/alice HTTP/1.1\r\ncontent-length: 1048577";
    let text = exchange(too_long, "", Sends::All).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    server.abort();
}
