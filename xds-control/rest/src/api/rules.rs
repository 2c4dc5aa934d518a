//! The Routes API over HTTP, as existing clients know it: which sandbox takes what comes for a workload with a key.
//!
//! Parameters that are not known are ignored and empty ones filter nothing, for that is what those clients rely on.
//! Many of them never look at the status and take any JSON without rules for the news that there are none, upon which
//! baselines take what belongs to sandboxes: whatever goes wrong here is said in plain text. Port 0 stands for every
//! port that is not listed, as over gRPC.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use spurline_core::model::{Model, Rule, RuleFilter};
use spurline_route::{Endpoint, PortMatch, RoutingKey, Workload};

use super::Shared;
use crate::problem::Problem;

/// Where it is served.
pub(super) const PATH: &str = "/api/v1/workloads/routing-rules";

/// Rules that are written in one hold of the model's lock. More than this are sent piece by piece.
const RULES_AT_A_TIME: usize = 8192;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Filter {
    baseline_kind: String,
    baseline_namespace: String,
    baseline_name: String,
    routing_key: String,
    destination_sandbox_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleJson<'a> {
    routing_key: &'a str,
    baseline: BaselineJson<'a>,
    destination_sandbox: SandboxJson<'a>,
    mappings: Vec<MappingJson>,
}

#[derive(Serialize)]
struct BaselineJson<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct SandboxJson<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MappingJson {
    workload_port: u16,
    destinations: Vec<LocationJson>,
}

#[derive(Serialize)]
struct LocationJson {
    host: String,
    port: u16,
}

/// Where the next piece begins: after the rule for this key and workload.
type Cursor = Option<(RoutingKey, Workload)>;

enum Piece {
    First,
    After(Cursor),
    Over,
}

pub(super) async fn rules(
    State(app): State<Shared>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    if !*app.hub.ready().borrow() {
        let awaited = format!("still loading: {}", app.hub.waiting_for().join(", "));
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "loading", awaited).retry_after_s(1).in_words();
    }
    let filter = match filter {
        Ok(Query(filter)) => filter.read(),
        Err(rejection) => return rejection.into_response(),
    };
    let Some(filter) = filter else {
        // A key that nothing can have.
        return ([(CONTENT_TYPE, "application/json")], "{\"routingRules\":[]}").into_response();
    };
    let pieces = stream::unfold((app, filter, Piece::First), |(app, filter, piece)| async move {
        let (mut text, after) = match piece {
            Piece::First => ("{\"routingRules\":[".to_owned(), None),
            Piece::After(after) => (String::new(), after),
            Piece::Over => return None,
        };
        let is_first = after.is_none();
        let next = app.hub.model(|model| write(&mut text, model, &filter, (after, is_first)));
        let next = match next {
            Some(next) => Piece::After(Some(next)),
            None => {
                text.push_str("]}");
                Piece::Over
            }
        };
        Some((Ok::<Bytes, Infallible>(Bytes::from(text)), (app, filter, next)))
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

// === impl Filter ===

impl Filter {
    /// `None` if nothing can match it.
    fn read(self) -> Option<RuleFilter> {
        let given = |text: String| (!text.is_empty()).then_some(text);
        let routing_key = match given(self.routing_key) {
            Some(key) => Some(RoutingKey::parse(key.as_bytes()).ok()?),
            None => None,
        };
        Some(RuleFilter {
            routing_key,
            sandbox: given(self.destination_sandbox_name),
            namespace: given(self.baseline_namespace),
            kind: given(self.baseline_kind),
            name: given(self.baseline_name),
        })
    }
}

/// Appends rules, and says where to go on if there may be more.
fn write(
    text: &mut String,
    model: &Model,
    filter: &RuleFilter,
    (after, is_first): (Cursor, bool),
) -> Option<(RoutingKey, Workload)> {
    let mut count = 0;
    let after = after.as_ref().map(|(key, workload)| (*key, workload));
    for rule in model.rules_after(filter, after) {
        if count > 0 || !is_first {
            text.push(',');
        }
        // It is made of strings and numbers, so that it cannot fail.
        text.push_str(&serde_json::to_string(&json(&rule)).unwrap_or_default());
        count += 1;
        if count == RULES_AT_A_TIME {
            return Some((rule.key, rule.workload.clone()));
        }
    }
    None
}

fn json<'a>(rule: &'a Rule<'a>) -> RuleJson<'a> {
    let workload = rule.workload;
    RuleJson {
        routing_key: rule.key.as_str(),
        baseline: BaselineJson {
            kind: workload.kind(),
            namespace: workload.namespace(),
            name: workload.name(),
        },
        destination_sandbox: SandboxJson { name: rule.sandbox },
        mappings: rule.ports.iter().map(|(port, endpoints)| mapping(*port, endpoints)).collect(),
    }
}

fn mapping(port: PortMatch, endpoints: &[Endpoint]) -> MappingJson {
    let workload_port = match port {
        PortMatch::Port(port) => port,
        PortMatch::Any => 0,
    };
    let destinations = endpoints
        .iter()
        .map(|endpoint| LocationJson { host: endpoint.addr.ip().to_string(), port: endpoint.addr.port() })
        .collect();
    MappingJson { workload_port, destinations }
}
