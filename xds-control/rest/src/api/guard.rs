//! What every request passes: is it a web page's, who sends it, is there room for it, and what came of it.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    App, Hosts, OPENAPI_PATH, READ_WRITE, ROUTES, Shared, caller::Caller, caller::CallerName, held::Held,
    query::Parameters, rules, target,
};
use crate::{
    metrics::Limit,
    problem::{Outcome, Problem},
};

pub(super) async fn guard(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let is_rules = request.uri().path() == rules::PATH;
    let mut response = match admit(&app, request, next).await {
        Err(problem) if is_rules => problem.in_words(),
        outcome => outcome.into_response(),
    };
    app.metrics.response(&method, response.status());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers say what is so at this moment and for this caller.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn admit(app: &App, mut request: Request, next: Next) -> Outcome {
    refuse_pages(app.settings.hosts, &request)?;
    if request.uri().path() != OPENAPI_PATH {
        let name = request.extensions().get::<CallerName>();
        let caller = Caller::of(request.headers(), app.settings.tokens.as_ref(), name)?;
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            caller.check_read()?;
        }
        request.extensions_mut().insert(caller);
    }
    let permit = match limit(&request) {
        Limit::Watchers => None,
        Limit::Waits => Some(permit(app, &app.waits, Limit::Waits)?),
        limit => Some(permit(app, &app.requests, limit)?),
    };
    let response = next.run(request).await;
    Ok(match permit {
        Some(permit) => response.map(|body| Body::new(Held::new(body, permit))),
        None => response,
    })
}

/// Which room the request needs until its answer is sent, by what will serve it: whatever else it says is refused, or
/// ignored, in the room of all others. A watch finds room for itself, for what it takes is another thing.
fn limit(request: &Request) -> Limit {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Ok(parameters) = Parameters::of(request.uri()) else { return Limit::Requests };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read
        && path.is_some_and(target::is_collection)
        && parameters.flag("watch").is_ok_and(|watches| watches)
    {
        return Limit::Watchers;
    }
    let is_document = ROUTES.iter().any(|route| Some(route.path) == path && route.allow == READ_WRITE);
    let waits = is_document && parameters.wait().is_ok_and(|wait| wait.is_some());
    if waits { Limit::Waits } else { Limit::Requests }
}

pub(super) fn permit(
    app: &App,
    room: &Arc<Semaphore>,
    limit: Limit,
) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(room).try_acquire_owned().map_err(|_| {
        app.metrics.refused(limit);
        Problem::busy("too many requests of this kind are being served")
    })
}

/// A page may send requests to this machine and, by a name of its own that suddenly resolves to it, read the answers.
/// Browsers name the page's host all the same, and say in `Origin` where a changing request comes from. This is no
/// access control: other programs send what they like.
fn refuse_pages(hosts: Hosts, request: &Request) -> Result<(), Problem> {
    let refusal = |detail| Err(Problem::new(StatusCode::FORBIDDEN, "web-page", detail));
    if hosts == Hosts::Direct && !is_direct(request.uri(), request.headers()) {
        return refusal("the host must be an address or localhost");
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && request.headers().contains_key(ORIGIN) {
        return refusal("requests of web pages change nothing: send no Origin");
    }
    Ok(())
}

/// Does every host that the request names stand for the address itself?
fn is_direct(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(HOST)
        .iter()
        .all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_address(authority.host())));
    named && uri.host().is_none_or(is_address)
}

fn is_address(host: &str) -> bool {
    let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || unbracketed.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_direct_and_names_are_not() {
        for host in ["127.0.0.1", "127.0.0.1:7778", "localhost", "LOCALHOST:7778", "[::1]", "[::1]:7778"] {
            assert!(direct("/", host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7778", "", "@"] {
            assert!(!direct("/", host), "{host}");
        }
        assert!(!direct("http://evil.example/", "127.0.0.1"));
    }

    fn direct(uri: &str, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        is_direct(&uri.parse().unwrap(), &headers)
    }
}
