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
    ConnectError, Transport,
    tls::{Alpn, Speech},
};
use tokio::sync::Notify;

use super::{
    Acquire, Cluster, ConnectFailure, Lease, Refused, cluster::Pending, lease::Permit, policy::breaker::Limit,
};
use crate::{
    buffer::Buffer,
    deadline::Deadlines,
    h2::{Driver, Readiness, Session, upstream},
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

/// A connection that is being made.
#[derive(Debug, Default)]
struct Attempt {
    ended: Notify,
    /// Why there is none. `None` also when whoever made it gave up.
    error: RefCell<Option<Rc<ConnectError>>>,
    waiting: Cell<u32>,
}

/// Ends an attempt, however its task ends.
struct Attempting<'a> {
    sessions: &'a Sessions,
    attempt: Rc<Attempt>,
}

/// What a new connection turned out to speak.
enum Made {
    Http1(Transport, Permit),
    Http2(Rc<Session>),
    /// Something else, by what it said to the preface of HTTP/2. No request was sent.
    Declined,
}

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

    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow_mut().retain(|session| !session.is_over());
        self.open.borrow().is_empty()
    }

    /// The attempt that is under way, if there is a place left on what it may become.
    fn attempt(&self, streams_max: u32) -> Option<Rc<Attempt>> {
        let attempt = self.attempt.borrow();
        attempt.as_ref().filter(|attempt| attempt.waiting.get() < streams_max).map(Rc::clone)
    }

    fn begin(&self) -> Attempting<'_> {
        let attempt = Rc::new(Attempt::default());
        *self.attempt.borrow_mut() = Some(Rc::clone(&attempt));
        Attempting { sessions: self, attempt }
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        let mut current = self.sessions.attempt.borrow_mut();
        // Another may have begun since, when this one had no place left.
        if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, &self.attempt)) {
            *current = None;
        }
        drop(current);
        self.attempt.ended.notify_waiters();
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
            if let Some(attempt) = sessions.attempt(self.parts.params.client.streams_max) {
                self.wait_for(index, &attempt).await?;
                if sessions.declines(how.now) {
                    return self.acquire_connection(index, permit, how).await;
                }
                if let Some(session) = sessions.usable() {
                    return Ok(Lease::new(Wire::Session(session), permit, false));
                }
                continue;
            }
            let attempting = sessions.begin();
            match self.make_session(index, sessions, &how).await {
                Ok(Made::Http2(session)) => {
                    return Ok(Lease::new(Wire::Session(session), permit, false));
                }
                Ok(Made::Declined) => {
                    sessions.declined.set(Some(how.now));
                    return self.acquire_connection(index, permit, how).await;
                }
                Ok(Made::Http1(transport, connection)) => {
                    sessions.declined.set(Some(how.now));
                    return Ok(Lease::new(Wire::Transport(transport), permit.with(connection), false));
                }
                Err(ConnectFailure::Endpoint(index, error)) => {
                    *attempting.attempt.error.borrow_mut() = Some(Rc::clone(&error));
                    return Err(ConnectFailure::Endpoint(index, error));
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Waits until a connection that somebody else makes is made.
    async fn wait_for(&self, index: usize, attempt: &Rc<Attempt>) -> Result<(), ConnectFailure> {
        self.hold(Limit::Pending)?;
        let _pending = Pending(self);
        attempt.waiting.set(attempt.waiting.get() + 1);
        attempt.ended.notified().await;
        let error = attempt.error.borrow();
        error.as_ref().map_or(Ok(()), |error| Err(ConnectFailure::Endpoint(index, Rc::clone(error))))
    }

    /// Makes a connection. One that speaks HTTP/2 is among the sessions then.
    async fn make_session(
        self: &Rc<Self>,
        index: usize,
        sessions: &Sessions,
        how: &Acquire,
    ) -> Result<Made, ConnectFailure> {
        let permit = Permit::of_connection(Rc::clone(self), index);
        let (transport, permit) = self.dial(index, permit, (how.connect_timeout, how.speech)).await?;
        let agreed = transport.session().map(|session| session.alpn);
        if agreed == Some(Some(Alpn::Http1)) || (agreed == Some(None) && how.speech == Speech::Http) {
            return Ok(Made::Http1(transport, permit));
        }
        let parts = &self.parts;
        let session = Session::new(Role::Client, parts.params.client, (&self.shard, &parts.heads));
        let driver = Driver::new(Rc::clone(&session), transport, Buffer::default(), Instant::now());
        sessions.open.borrow_mut().push(Rc::clone(&session));
        tokio::task::spawn_local(upstream::drive(driver, Rc::clone(parts), permit));
        let ready = tokio::time::timeout(how.connect_timeout, session.ready()).await;
        let error = match ready {
            Ok(Readiness::Ready) => return Ok(Made::Http2(session)),
            Ok(Readiness::Foreign) if how.speech == Speech::Http => return Ok(Made::Declined),
            Ok(Readiness::Foreign | Readiness::Lost) => {
                ConnectError::Other(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"))
            }
            Err(_) => ConnectError::Timeout,
        };
        session.go_away(GoAway::Now(ErrorCode::NO_ERROR));
        tracing::debug!(endpoint = ?self.endpoint(index), %error, "No HTTP/2 with an upstream");
        self.failed(index, Instant::now());
        Err(ConnectFailure::Endpoint(index, Rc::new(error)))
    }
}
