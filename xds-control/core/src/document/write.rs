//! From documents to JSON, in one form.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use spurline_route::OnUnavailable;

use super::{
    API_VERSION, Baseline, ConflictRule, Document, Fork, Labels, Ports, RouteGroup, Sandbox, Ttl, grammar,
};

pub(super) fn to_json(document: &Document) -> Value {
    let spec = match document {
        Document::Sandbox(sandbox) => sandbox_spec(sandbox),
        Document::RouteGroup(group) => group_spec(group),
        Document::Workload(baseline) => baseline_spec(baseline),
    };
    let id = document.id();
    let mut metadata = Map::from_iter([("name".to_owned(), text(&id.name))]);
    if !document.labels().is_empty() {
        metadata.insert("labels".to_owned(), labels(document.labels()));
    }
    json!({ "apiVersion": API_VERSION, "kind": id.kind.as_str(), "metadata": metadata, "spec": spec })
}

fn sandbox_spec(sandbox: &Sandbox) -> Value {
    let Sandbox { name: _, labels: _, routing_key, ttl: ends, forks } = sandbox;
    let forks: Vec<Value> = forks.iter().map(fork).collect();
    fields([
        ("routingKey", routing_key.map(|key| key.as_str().into())),
        ("ttl", ttl(*ends)),
        ("forks", Some(forks.into())),
    ])
}

fn fork(fork: &Fork) -> Value {
    let Fork { workload, name, on_unavailable, ports: map } = fork;
    let on_unavailable = match on_unavailable {
        OnUnavailable::Reject => None,
        OnUnavailable::Baseline => Some("Baseline".into()),
    };
    fields([
        ("workload", Some(workload.as_str().into())),
        ("fork", name.as_ref().map(text)),
        ("onUnavailable", on_unavailable),
        ("ports", Some(ports(map))),
    ])
}

fn group_spec(group: &RouteGroup) -> Value {
    let RouteGroup { name: _, labels: _, routing_key, ttl: ends, names, match_labels, conflict } = group;
    let conflict = match conflict {
        ConflictRule::Oldest => None,
        ConflictRule::Newest => Some("Newest".into()),
        ConflictRule::Reject => Some("Reject".into()),
    };
    let names: Vec<Value> = names.iter().map(text).collect();
    let selector = || json!({ "matchLabels": labels(match_labels) });
    let sandboxes = fields([
        ("names", (!names.is_empty()).then(|| names.into())),
        ("selector", (!match_labels.is_empty()).then(selector)),
    ]);
    fields([
        ("routingKey", routing_key.map(|key| key.as_str().into())),
        ("sandboxes", Some(sandboxes)),
        ("conflict", conflict),
        ("ttl", ttl(*ends)),
    ])
}

fn baseline_spec(baseline: &Baseline) -> Value {
    let Baseline { workload: _, labels: _, hostname, app_protocol, ports: map } = baseline;
    fields([
        ("hostname", hostname.as_ref().map(text)),
        ("appProtocol", app_protocol.as_ref().map(text)),
        ("ports", Some(ports(map))),
    ])
}

fn ttl(ttl: Ttl) -> Option<Value> {
    let Ttl { after_s, idle_s } = ttl;
    let duration = |total_s: u64| grammar::duration(total_s).into();
    (!ttl.is_never()).then(|| fields([("after", after_s.map(duration)), ("idle", idle_s.map(duration))]))
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| (key.to_string(), text(value))).collect()
}

fn ports(ports: &Ports) -> Value {
    let addrs = |endpoints: &[spurline_route::Endpoint]| -> Value {
        endpoints.iter().map(|endpoint| Value::from(endpoint.addr.to_string())).collect()
    };
    ports.iter().map(|(port, endpoints)| (port.to_string(), addrs(endpoints))).collect()
}

fn text(text: &Arc<str>) -> Value {
    Value::from(text.as_ref())
}

/// The fields that have a value.
fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
