//! HTTP/2 with a client: its connection, and a task for each of its requests.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use spurline_http::{
    Framing,
    h2::{End, ErrorCode, GoAway, Role},
};
use spurline_telemetry::metrics::{Closing, Counter, Limit};

use super::{Driver, Opened, Session, Stream, driver::Progress};
use crate::{
    connection::{Connection, Origin, Security},
    deadline::Signal,
    exchange::{self, Outcome, Request},
    reply::Reply,
    runner::Jobs,
    worker::Worker,
};

/// A connection of a client.
struct Server<'a> {
    worker: &'a Rc<Worker>,
    connection: &'a Connection,
    security: Option<Rc<Security>>,
    driver: Driver,
    /// What has arrived and is not served yet; empty but while it is handed on.
    requests: Vec<Opened>,
    opened: Instant,
    /// Since when there has been no stream.
    idle: Option<Instant>,
    /// When the client was told that we leave.
    left: Option<Instant>,
}

/// A request that is to be served.
pub(crate) struct Job {
    worker: Rc<Worker>,
    session: Rc<Session>,
    origin: Rc<Origin>,
    security: Option<Rc<Security>>,
    opened: Opened,
    started: Instant,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The client is gone.
    Gone,
    /// We end it. The client is told why as far as it still reads.
    Ours,
    /// The same, after a pause: it would come back at once.
    Flooded,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: &Rc<Worker>, connection: &mut Connection) {
    let security = connection.security().map(|(version, server_name)| {
        Rc::new(Security { version, server_name: server_name.map(str::to_owned) })
    });
    let Some((transport, input)) = connection.take_transport() else { return };
    let settings = worker.params().http2.server;
    let session = Session::new(Role::Server, settings, (worker.shard(), worker.heads(), worker.windows()));
    let now = worker.now();
    let mut server = Server {
        worker,
        connection,
        security,
        driver: Driver::new(session, transport, input),
        requests: Vec::new(),
        opened: now,
        idle: Some(now),
        left: None,
    };
    let ended = poll_fn(|cx| server.poll(cx)).await;
    // Nobody serves what had arrived and was not begun.
    drop(server.requests);
    let (transport, output) = server.driver.into_parts();
    if ended == Ended::Gone {
        return;
    }
    if ended == Ended::Flooded {
        pause(worker, connection).await;
    }
    if worker.is_draining() {
        worker.shard().inc(Counter::DrainedConnections(Closing::Graceful));
    }
    connection.put_transport(transport, output);
    if connection.flush(worker).await {
        connection.linger(worker).await;
    }
}

/// Lets a client wait. Those that began together do not end together.
async fn pause(worker: &Worker, connection: &Connection) {
    let pause = worker.params().http2.flood_pause;
    let pause = pause + pause.mul_f32(fastrand::f32() / 2.0);
    connection.deadline.set(worker.recent(), Some(pause));
    connection.deadline.offer();
    poll_fn(|cx| {
        while !worker.is_draining() {
            match connection.deadline.poll_signal(cx) {
                Some(Signal::Expired) => break,
                Some(Signal::Evicted) => {
                    worker.shard().inc(Counter::LimitsReached(Limit::Connections));
                    break;
                }
                Some(Signal::Changed) => {}
                None => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
    connection.deadline.set_idle(None);
}

// === impl Server ===

impl Server<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match self.driver.poll(cx, &mut self.requests) {
                Ok(Progress::Going) => {}
                Ok(Progress::Broken) => return Poll::Ready(Ended::Ours),
                Ok(Progress::Flooded) => return Poll::Ready(Ended::Flooded),
                Ok(Progress::Ended) | Err(_) => return Poll::Ready(Ended::Gone),
            }
            self.start_requests();
            // Who is accepted late is told like everybody.
            if self.worker.closes_idle() && self.left.is_none() {
                self.leave(GoAway::Graceful);
            }
            if self.is_through() {
                return Poll::Ready(Ended::Ours);
            }
            match self.connection.deadline.poll_signal(cx) {
                Some(Signal::Expired) => {
                    if self.expired() {
                        return Poll::Ready(Ended::Ours);
                    }
                }
                Some(Signal::Evicted) => {
                    self.worker.shard().inc(Counter::LimitsReached(Limit::Connections));
                    self.leave(GoAway::Now(ErrorCode::NO_ERROR));
                }
                Some(Signal::Changed) => {
                    if self.worker.closes_idle() && self.left.is_none() {
                        self.leave(GoAway::Graceful);
                    }
                }
                // A deadline that is set anew forgets that the one before has passed.
                None => {
                    self.set_deadline();
                    return Poll::Pending;
                }
            }
        }
    }

    fn start_requests(&mut self) {
        if self.driver.session().streams() > 0 {
            self.idle = None;
        } else if self.idle.is_none() {
            self.idle = Some(self.worker.recent());
        }
        if self.requests.is_empty() {
            return;
        }
        let started = self.worker.now();
        for opened in self.requests.drain(..) {
            let job = Job {
                worker: Rc::clone(self.worker),
                session: Rc::clone(self.driver.session()),
                origin: Rc::clone(&self.connection.origin),
                security: self.security.clone(),
                opened,
                started,
            };
            self.worker.runners().run(job, serve_streams);
        }
    }

    /// Whether nothing is left to be done.
    fn is_through(&self) -> bool {
        let session = self.driver.session();
        session.is_final() && session.streams() == 0 && session.is_idle() && self.driver.is_flushed()
    }

    fn leave(&mut self, how: GoAway) {
        self.left.get_or_insert_with(|| self.worker.recent());
        self.driver.session().go_away(how);
    }

    /// Sets the deadline to whatever comes first.
    fn set_deadline(&self) {
        let at = [
            self.settings_deadline(),
            self.frame_deadline(),
            self.stall_deadline(),
            self.idle_deadline(),
            self.leave_deadline(),
        ];
        let now = self.worker.recent();
        let first = at.into_iter().flatten().min();
        self.connection.deadline.set(now, first.map(|at| at.saturating_duration_since(now)));
        self.connection.deadline.set_idle(self.idle);
    }

    /// The client is to acknowledge our settings (RFC 9113 section 6.5.3).
    fn settings_deadline(&self) -> Option<Instant> {
        let is_due = !self.driver.session().is_acknowledged();
        is_due.then(|| self.opened + self.worker.params().http2.settings_timeout)
    }

    /// A frame or a head that was begun is to be completed.
    fn frame_deadline(&self) -> Option<Instant> {
        Some(self.driver.incomplete()? + self.worker.params().timeouts.head?)
    }

    /// What is sent is to be taken.
    fn stall_deadline(&self) -> Option<Instant> {
        Some(self.driver.stalled()? + self.worker.params().timeouts.body_idle?)
    }

    /// Once we have left, what is left to be sent is not waited for any longer than by who closes.
    fn idle_deadline(&self) -> Option<Instant> {
        let timeouts = &self.worker.params().timeouts;
        match self.left {
            Some(left) if self.driver.session().is_final() => {
                Some(self.idle?.max(left) + timeouts.client_fin)
            }
            _ => Some(self.idle? + timeouts.idle?),
        }
    }

    /// A client that does not answer our `PING` opens no more streams.
    fn leave_deadline(&self) -> Option<Instant> {
        let is_due = self.left.is_some() && !self.driver.session().is_final();
        is_due.then_some(self.left? + self.worker.params().timeouts.client_fin)
    }

    /// Does what follows from a deadline. Whether that is the end.
    fn expired(&mut self) -> bool {
        let now = self.worker.now();
        let over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let code = if over(self.settings_deadline()) {
            ErrorCode::SETTINGS_TIMEOUT
        } else if over(self.frame_deadline()) || over(self.stall_deadline()) {
            ErrorCode::ENHANCE_YOUR_CALM
        } else {
            if !over(self.idle_deadline()) && !over(self.leave_deadline()) {
                return false;
            }
            if self.driver.session().is_final() {
                return true;
            }
            self.leave(GoAway::Now(ErrorCode::NO_ERROR));
            return false;
        };
        self.driver.session().go_away(GoAway::Now(code));
        self.driver.give_up();
        true
    }
}

/// Serves one request after the other.
async fn serve_streams(mut jobs: Jobs<Job>) {
    while let Some(job) = jobs.next().await {
        serve_stream(job).await;
    }
}

/// Serves one request.
async fn serve_stream(job: Job) {
    let Job { worker, session, origin, security, opened, started } = job;
    let Opened { id, place, head, meta, end, refusal } = opened;
    let stream = Stream::accepted(session, (id, place));
    let mut connection = Connection::of_stream(&worker, stream, (origin, security));
    connection.link.received += head.bytes() as u64;
    let framing = match (end, meta.content_length) {
        (End::Stream, _) => Framing::None,
        (End::More, Some(length)) => Framing::Length(length),
        (End::More, None) => Framing::Chunked,
    };
    let request = Request { head, framing, expects_continue: meta.expects_continue, started };
    let outcome = match refusal {
        None => exchange::run(&worker, &mut connection, request).await,
        Some(error) => {
            exchange::refuse(&worker, &mut connection, request, Reply::to_bad_request(error)).await
        }
    };
    debug_assert!(!matches!(outcome, Outcome::Tunnel(_)), "a stream does not leave HTTP/2");
    if matches!(outcome, Outcome::Linger) {
        connection.linger(&worker).await;
    }
}
