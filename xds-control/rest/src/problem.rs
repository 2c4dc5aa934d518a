//! Errors as clients get them: `application/problem+json` (RFC 9457), with every fault of a document at once.

use axum::{
    Json,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use spurline_core::document::Fault;

/// The most faults that one answer lists.
const FAULTS_MAX: usize = 100;

/// Why a request did not get what it asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// One word that programs can compare.
    kind: &'static str,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    pointer: &'a str,
    detail: &'a str,
    allowed: &'a str,
}

/// What requests end in.
pub(crate) type Outcome = Result<Response, Problem>;

// === impl Problem ===

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), faults: Vec::new(), headers: Vec::new() }
    }

    /// 422 would be as right; 400 is what clients of this kind of service know.
    pub(crate) fn faults(faults: Vec<Fault>) -> Self {
        let detail = match faults.len() {
            1 => "the document has a fault".to_owned(),
            count => format!("the document has {count} faults"),
        };
        Self { faults, ..Self::new(StatusCode::BAD_REQUEST, "invalid-document", detail) }
    }

    /// One fault of a query parameter or a header.
    pub(crate) fn parameter(name: &str, what: impl Into<String>, allowed: impl Into<String>) -> Self {
        let fault = Fault { pointer: name.to_owned(), what: what.into(), allowed: allowed.into() };
        let detail = format!("{name}: {}; allowed: {}", fault.what, fault.allowed);
        Self { faults: vec![fault], ..Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail) }
    }

    pub(crate) fn busy(what: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{what}; try again")).retry_after_s(1)
    }

    pub(crate) fn method_not_allowed(method: &Method, allowed: &'static str) -> Self {
        let detail = format!("{method} is not served here; allowed: {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .header(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(crate) fn unauthorized(challenge: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    pub(crate) fn retry_after_s(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// As plain text, which nobody can take for a document.
    pub(crate) fn in_words(self) -> Response {
        with(self.headers, (self.status, format!("{}\n", self.detail)).into_response())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let entries = self.faults.iter().take(FAULTS_MAX).map(|fault| Entry {
            pointer: &fault.pointer,
            detail: &fault.what,
            allowed: &fault.allowed,
        });
        let body = Body {
            kind: format!("urn:spurline:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: entries.collect(),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        with(self.headers, response)
    }
}

fn with(headers: Vec<(HeaderName, HeaderValue)>, mut response: Response) -> Response {
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}
