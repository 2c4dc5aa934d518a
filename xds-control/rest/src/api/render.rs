//! Documents as they are answered: as they were written, with a `status`.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use spurline_core::{
    document::{Document, Id},
    model::{Conflict, Origin, Status},
};
use spurline_hub::Programmed;

use super::App;
use crate::writer::{Meta, Written, fingerprint};

/// A document as it is by now.
pub(super) struct Current {
    pub(super) document: Value,
    pub(super) version: u64,
    origin: Origin,
    meta: Option<Meta>,
    status: Option<Status>,
}

// === impl Current ===

impl Current {
    /// Document, version and status that belong together; `None` if there is no such document.
    pub(super) fn of(app: &App, id: &Id) -> Option<Self> {
        app.writer.index.read(|entries| {
            app.hub.model(|model| {
                let record = model.get(id)?;
                let meta = entries.get(id).filter(|_| record.origin == Origin::Store).copied();
                Some(Self {
                    document: record.document.to_json(),
                    version: meta.map_or_else(|| fingerprint(&record.document), |meta| meta.version),
                    origin: record.origin,
                    meta,
                    status: model.status(id),
                })
            })
        })
    }

    /// The answer for it, with how far proxies have it.
    pub(super) fn into_json(self, programmed: &Programmed) -> Value {
        let Self { document, version: _, origin, meta, status } = self;
        with_status(document, status_json(origin, meta.as_ref(), status.as_ref(), Some(programmed)))
    }
}

/// A document that was judged and not written, with the status that it would have as far as keys decide it.
pub(super) fn dry_run(app: &App, written: &Written, typed: &Document) -> Value {
    let older = typed.routing_key().and_then(|key| {
        let age = (Origin::Store, written.meta.created_unix_ms);
        app.hub.model(|model| model.older_owner(&key, &typed.id(), age).cloned())
    });
    let status = Status {
        routing_key: typed.routing_key(),
        accepted: older.is_none(),
        conflicts: older.map(|with| Conflict::Key { with }).into_iter().collect(),
        conflicts_unlisted: 0,
        members: Vec::new(),
        resources: 0,
    };
    let mut json = status_json(Origin::Store, Some(&written.meta), Some(&status), None);
    if let Value::Object(json) = &mut json {
        // What is not known without doing it.
        json.remove("members");
        json.remove("resources");
    }
    with_status((*written.document).clone(), json)
}

fn with_status(mut document: Value, status: Value) -> Value {
    if let Value::Object(members) = &mut document {
        members.insert("status".to_owned(), status);
    }
    document
}

fn status_json(
    origin: Origin,
    meta: Option<&Meta>,
    status: Option<&Status>,
    programmed: Option<&Programmed>,
) -> Value {
    let mut json = Map::new();
    let mut set = |name: &str, value: Value| json.insert(name.to_owned(), value);
    if let Some(status) = status {
        if let Some(key) = status.routing_key {
            set("routingKey", json!(key.as_str()));
        }
        set("accepted", json!(status.accepted));
        set("conflicts", status.conflicts.iter().map(conflict).collect());
        if status.conflicts_unlisted > 0 {
            set("conflictsUnlisted", json!(status.conflicts_unlisted));
        }
        set("members", names(&status.members));
        set("resources", json!(status.resources));
    }
    if let Some(programmed) = programmed {
        set("programmed", programmed_json(programmed));
    }
    set("origin", json!(if origin == Origin::File { "File" } else { "Store" }));
    if let Some(meta) = meta {
        set("createdAt", json!(time(meta.created_unix_ms)));
        set("updatedAt", json!(time(meta.updated_unix_ms)));
        if let Some(ends) = meta.ends_unix_ms() {
            set("expiresAt", json!(time(ends)));
        }
    }
    Value::Object(json)
}

pub(super) fn programmed_json(programmed: &Programmed) -> Value {
    let rejected: Vec<Value> = programmed
        .rejected
        .iter()
        .map(|one| json!({"node": one.node, "resource": one.resource, "reason": one.reason}))
        .collect();
    json!({
        "acknowledged": programmed.acknowledged,
        "proxies": programmed.proxies,
        "rejected": rejected,
    })
}

fn conflict(conflict: &Conflict) -> Value {
    match conflict {
        Conflict::Key { with } => json!({
            "what": "an older document has the routing key",
            "with": {"kind": with.kind.as_str(), "name": *with.name},
        }),
        Conflict::Fork { workload, between, between_unlisted, winner } => json!({
            "what": "members fork the same workload",
            "workload": workload.as_str(),
            "between": names(between),
            "betweenUnlisted": between_unlisted,
            "winner": winner.as_deref(),
        }),
        Conflict::NoMember { name } => json!({
            "what": "there is no such sandbox, or it is not accepted",
            "with": {"kind": "Sandbox", "name": **name},
        }),
        Conflict::TooManyMembers { left_out } => json!({
            "what": "more members than a group may have; the oldest count",
            "leftOut": left_out,
        }),
    }
}

fn names(names: &[Arc<str>]) -> Value {
    names.iter().map(|name| Value::from(&**name)).collect()
}

/// RFC 3339, in UTC, with milliseconds. Days to a date after the proleptic Gregorian calendar.
pub(super) fn time(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
