//! All documents of a kind, page by page.

use axum::{Json, extract::State, http::HeaderMap, response::IntoResponse};
use serde_json::{Value, json};
use spurline_core::{
    document::{API_VERSION, Id, Kind},
    model::Model,
};

use super::{
    App, Shared,
    documents::accepts_json,
    query::{Parameters, Selector},
    render::Current,
    target::Collection,
    watch,
};
use crate::problem::Outcome;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 500;
/// A page ends early when its documents have this many bytes together as JSON, for documents can be long.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Documents that are looked at in one hold of the model's lock.
const LOOK_MAX: usize = 512;

pub(super) async fn list(
    State(app): State<Shared>,
    Collection(kind): Collection,
    parameters: Parameters,
    headers: HeaderMap,
) -> Outcome {
    parameters.check(&["limit", "after", "labelSelector", "watch"])?;
    let selector = parameters.selector()?;
    if parameters.flag("watch")? {
        return watch::watch(app, kind, selector, &headers);
    }
    accepts_json(&headers)?;
    let limit = parameters.number("limit", (LIMIT_DEFAULT, 1, LIMIT_MAX), "1 to 500")?;
    let (items, next) = page(&app, kind, &selector, (parameters.get("after"), limit));
    Ok(Json(json!({
        "apiVersion": API_VERSION,
        "kind": format!("{kind}List"),
        "items": items,
        "next": next,
    }))
    .into_response())
}

/// Documents after a name, and the name to go on after if there may be more.
fn page(
    app: &App,
    kind: Kind,
    selector: &Selector,
    (after, limit): (Option<&str>, usize),
) -> (Vec<Value>, Option<String>) {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut after = after.map(|name| Id::new(kind, name));
    loop {
        let (ids, last) = app.hub.model(|model| names(model, kind, selector, after.as_ref()));
        for id in ids {
            // It may have gone since.
            let Some(current) = Current::of(app, &id) else { continue };
            let programmed = app.hub.programmed(&id);
            let json = current.into_json(&programmed);
            bytes += json.to_string().len();
            items.push(json);
            if items.len() >= limit || bytes >= PAGE_BYTES {
                return (items, Some(id.name.to_string()));
            }
        }
        if last.is_none() {
            return (items, None);
        }
        after = last;
    }
}

/// The names of the next documents that `selector` matches, and the last one looked at unless none was left.
pub(super) fn names(
    model: &Model,
    kind: Kind,
    selector: &Selector,
    after: Option<&Id>,
) -> (Vec<Id>, Option<Id>) {
    let first = Id::new(kind, "");
    let mut last = None;
    let mut found = Vec::new();
    for record in model.list_after(after.unwrap_or(&first)).take(LOOK_MAX) {
        let id = record.document.id();
        if selector.matches(record.document.labels()) {
            found.push(id.clone());
        }
        last = Some(id);
    }
    (found, last)
}
