//! HTTP/2 connections to an endpoint, each with several requests at a time.
//!
//! Requests that come while a connection is being made wait for it, and a connection counts as made when the endpoint has
//! said how many requests it takes. One more is made only when all there are take no more.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use spurline_http::h2::{ErrorCode, GoAway, Role};
use spurline_net::{
    ConnectError,
    tls::{Alpn, Speech},
};
use tokio::sync::Notify;

use super::{
    Acquire, Cluster, ConnectFailure, Lease, Refused, cluster::Pending, lease::Permit, policy::breaker::Limit,
};
use crate::{
    buffer::Buffer,
    deadline::Deadlines,
    h2::{Driver, Readiness, Session, Windows, upstream},
    heads::Heads,
    link::Wire,
    params::Http2Params,
};

/// What sessions are made from.
#[derive(Debug)]
pub(crate) struct SessionParts {
    pub(crate) params: Http2Params,
    pub(crate) idle_timeout: Duration,
    pub(crate) heads: Rc<Heads>,
    pub(crate) windows: Rc<Windows>,
    pub(crate) deadlines: Rc<Deadlines>,
}

/// How long an endpoint that speaks HTTP/1.1 only is not asked again: what listens there may be replaced.
const DECLINE_KEPT: Duration = Duration::from_secs(60);

/// The sessions with one endpoint.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: RefCell<Vec<Rc<Session>>>,
    attempt: RefCell<Option<Rc<Attempt>>>,
    /// When the endpoint last spoke HTTP/1.1 where it could have spoken HTTP/2.
    declined: Cell<Option<Instant>>,
}

/// A connection that is being made, by a task of its own: no request's deadline is that of the others who wait.
#[derive(Debug, Default)]
struct Attempt {
    ended: Notify,
    /// `None` until it has ended, and if its task ended without a word.
    outcome: RefCell<Option<Outcome>>,
    waiting: Cell<u32>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
enum Outcome {
    /// The connection is among the sessions.
    Made,
    /// The endpoint speaks HTTP/1.1. No request was sent.
    Declined,
    Failed(Rc<ConnectError>),
    Refused(Refused),
}

/// Ends an attempt, however its task ends.
struct Attempting {
    cluster: Rc<Cluster>,
    index: usize,
    attempt: Rc<Attempt>,
}

/// A place among those that wait for an attempt.
struct Waiting<'a>(&'a Attempt);

// === impl Sessions ===

impl Sessions {
    /// A session that takes one more request.
    pub(super) fn usable(&self) -> Option<Rc<Session>> {
        let mut open = self.open.borrow_mut();
        if open.iter().any(|session| session.is_over()) {
            open.retain(|session| !session.is_over());
        }
        open.iter().find(|session| session.can_open()).map(Rc::clone)
    }

    /// Whether the endpoint is known to speak HTTP/1.1 only.
    pub(super) fn declines(&self, now: Instant) -> bool {
        self.declined.get().is_some_and(|at| now.saturating_duration_since(at) < DECLINE_KEPT)
    }

    pub(super) fn forget_ended(&self) {
        self.open.borrow_mut().retain(|session| !session.is_over());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// The attempt that is under way, if there is a place left on what it may become.
    fn attempt(&self, streams_max: u32) -> Option<Rc<Attempt>> {
        let attempt = self.attempt.borrow();
        attempt.as_ref().filter(|attempt| attempt.waiting.get() < streams_max).map(Rc::clone)
    }
}

impl Drop for Attempting {
    fn drop(&mut self) {
        if let Some(sessions) = self.cluster.sessions(self.index) {
            let mut current = sessions.attempt.borrow_mut();
            // Another may have begun since, when this one had no place left.
            if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, &self.attempt)) {
                *current = None;
            }
        }
        self.attempt.ended.notify_waiters();
    }
}

impl<'a> Waiting<'a> {
    fn new(attempt: &'a Attempt) -> Self {
        attempt.waiting.set(attempt.waiting.get() + 1);
        Self(attempt)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

// === impl Cluster ===

impl Cluster {
    /// A place for one request on a new connection to the endpoint, when there is none on those that are open. It speaks
    /// HTTP/2 unless it agrees to HTTP/1.1 only.
    pub(super) async fn acquire_stream(
        self: &Rc<Self>,
        index: usize,
        permit: Permit,
        how: Acquire,
    ) -> Result<Lease, ConnectFailure> {
        let Some(sessions) = self.sessions(index) else {
            return Err(ConnectFailure::Refused(Refused::Empty));
        };
        loop {
            let attempt = sessions.attempt(self.parts.params.client.streams_max);
            let attempt = attempt.unwrap_or_else(|| self.start_attempt(index, sessions, how.speech));
            let ended = {
                self.hold(Limit::Pending)?;
                let _pending = Pending(self);
                let _waiting = Waiting::new(&attempt);
                tokio::time::timeout(how.connect_timeout, attempt.ended.notified()).await
            };
            let failed = |error| Err(ConnectFailure::Endpoint(index, error));
            let outcome = match ended {
                Ok(()) => attempt.outcome.borrow().clone(),
                Err(_) => return failed(Rc::new(ConnectError::Timeout)),
            };
            match outcome {
                // Others may have taken all of it.
                Some(Outcome::Made) => {
                    if let Some(session) = sessions.usable() {
                        return Ok(Lease::new(Wire::Session(session), permit, false));
                    }
                }
                Some(Outcome::Declined) => return self.acquire_connection(index, permit, how).await,
                Some(Outcome::Failed(error)) => return failed(error),
                Some(Outcome::Refused(refused)) => return Err(ConnectFailure::Refused(refused)),
                None => return failed(Rc::new(no_session("the attempt was given up"))),
            }
        }
    }

    fn start_attempt(self: &Rc<Self>, index: usize, sessions: &Sessions, speech: Speech) -> Rc<Attempt> {
        let attempt = Rc::new(Attempt::default());
        *sessions.attempt.borrow_mut() = Some(Rc::clone(&attempt));
        let attempting = Attempting { cluster: Rc::clone(self), index, attempt: Rc::clone(&attempt) };
        tokio::task::spawn_local(async move {
            let Attempting { cluster, index, attempt } = &attempting;
            let outcome = match cluster.make_session(*index, speech).await {
                Ok(outcome) => outcome,
                Err(ConnectFailure::Endpoint(_, error)) => Outcome::Failed(error),
                Err(ConnectFailure::Refused(refused)) => Outcome::Refused(refused),
            };
            *attempt.outcome.borrow_mut() = Some(outcome);
        });
        attempt
    }

    /// Makes a connection. One that speaks HTTP/2 is among the sessions then, one that does not among those that are idle.
    async fn make_session(self: &Rc<Self>, index: usize, speech: Speech) -> Result<Outcome, ConnectFailure> {
        let Some(sessions) = self.sessions(index) else {
            return Err(ConnectFailure::Refused(Refused::Empty));
        };
        let started = Instant::now();
        let timeout = self.connect_timeout();
        let permit = Permit::of_connection(Rc::clone(self), index);
        let (transport, permit) = self.dial(index, permit, (timeout, speech)).await?;
        let agreed = transport.session().map(|session| session.alpn);
        if agreed == Some(Some(Alpn::Http1)) || (agreed == Some(None) && speech == Speech::Http) {
            sessions.declined.set(Some(Instant::now()));
            permit.keep(transport);
            return Ok(Outcome::Declined);
        }
        let parts = &self.parts;
        let shared = (&self.shard, &parts.heads, &parts.windows);
        let session = Session::new(Role::Client, parts.params.client, shared);
        let driver = Driver::new(Rc::clone(&session), transport, Buffer::default());
        tokio::task::spawn_local(upstream::drive(driver, Rc::clone(parts), permit));
        let left = timeout.saturating_sub(started.elapsed());
        let error = match tokio::time::timeout(left, session.ready()).await {
            Ok(Readiness::Ready) if session.can_open() => {
                sessions.open.borrow_mut().push(session);
                return Ok(Outcome::Made);
            }
            Ok(Readiness::Ready) => no_session("it takes no requests"),
            Ok(Readiness::Foreign) if speech == Speech::Http => {
                sessions.declined.set(Some(Instant::now()));
                return Ok(Outcome::Declined);
            }
            // Some that speak HTTP/1.1 only say nothing to the preface; so do some that are about to end.
            Ok(Readiness::Lost) if speech == Speech::Http => return Ok(Outcome::Declined),
            Ok(Readiness::Foreign | Readiness::Lost) => no_session("it does not speak HTTP/2"),
            Err(_) => ConnectError::Timeout,
        };
        session.go_away(GoAway::Now(ErrorCode::NO_ERROR));
        tracing::debug!(endpoint = ?self.endpoint(index), %error, "No HTTP/2 with an upstream");
        self.failed(index, Instant::now());
        Err(ConnectFailure::Endpoint(index, Rc::new(error)))
    }
}

fn no_session(why: &'static str) -> ConnectError {
    ConnectError::Other(io::Error::new(io::ErrorKind::InvalidData, why))
}
