//! Who a request comes from and what it may do.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use spurline_core::document::{Id, Kind};

use crate::{
    problem::Problem,
    tokens::{Token, Tokens},
};

const CHALLENGE: &str = r#"Bearer realm="spurline-control""#;
const CHALLENGE_INVALID: &str = r#"Bearer realm="spurline-control", error="invalid_token""#;

/// A name for callers without tokens, for the audit log. Whoever authenticated the connection by other means, such as
/// a client certificate, puts it into the extensions of the request.
#[derive(Clone, Debug)]
pub struct CallerName(pub Arc<str>);

/// Put into the extensions of every request that passed the guard.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// There are no tokens: who can connect may do everything.
    Anybody(Option<CallerName>),
    Token(Arc<Token>),
}

// === impl Caller ===

impl Caller {
    /// Reads `Authorization: Bearer` (RFC 6750 section 2.1), the only place where a token is taken from.
    pub(super) fn of(
        headers: &HeaderMap,
        tokens: Option<&Tokens>,
        name: Option<&CallerName>,
    ) -> Result<Self, Problem> {
        let Some(tokens) = tokens else { return Ok(Self::Anybody(name.cloned())) };
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Problem::unauthorized(CHALLENGE, "one Authorization: Bearer <token> is needed"));
        };
        let token = value.as_bytes().split_at_checked(b"bearer ".len());
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        match token.and_then(|(_, token)| tokens.find(token.trim_ascii())) {
            Some(token) => Ok(Self::Token(Arc::clone(token))),
            None => Err(Problem::unauthorized(CHALLENGE_INVALID, "the token is not known")),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Anybody(Some(CallerName(name))) => name,
            Self::Anybody(None) => "anonymous",
            Self::Token(token) => token.name(),
        }
    }

    pub(super) fn check_read(&self) -> Result<(), Problem> {
        match self {
            Self::Token(token) if !token.may_read() => Err(forbidden("read")),
            _ => Ok(()),
        }
    }

    pub(super) fn check_write(&self, id: &Id) -> Result<(), Problem> {
        let scope = match id.kind {
            Kind::Sandbox => "sandbox",
            Kind::RouteGroup => "routegroup",
            Kind::Workload => "workload",
        };
        match self {
            Self::Token(token) if !token.may_write(scope, &id.name) => {
                Err(forbidden(&format!("write, or write:{scope}/<prefix> with a prefix of its name")))
            }
            _ => Ok(()),
        }
    }
}

fn forbidden(needed: &str) -> Problem {
    let detail = format!("the token does not have the scope that this needs: {needed}");
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}
