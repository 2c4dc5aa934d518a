//! Which document, or which kind of documents, a path stands for.

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams},
    http::{StatusCode, request::Parts},
};
use spurline_core::document::{Id, Kind};

use super::clipped;
use crate::problem::Problem;

/// Where each kind lives.
const COLLECTIONS: [(&str, Kind); 3] = [
    ("/v1/sandboxes", Kind::Sandbox),
    ("/v1/routegroups", Kind::RouteGroup),
    ("/v1/workloads", Kind::Workload),
];

/// The kind that the path is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collection(pub(super) Kind);

/// The document that the path is about. Its name may be one that no document can have.
#[derive(Clone, Debug)]
pub(super) struct Target(pub(super) Id);

// === impl Collection ===

impl<S: Send + Sync> FromRequestParts<S> for Collection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        COLLECTIONS
            .into_iter()
            .find(|(start, _)| path.starts_with(start))
            .map(|(_, kind)| Self(kind))
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-such-path", "no kind of documents"))
    }
}

// === impl Target ===

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Collection(kind) = Collection::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid-path",
                format!("{}; allowed: UTF-8", error.body_text()),
            )
        })?;
        let name: Vec<&str> = params.iter().map(|(_, value)| value).collect();
        Ok(Self(Id::new(kind, name.join("/"))))
    }
}

/// Whether a route is that of all documents of a kind.
pub(super) fn is_collection(route: &str) -> bool {
    COLLECTIONS.iter().any(|(path, _)| *path == route)
}

/// The path of a document.
pub(super) fn path(id: &Id) -> String {
    let start = COLLECTIONS.iter().find(|(_, kind)| *kind == id.kind).map_or("", |(start, _)| start);
    format!("{start}/{}", id.name)
}

pub(super) fn not_found(id: &Id) -> Problem {
    let detail = format!("there is no {} {:?}", id.kind, clipped(&id.name));
    Problem::new(StatusCode::NOT_FOUND, "no-such-document", detail)
}
