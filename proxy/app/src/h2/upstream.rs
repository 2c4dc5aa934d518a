//! HTTP/2 with an upstream: what keeps a connection going, and what ends it.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use spurline_http::h2::{ErrorCode, GoAway};

use super::{Driver, driver::Progress};
use crate::{
    deadline::{Deadline, Signal},
    upstream::{Permit, SessionParts},
};

/// A connection to an upstream.
struct Client {
    driver: Driver,
    deadline: Deadline,
    parts: Rc<SessionParts>,
    opened: Instant,
    /// Since when there has been no stream.
    idle: Option<Instant>,
    /// When the upstream was asked for a sign of life that it has not given.
    asked: Option<Instant>,
}

/// Moves the bytes of a connection until it ends. `permit` counts it.
pub(crate) async fn drive(driver: Driver, parts: Rc<SessionParts>, permit: Permit) {
    let now = Instant::now();
    let deadline = parts.deadlines.slot();
    let mut client = Client { driver, deadline, parts, opened: now, idle: Some(now), asked: None };
    poll_fn(|cx| client.poll(cx)).await;
    drop(permit);
}

// === impl Client ===

impl Client {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.driver.poll(cx, &mut Vec::new()) {
                Ok(Progress::Going) => {}
                // What it is told is written as far as the socket takes it at once; nobody waits for it.
                Ok(Progress::Broken | Progress::Flooded | Progress::Ended) | Err(_) => return Poll::Ready(()),
            }
            let session = self.driver.session();
            let is_idle = session.streams() == 0;
            if is_idle && session.is_over() && self.driver.is_flushed() {
                return Poll::Ready(());
            }
            self.idle = is_idle.then(|| self.idle.unwrap_or_else(Instant::now));
            match self.deadline.poll_signal(cx) {
                Some(Signal::Expired) => {
                    if self.expired() {
                        return Poll::Ready(());
                    }
                }
                Some(Signal::Changed | Signal::Evicted) => {}
                // A deadline that is set anew forgets that the one before has passed.
                None => {
                    self.set_deadline();
                    return Poll::Pending;
                }
            }
        }
    }

    fn set_deadline(&self) {
        let now = self.driver.heard();
        let at = [self.settings_deadline(), self.idle_deadline(), self.ping_deadline()];
        let first = at.into_iter().flatten().min();
        self.deadline.set(now, first.map(|at| at.saturating_duration_since(now)));
    }

    fn settings_deadline(&self) -> Option<Instant> {
        let is_due = !self.driver.session().is_acknowledged();
        is_due.then(|| self.opened + self.parts.params.settings_timeout)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.idle.map(|idle| idle + self.parts.idle_timeout)
    }

    /// When the upstream is asked for a sign of life, or when it should have given it. Only while somebody waits for
    /// something: idle connections are not worth the traffic.
    fn ping_deadline(&self) -> Option<Instant> {
        let params = &self.parts.params;
        match (self.idle, self.asked) {
            (Some(_), _) => None,
            (None, Some(asked)) if asked >= self.driver.heard() => Some(asked + params.ping_timeout),
            (None, _) => Some(self.driver.heard() + params.ping_interval?),
        }
    }

    /// Does what follows from a deadline. Whether that is the end: nobody waits for a dead upstream to take its leave.
    fn expired(&mut self) -> bool {
        let now = Instant::now();
        let over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let session = self.driver.session();
        if over(self.settings_deadline()) {
            session.go_away(GoAway::Now(ErrorCode::SETTINGS_TIMEOUT));
            session.lose();
            return true;
        }
        if over(self.ping_deadline()) {
            if self.asked.is_some_and(|asked| asked >= self.driver.heard()) {
                tracing::debug!("HTTP/2 upstream gave no sign of life");
                session.lose();
                return true;
            }
            session.ping();
            self.asked = Some(now);
        } else if over(self.idle_deadline()) {
            if session.is_over() {
                return true;
            }
            session.go_away(GoAway::Now(ErrorCode::NO_ERROR));
        }
        false
    }
}
