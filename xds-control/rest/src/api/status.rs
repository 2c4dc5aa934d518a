//! How the service is: what it holds, who is connected, whether writes become durable.

use std::time::UNIX_EPOCH;

use axum::{Json, extract::State, http::HeaderMap, response::IntoResponse};
use serde_json::{Map, Value, json};
use spurline_core::{catalog::ResourceType, document::Kind};
use spurline_hub::StreamStatus;

use super::{Shared, documents::accepts_json, query::Parameters, render};
use crate::problem::Outcome;

/// Proxies that are listed; `streams.count` has them all.
const STREAMS_MAX: usize = 100;

pub(super) async fn status(State(app): State<Shared>, parameters: Parameters, headers: HeaderMap) -> Outcome {
    accepts_json(&headers)?;
    parameters.check(&[])?;
    let documents = app.hub.model(|model| {
        json!({
            "sandboxes": model.list(Kind::Sandbox).count(),
            "routeGroups": model.list(Kind::RouteGroup).count(),
            "workloads": model.list(Kind::Workload).count(),
        })
    });
    let (revision, overrides) =
        app.hub.catalog(|catalog| (catalog.revision().0, catalog.len(ResourceType::Override)));
    let streams: Vec<Value> = app.hub.streams().list(STREAMS_MAX).into_iter().map(stream_json).collect();
    let waiting_for = app.hub.waiting_for();
    Ok(Json(json!({
        "version": app.settings.version,
        "ready": waiting_for.is_empty(),
        "waitingFor": waiting_for,
        "documents": documents,
        "overrides": overrides,
        "revision": {"catalog": revision, "published": app.hub.published().borrow().0},
        "streams": {"count": app.hub.streams().count(), "list": streams},
        "store": app.writer.health.json(),
    }))
    .into_response())
}

fn stream_json(stream: StreamStatus) -> Value {
    let StreamStatus { node, opened_at, subscriptions, acknowledged, rejections } = stream;
    let opened = opened_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let acknowledged: Map<String, Value> =
        acknowledged.into_iter().map(|(ty, revision)| (format!("{ty:?}"), revision.0.into())).collect();
    json!({
        "node": {"id": node.id, "cluster": node.cluster, "program": node.program},
        "openedAt": render::time(u64::try_from(opened.as_millis()).unwrap_or(u64::MAX)),
        "subscriptions": subscriptions,
        "acknowledged": acknowledged,
        "rejections": rejections.len(),
    })
}
