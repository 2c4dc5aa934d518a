//! Documents as they change, as server-sent events.
//!
//! ```text
//! event: put      data: a document, with its status by now; at first all of them, unless the client goes on
//! event: delete   data: {"kind": …, "metadata": {"name": …}}
//! event: synced   data: {"resumed": …}; the client has everything. If not resumed, what it knew from earlier watches
//!                 and was not put in this one is gone
//! event: cut      data: {"reason": …}; the watch ends
//! ```
//!
//! `put` and `delete` say what is so, not what happened: several changes of a document may arrive as one, and the same
//! state may arrive twice. Events have an `id` except while everything is listed; sent back as `Last-Event-ID` the
//! watch goes on from there, or lists everything if that is no longer possible. Nothing is kept for a watcher but a
//! number: who reads too slowly for the events that are remembered is cut.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::IntoResponse,
};
use futures_util::stream;
use serde_json::{Value, json};
use spurline_core::document::{Id, Kind};
use tokio::{
    sync::{OwnedSemaphorePermit, watch::Receiver},
    time::{Instant, timeout_at},
};

use super::{Shared, documents::accepts, guard, list, query::Selector, render::Current};
use crate::{
    feed::{Event, Happened},
    metrics::Limit,
    problem::Outcome,
};

/// A comment is sent after this long without an event, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A watch ends after this long; by then a token may have been taken away. The client goes on with `Last-Event-ID`.
const WATCH_AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Events that are looked up at a time.
const EVENTS_AT_A_TIME: usize = 64;
/// Documents that are sent in one piece at least, unless they are long.
const PIECE_BYTES: usize = 64 * 1024;

struct Watch {
    app: Shared,
    kind: Kind,
    selector: Selector,
    phase: Phase,
    /// The newest event that the client knows.
    cursor: u64,
    latest: Receiver<u64>,
    stopped: Receiver<bool>,
    ends: Instant,
    _open: Open,
}

enum Phase {
    /// Everything there is, after this name.
    Listing {
        todo: Vec<Id>,
        after: Option<Id>,
    },
    /// What happened since the client was here last, up to this event.
    CatchingUp {
        upto: u64,
    },
    Synced {
        resumed: bool,
    },
    Following,
    Over,
}

/// Counts as open for as long as it lives.
struct Open {
    app: Shared,
    _permit: OwnedSemaphorePermit,
}

pub(super) fn watch(app: Shared, kind: Kind, selector: Selector, headers: &HeaderMap) -> Outcome {
    accepts(headers, &["text/event-stream", "text/*", "*/*"])?;
    let permit = guard::permit(&app, &app.watches, Limit::Watchers)?;
    app.metrics.watchers.inc();
    let open = Open { app: app.clone(), _permit: permit };
    let latest = app.writer.feed.latest();
    // Read before the list is, so that what changes meanwhile comes after it.
    let newest = *latest.borrow();
    let known = headers
        .get("last-event-id")
        .and_then(|id| parse_id(id, app.writer.feed.epoch()))
        .filter(|cursor| *cursor <= newest && app.writer.feed.after(*cursor, 0).is_ok());
    let watch = Watch {
        kind,
        selector,
        phase: match known {
            Some(_) => Phase::CatchingUp { upto: newest },
            None => Phase::Listing { todo: Vec::new(), after: None },
        },
        cursor: known.unwrap_or(newest),
        latest,
        stopped: app.hub.stopped(),
        ends: Instant::now() + WATCH_AGE_MAX,
        app,
        _open: open,
    };
    let pieces = stream::unfold(watch, |mut watch| async move {
        let piece = watch.next().await?;
        Some((Ok::<Bytes, Infallible>(Bytes::from(piece)), watch))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

// === impl Watch ===

impl Watch {
    /// The next piece of the response; it is asked for when the client has taken the one before.
    async fn next(&mut self) -> Option<String> {
        let mut piece = String::new();
        while piece.is_empty() {
            match self.phase {
                Phase::Listing { .. } => self.list(&mut piece),
                Phase::CatchingUp { upto } => self.catch_up(&mut piece, upto),
                Phase::Synced { resumed } => {
                    self.phase = Phase::Following;
                    event(&mut piece, "synced", Some(self.id(self.cursor)), &json!({"resumed": resumed}));
                }
                Phase::Following => self.follow(&mut piece).await,
                Phase::Over => return None,
            }
        }
        Some(piece)
    }

    fn list(&mut self, piece: &mut String) {
        while piece.len() < PIECE_BYTES {
            let Phase::Listing { todo, after } = &mut self.phase else { return };
            if let Some(id) = todo.pop() {
                if let Some(json) = self.document(&id) {
                    event(piece, "put", None, &json);
                }
                continue;
            }
            let from = after.take();
            let (mut names, last) =
                self.app.hub.model(|model| list::names(model, self.kind, &self.selector, from.as_ref()));
            names.reverse();
            self.phase = match last {
                Some(last) => Phase::Listing { todo: names, after: Some(last) },
                None => Phase::Synced { resumed: false },
            };
        }
    }

    fn catch_up(&mut self, piece: &mut String, upto: u64) {
        if self.cursor >= upto {
            self.phase = Phase::Synced { resumed: true };
        } else if !self.tell_some(piece) {
            // The last numbers belonged to no event.
            self.cursor = upto;
        }
    }

    /// Waits for events and sends what became of their documents.
    async fn follow(&mut self, piece: &mut String) {
        if *self.stopped.borrow() {
            return self.cut(piece, "the service is stopping");
        }
        if Instant::now() >= self.ends {
            return self.cut(piece, "the watch has lasted long enough; go on with Last-Event-ID");
        }
        self.latest.mark_unchanged();
        if self.tell_some(piece) {
            return;
        }
        let changed = async {
            tokio::select! {
                _ = self.latest.changed() => {}
                _ = self.stopped.changed() => {}
            }
        };
        if timeout_at(self.ends.min(Instant::now() + KEEP_ALIVE), changed).await.is_err() {
            piece.push_str(":\n\n");
        }
    }

    /// Sends what became of the next few documents, and says whether there were any, or the watch was cut.
    fn tell_some(&mut self, piece: &mut String) -> bool {
        let Ok(events) = self.app.writer.feed.after(self.cursor, EVENTS_AT_A_TIME) else {
            self.app.metrics.watchers_cut.inc();
            self.cut(piece, "events were read too slowly and some are no longer known; start over");
            return true;
        };
        for event in &events {
            self.tell(piece, event);
        }
        !events.is_empty()
    }

    fn tell(&mut self, piece: &mut String, happened: &Event) {
        self.cursor = happened.sequence;
        if happened.id.kind != self.kind {
            return;
        }
        let id = self.id(happened.sequence);
        let now = self.app.hub.model(|model| {
            model.get(&happened.id).map(|record| self.selector.matches(record.document.labels()))
        });
        match (happened.happened, now) {
            (Happened::Put, Some(true)) => {
                if let Some(json) = self.document(&happened.id) {
                    event(piece, "put", Some(id), &json);
                }
            }
            // It may have been among those that were sent before.
            (Happened::Put, Some(false)) | (Happened::Deleted, None) => {
                event(piece, "delete", Some(id), &gone(&happened.id));
            }
            // Another event follows that says what became of it; or a file hides what was deleted.
            (Happened::Put, None) | (Happened::Deleted, Some(_)) => {}
        }
    }

    fn cut(&mut self, piece: &mut String, reason: &str) {
        self.phase = Phase::Over;
        event(piece, "cut", None, &json!({"reason": reason}));
    }

    fn document(&self, id: &Id) -> Option<Value> {
        let current = Current::of(&self.app, id)?;
        Some(current.into_json(&self.app.hub.programmed(id)))
    }

    fn id(&self, sequence: u64) -> String {
        format!("{:x}-{sequence:x}", self.app.writer.feed.epoch())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.metrics.watchers.dec();
    }
}

fn gone(id: &Id) -> Value {
    json!({"kind": id.kind.as_str(), "metadata": {"name": *id.name}})
}

/// One event. JSON in one line has no line break of its own.
fn event(piece: &mut String, name: &str, id: Option<String>, data: &Value) {
    if let Some(id) = id {
        piece.push_str("id: ");
        piece.push_str(&id);
        piece.push('\n');
    }
    piece.push_str("event: ");
    piece.push_str(name);
    piece.push_str("\ndata: ");
    piece.push_str(&data.to_string());
    piece.push_str("\n\n");
}

/// The number of an event of this run of the process. Anything else is an id of another run, or of nobody.
fn parse_id(value: &HeaderValue, epoch: u64) -> Option<u64> {
    let (run, sequence) = value.to_str().ok()?.split_once('-')?;
    let run = u64::from_str_radix(run, 16).ok()?;
    let sequence = u64::from_str_radix(sequence, 16).ok()?;
    (run == epoch).then_some(sequence)
}
