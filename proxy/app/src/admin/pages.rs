//! The pages of the admin server. Errors and structured answers are JSON.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{QueryRejection, StringRejection},
    },
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing,
};
use serde_json::json;
use spurline_telemetry::metrics::CONTENT_TYPE as METRICS_CONTENT_TYPE;

use super::{
    AdminState, BODY_BYTES_MAX, browser,
    overrides::{Filter, Page},
};
use crate::readiness::State as ReadinessState;

/// Path, methods and meaning of every page, as `/` and the answer to an unknown path list them.
const PAGES: [(&str, &str, &str); 9] = [
    ("/healthz", "GET", "200 while the process runs"),
    ("/readyz", "GET", "200 when traffic is wanted, else 503 and what is awaited"),
    ("/metrics", "GET", "metrics in the OpenMetrics text format"),
    ("/config_dump", "GET", "the settings in force and where each came from, secrets redacted"),
    ("/routes", "GET", "the overrides in force; ?key= ?workload= ?limit= ?after="),
    ("/control", "GET", "the state of the connection to the control service"),
    ("/log_level", "GET, PUT", "the log level; PUT a new one as the body"),
    ("/drain", "POST", "stop taking traffic, finish what is in flight, exit"),
    ("/", "GET", "this list"),
];

type Shared = State<Arc<AdminState>>;

/// All pages, behind the checks of [`browser`].
pub(super) fn router(bound: SocketAddr, state: AdminState) -> Router {
    Router::new()
        .route("/", routing::get(index))
        .route("/healthz", routing::get(healthz))
        .route("/readyz", routing::get(readyz))
        .route("/metrics", routing::get(metrics))
        .route("/config_dump", routing::get(config_dump))
        .route("/routes", routing::get(routes))
        .route("/control", routing::get(control))
        .route("/log_level", routing::get(log_level).put(set_log_level))
        .route("/drain", routing::post(drain))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(bound, browser::refuse))
        .with_state(Arc::new(state))
}

/// An answer that says why not.
pub(super) fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn index() -> String {
    let mut text = String::from("spurline-proxy admin\n\n");
    for (path, methods, meaning) in PAGES {
        let _ = writeln!(text, "{methods:<9} {path:<13} {meaning}");
    }
    text
}

async fn healthz() -> Response {
    Json(json!({ "healthy": true })).into_response()
}

async fn readyz(State(state): Shared) -> Response {
    let (status, answer) = match state.readiness.state() {
        ReadinessState::Ready => (StatusCode::OK, json!({ "ready": true })),
        ReadinessState::Awaiting(parts) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false, "awaiting": parts }))
        }
        ReadinessState::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false, "draining": true }))
        }
    };
    (status, Json(answer)).into_response()
}

async fn metrics(State(state): Shared) -> Response {
    ([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], state.registry.render()).into_response()
}

async fn config_dump(State(state): Shared) -> Response {
    ([(CONTENT_TYPE, "application/json")], state.config_dump.clone()).into_response()
}

async fn routes(State(state): Shared, filter: Result<Query<Filter>, QueryRejection>) -> Response {
    match filter {
        Ok(Query(filter)) => match Page::read(&state.table.load(), &filter) {
            Ok(page) => Json(page).into_response(),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error),
        },
        Err(rejection) => refusal(rejection.status(), &rejection.body_text()),
    }
}

async fn control(State(state): Shared) -> Response {
    let Some(handle) = &state.control else { return Json(json!({ "enabled": false })).into_response() };
    let status = handle.read();
    let table = state.table.load();
    let last_rejection = status.last_rejection.map(|rejection| {
        json!({ "name": rejection.name, "reason": rejection.reason, "atUnixS": rejection.at_unix_s })
    });
    Json(json!({
        "enabled": true,
        "source": status.source.as_str(),
        "server": status.server,
        "connectedSinceUnixS": status.connected_since_unix_s,
        "lastContactUnixS": status.last_contact_unix_s,
        "lastUpdateUnixS": status.last_update_unix_s,
        "generation": table.generation(),
        "overrides": table.len(),
        "resources": status.resources,
        "lastRejection": last_rejection,
        "lastError": status.last_error,
        "snapshotSavedUnixS": status.snapshot_saved_unix_s,
    }))
    .into_response()
}

async fn log_level(State(state): Shared) -> Response {
    Json(json!({ "level": state.level.get() })).into_response()
}

async fn set_log_level(State(state): Shared, body: Result<String, StringRejection>) -> Response {
    let level = match body {
        Ok(level) => level,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    match state.level.set(level.trim()) {
        Ok(()) => {
            let level = state.level.get();
            tracing::info!(%level, "Log level changed");
            Json(json!({ "level": level })).into_response()
        }
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn drain(State(state): Shared) -> Response {
    tracing::info!("Drain requested");
    state.readiness.drain();
    (state.drain)();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response()
}

async fn not_found() -> Response {
    let pages = PAGES.map(|(path, ..)| path);
    (StatusCode::NOT_FOUND, Json(json!({ "error": "no such page", "pages": pages }))).into_response()
}

async fn method_not_allowed() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "the page does not have this method, see the Allow header")
}
