//! The document in the body of a request: how long it may be and take, what it may be, and which one it has to be.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    },
};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use spurline_core::document::{self, DOCUMENT_BYTES_MAX, Document, Fault, Id};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{App, clipped, unique::Unique};
use crate::{metrics::Limit, problem::Problem};

/// How long a client may take to send a document.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the document that the path calls `id`. What the path says need not be said again, but must not be contradicted.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body, id: &Id) -> Result<Document, Problem> {
    is_json(headers)?;
    let (_room, bytes) =
        timeout(BODY_TIMEOUT, read_bytes(app, headers, body)).await.unwrap_or_else(|_| {
            let detail = format!("the document took longer than {} s to arrive", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail))
        })?;
    parse(&bytes, id).map_err(Problem::faults)
}

fn parse(json: &[u8], id: &Id) -> Result<Document, Vec<Fault>> {
    let Unique(mut value) = serde_json::from_slice(json).map_err(|error| {
        let what =
            if json.is_empty() { "is empty".to_owned() } else { format!("cannot be read as JSON: {error}") };
        vec![Fault { pointer: String::new(), what, allowed: format!("a {} as a JSON object", id.kind) }]
    })?;
    let other = fill_name(&mut value, id);
    match (document::read(&value, Some(id.kind)), other) {
        (Ok(document), None) => Ok(document),
        (Ok(_), Some(other)) => Err(vec![other]),
        (Err(mut faults), other) => {
            faults.extend(other);
            Err(faults)
        }
    }
}

/// Puts the name of the path where none is, and says so if there is another one.
fn fill_name(document: &mut Value, id: &Id) -> Option<Fault> {
    let metadata = document.as_object_mut()?.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let name = metadata.as_object_mut()?.entry("name").or_insert(Value::Null);
    if name.is_null() {
        *name = Value::from(&*id.name);
    }
    let name = name.as_str().filter(|name| *name != &*id.name)?;
    Some(Fault {
        pointer: "/metadata/name".to_owned(),
        what: format!("is {:?}, not the name in the path", clipped(name)),
        allowed: format!("{:?}, or no name", clipped(&id.name)),
    })
}

/// The body, and the room in memory that it takes.
async fn read_bytes<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(SemaphorePermit<'a>, Vec<u8>), Problem> {
    let too_large = || {
        app.metrics.refused(Limit::BodyBytes);
        let detail = format!("a document has at most {DOCUMENT_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    };
    let announced = headers.get(CONTENT_LENGTH).map(|_| body.size_hint().lower());
    let bytes = match announced {
        Some(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes <= DOCUMENT_BYTES_MAX),
        None => Some(DOCUMENT_BYTES_MAX),
    };
    let kib = u32::try_from(bytes.ok_or_else(too_large)?.div_ceil(1024)).unwrap_or(u32::MAX);
    let room = app.bodies.acquire_many(kib).await.map_err(|_| Problem::busy("the service is stopping"))?;
    let mut bytes = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "broken-body", "the body broke off"))?;
        if bytes.len() + piece.len() > DOCUMENT_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((room, bytes))
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: String| {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail);
        Err(problem.header(ACCEPT, HeaderValue::from_static("application/json")))
    };
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return unsupported("the body has a content coding; allowed: none".to_owned());
    }
    let value = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = value.map(|value| value.split(';').next().unwrap_or_default().trim());
    // Nothing said is taken for JSON; what browsers send without asking first is not.
    match essence {
        None => Ok(()),
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(essence) => {
            unsupported(format!("the content type is {:?}; allowed: application/json", clipped(essence)))
        }
    }
}
