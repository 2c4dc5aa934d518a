//! One document: written, read, kept alive, deleted.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, ETAG, LOCATION},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use spurline_core::document::Id;
use spurline_hub::Programmed;
use tokio::time::{Instant, timeout};

use super::{
    App, Preconditions, Shared, body,
    caller::Caller,
    query::{self, Parameters},
    render::{self, Current},
    target::{self, Target},
};
use crate::{
    metrics::Limit,
    problem::{Outcome, Problem},
    store::StoreError,
    writer::{Condition, Effect, Mode, Refusal, Work, Written},
};

/// How long the writer may take. Its disk is in trouble by then, and whether it wrote is not known.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn get(
    State(app): State<Shared>,
    Target(id): Target,
    parameters: Parameters,
    headers: HeaderMap,
) -> Outcome {
    accepts_json(&headers)?;
    parameters.check(&["wait", "timeout"])?;
    let condition = query::condition(&headers)?;
    let wait = parameters.wait()?;
    let current = Current::of(&app, &id).ok_or_else(|| target::not_found(&id))?;
    match condition.refuses_read(current.version) {
        Some(StatusCode::NOT_MODIFIED) => {
            return Ok((StatusCode::NOT_MODIFIED, [(ETAG, query::etag(current.version))]).into_response());
        }
        Some(_) => return Err(failed_condition(&id, Some(current.version))),
        None => {}
    }
    let Some(wait) = wait else {
        let programmed = app.hub.programmed(&id);
        return Ok(answer(StatusCode::OK, current, &programmed));
    };
    let programmed = app.hub.wait_programmed(&id, Instant::now() + wait).await;
    // It may have changed or gone meanwhile.
    let current = Current::of(&app, &id).ok_or_else(|| target::not_found(&id))?;
    Ok(answer(waited(StatusCode::OK, &programmed), current, &programmed))
}

pub(super) async fn put(
    State(app): State<Shared>,
    Target(id): Target,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
    (headers, body): (HeaderMap, Body),
) -> Outcome {
    let done = write_document(&app, &id, &caller, (&parameters, &headers, body)).await;
    audit("PUT", &id, &caller, &done);
    done
}

pub(super) async fn delete(
    State(app): State<Shared>,
    Target(id): Target,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Outcome {
    let done = delete_document(&app, &id, &caller, (&parameters, &headers)).await;
    audit("DELETE", &id, &caller, &done);
    done
}

pub(super) async fn heartbeat(
    State(app): State<Shared>,
    Target(id): Target,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Outcome {
    let done = keep_alive(&app, &id, &caller, &parameters).await;
    audit("heartbeat", &id, &caller, &done);
    done
}

async fn keep_alive(app: &App, id: &Id, caller: &Caller, parameters: &Parameters) -> Outcome {
    caller.check_write(id)?;
    parameters.check(&[])?;
    let work = Work::Heartbeat { id: id.clone() };
    let written = write(app, id, caller, (work, Mode::Commit)).await?;
    let ends = written.meta.ends_unix_ms().map(render::time);
    Ok(Json(json!({"expiresAt": ends})).into_response())
}

async fn write_document(
    app: &App,
    id: &Id,
    caller: &Caller,
    (parameters, headers, body): (&Parameters, &HeaderMap, Body),
) -> Outcome {
    caller.check_write(id)?;
    accepts_json(headers)?;
    parameters.check(&["dryRun", "wait", "timeout"])?;
    let (mode, wait) = (mode(parameters)?, parameters.wait()?);
    let condition = write_condition(app, headers, id)?;
    let document = body::read(app, headers, body, id).await?;
    let dry = (mode == Mode::DryRun).then(|| document.clone());
    let work = Work::Put { document: Box::new(document), condition };
    let written = write(app, id, caller, (work, mode)).await?;
    let status = if written.effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    if let Some(document) = dry {
        return Ok((StatusCode::OK, Json(render::dry_run(app, &written, &document))).into_response());
    }
    let programmed = match wait {
        Some(wait) => app.hub.wait_programmed(id, Instant::now() + wait).await,
        None => app.hub.programmed(id),
    };
    let status = if wait.is_some() { waited(status, &programmed) } else { status };
    let mut response = match Current::of(app, id) {
        Some(current) if current.version == written.meta.version => answer(status, current, &programmed),
        // Somebody wrote it again, or deleted it. This is the answer to this request all the same.
        _ => (status, Json((*written.document).clone())).into_response(),
    };
    response.headers_mut().insert(ETAG, query::etag(written.meta.version));
    if written.effect == Effect::Created
        && let Ok(location) = HeaderValue::try_from(target::path(id))
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn delete_document(
    app: &App,
    id: &Id,
    caller: &Caller,
    (parameters, headers): (&Parameters, &HeaderMap),
) -> Outcome {
    caller.check_write(id)?;
    parameters.check(&["dryRun", "wait", "timeout"])?;
    let (mode, wait) = (mode(parameters)?, parameters.wait()?);
    let condition = write_condition(app, headers, id)?;
    let written = write(app, id, caller, (Work::Delete { id: id.clone(), condition }, mode)).await?;
    let Some(wait) = wait.filter(|_| mode == Mode::Commit) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let deadline = Instant::now() + wait;
    let programmed = app.hub.wait_deleted(id, (&written.gone, written.revision), deadline).await;
    let body = json!({"status": {"programmed": render::programmed_json(&programmed)}});
    Ok((waited(StatusCode::OK, &programmed), Json(body)).into_response())
}

/// 202 says that the time was over, or a proxy refused, before every proxy had it.
fn waited(status: StatusCode, programmed: &Programmed) -> StatusCode {
    if programmed.is_complete() { status } else { StatusCode::ACCEPTED }
}

fn answer(status: StatusCode, current: Current, programmed: &Programmed) -> Response {
    let etag = query::etag(current.version);
    (status, [(ETAG, etag)], Json(current.into_json(programmed))).into_response()
}

fn mode(parameters: &Parameters) -> Result<Mode, Problem> {
    Ok(if parameters.flag("dryRun")? { Mode::DryRun } else { Mode::Commit })
}

fn write_condition(app: &App, headers: &HeaderMap, id: &Id) -> Result<Condition, Problem> {
    let condition = query::condition(headers)?;
    if app.settings.preconditions == Preconditions::Required && condition == Condition::default() {
        let detail = format!("say which {} is meant: If-Match: <its ETag>, or If-None-Match: *", id.kind);
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", detail));
    }
    Ok(condition)
}

/// Whether the client takes what we answer (RFC 9110 section 12.5.1). Weights other than 0 make no difference.
pub(super) fn accepts_json(headers: &HeaderMap) -> Result<(), Problem> {
    accepts(headers, &["application/json", "application/*", "*/*"])
}

pub(super) fn accepts(headers: &HeaderMap, ours: &[&str]) -> Result<(), Problem> {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return Ok(());
    }
    let is_ours = ranges.any(|range| {
        let (essence, weight) = range.split_once(';').unwrap_or((range, ""));
        let is_refused = weight.split(';').any(|part| {
            let weight = part.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight == Some(0.0)
        });
        !is_refused && ours.iter().any(|ours| ours.eq_ignore_ascii_case(essence.trim()))
    });
    let ours = ours.first().copied().unwrap_or_default();
    let problem =
        || Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", format!("this answers {ours}"));
    if is_ours { Ok(()) } else { Err(problem()) }
}

async fn write(app: &App, id: &Id, caller: &Caller, (work, mode): (Work, Mode)) -> Result<Written, Problem> {
    let written = timeout(WRITE_TIMEOUT, app.writer.write(caller.name(), work, mode)).await;
    written
        .unwrap_or_else(|_| {
            app.metrics.refused(Limit::Queue);
            Err(Refusal::Unknown)
        })
        .map_err(|refusal| {
            if matches!(refusal, Refusal::Busy) {
                app.metrics.refused(Limit::Queue);
            }
            refused(app, id, refusal)
        })
}

fn refused(app: &App, id: &Id, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotFound => target::not_found(id),
        Refusal::Condition { current } => failed_condition(id, current),
        Refusal::OfFile => {
            let file = app.settings.file_of.as_ref().and_then(|file_of| file_of(id));
            let file = file.unwrap_or_else(|| "a file of the directory that is watched".to_owned());
            let detail = format!("{file} holds {id}; change it there");
            Problem::new(StatusCode::CONFLICT, "of-file", detail)
        }
        Refusal::Over(fault) => Problem::faults(vec![fault]),
        Refusal::TooMany { documents_max } => {
            let detail = format!("there are {documents_max} documents already; delete some");
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "too-many-documents", detail)
        }
        Refusal::Store(error) => refused_by_store(&error),
        Refusal::Busy => Problem::busy("too many writes are waiting"),
        Refusal::Stopped => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the service is stopping; nothing was changed",
        ),
        Refusal::Unknown => {
            let detail = "the store took too long; the write may yet happen, so look before writing again";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome-unknown", detail)
        }
    }
}

/// The path is for the log: whoever may write documents need not know how the machine is laid out.
fn refused_by_store(error: &StoreError) -> Problem {
    let (cause, what_is) = match error {
        StoreError::Unsure(cause) => {
            (&**cause, "nothing was changed, but the write may be found done after a restart of the service")
        }
        cause => (cause, "nothing was changed"),
    };
    let (status, why) = match cause {
        StoreError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "its disk is full"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the log says why"),
    };
    Problem::new(status, "store", format!("the store takes no writes: {why}; {what_is}")).retry_after_s(5)
}

fn failed_condition(id: &Id, current: Option<u64>) -> Problem {
    let (detail, etag) = match current {
        Some(version) => {
            let detail = format!("{id} exists in a version that the condition rules out; ETag has it");
            (detail, Some(query::etag(version)))
        }
        None => (format!("there is no {id}"), None),
    };
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail);
    match etag {
        Some(etag) => problem.header(ETAG, etag),
        None => problem,
    }
}

/// One line for every attempt that was refused. The writer logs what it wrote, whoever waits for the answer.
fn audit(method: &'static str, id: &Id, caller: &Caller, done: &Outcome) {
    let Err(problem) = done else { return };
    let name = super::clipped(&id.name);
    let status = problem.status().as_u16();
    tracing::info!(by = caller.name(), method, kind = %id.kind, name, status, "Write refused");
}
