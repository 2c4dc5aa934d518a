//! Health, readiness and metrics. They name no document, key or proxy, so they need no authentication.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use spurline_hub::Hub;
use tokio::sync::watch;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const INDEX: &str =
    "/healthz  the process lives\n/readyz   proxies are answered\n/metrics  OpenMetrics text\n";

/// What the pages show.
#[derive(Clone)]
pub(super) struct Admin {
    hub: Hub,
    drain: watch::Receiver<bool>,
    registry: Arc<OnceLock<Registry>>,
}

// === impl Admin ===

impl Admin {
    pub(super) fn new(hub: Hub, drain: watch::Receiver<bool>) -> Self {
        Self { hub, drain, registry: Arc::default() }
    }

    /// Gives the metrics, once all of them are registered.
    pub(super) fn set_registry(&self, registry: Registry) {
        // Called once.
        let _first = self.registry.set(registry);
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(|| async { INDEX }))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    if *admin.drain.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match admin.hub.waiting_for() {
        none if none.is_empty() && admin.registry.get().is_some() => "ready\n".into_response(),
        awaited => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", awaited.join(", ")))
            .into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    // It waits for the locks of the hub, which is no reason to seem dead meanwhile.
    let written = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        admin.registry.get().map(|registry| encode(&mut text, registry).map(|()| text))
    });
    match written.await {
        Ok(Some(Ok(text))) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "still starting\n").into_response(),
        Ok(Some(Err(_))) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
