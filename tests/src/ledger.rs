//! The request ledger: nothing lost, as an accounting identity and not as an impression.
//!
//! Every request of a load has an id. The client's log and the logs of the upstreams are reconciled into the figures
//! of [`Report`], and all of them have to be zero. What a fault makes unavoidable is admitted by [`Tolerance`], never
//! by leaving requests out. It does not measure speed.

mod backend;
mod load;
mod timeline;

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

pub use backend::{Backend, Seen};
pub use load::{Directory, Load};
pub use timeline::Timeline;

/// How the client saw one request end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole, unchanged answer of this upstream.
    Answered(String),
    /// A whole answer by the proxy itself.
    Refused {
        /// Its status code.
        status: u16,
        /// Its `x-spurline-reason`.
        reason: Option<String>,
    },
    /// The connection ended before the answer was whole, and the client could tell.
    Cut,
    /// The answer was whole and wrong.
    Corrupt(String),
    /// No connection could be made.
    Unconnected(String),
    /// The client reset it; an upstream may have seen it or not.
    GivenUp,
}

/// One line of the client's log.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Connection and sequence, unique in a run.
    pub id: String,
    /// Whether a proxy may send it again after a failure.
    pub idempotent: bool,
    /// Whether it has content, which a proxy that keeps no copy cannot send again.
    pub content: bool,
    /// The routing key it carried.
    pub key: Option<String>,
    /// SHA-256 of its content, hexadecimal.
    pub digest: String,
    /// When its first byte was sent.
    pub began: Instant,
    /// When its outcome was known.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

/// Which requests may be refused because of an injected fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusals {
    /// None: a retry elsewhere was possible for every one.
    #[default]
    None,
    /// Those that must not, or with their content gone cannot, be sent again.
    NotRepeatable,
    /// Any.
    Any,
}

/// What a run admits because of the faults it injects. The default admits nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tolerance {
    /// Refusals with a reason and a 5xx status.
    pub refusals: Refusals,
    /// Answers that are visibly cut.
    pub cuts: bool,
    /// Idempotent requests that reach upstreams more than once.
    pub repeats: bool,
}

/// The figures of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests sent.
    pub sent: usize,
    /// Requests answered by an upstream.
    pub answered: usize,
    /// Requests refused by the proxy in good order and within the tolerance.
    pub refused: usize,
    /// Answers visibly cut, within the tolerance.
    pub cut: usize,
    /// Requests that the client gave up.
    pub given_up: usize,
    /// Idempotent requests that upstreams saw more than once, within the tolerance.
    pub repeated: usize,
    /// What was wrong, by kind. Empty when all is well.
    pub wrong: HashMap<&'static str, Vec<String>>,
}

impl Refusals {
    fn admit(self, one: &Sent) -> bool {
        match self {
            Self::None => false,
            Self::NotRepeatable => one.content || !one.idempotent,
            Self::Any => true,
        }
    }
}

impl Report {
    /// Panics unless every figure that has to be zero is zero; prints the account.
    pub fn assert_clean(&self) {
        println!("{self}");
        assert!(self.is_clean(), "the ledger does not balance:\n{self}");
    }

    /// Whether every figure that has to be zero is zero.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }

    fn note(&mut self, kind: &'static str, line: String) {
        self.wrong.entry(kind).or_default().push(line);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, refused, cut, given_up, repeated, wrong } = self;
        write!(
            formatter,
            "sent {sent} answered {answered} refused {refused} cut {cut} given up {given_up} repeated {repeated} |"
        )?;
        for kind in ["lost", "duplicated", "misrouted", "corrupt", "smuggled", "orphaned", "badly refused"] {
            write!(formatter, " {kind} {}", wrong.get(kind).map_or(0, Vec::len))?;
        }
        for (kind, lines) in wrong {
            for line in lines.iter().take(5) {
                write!(formatter, "\n{kind}: {line}")?;
            }
        }
        Ok(())
    }
}

/// How many requests a ledger run sends: `SPURLINE_LEDGER_REQUESTS`, else what a suite can afford.
pub fn requests(otherwise: usize) -> usize {
    let wanted = std::env::var("SPURLINE_LEDGER_REQUESTS");
    wanted.map_or(otherwise, |count| count.parse().expect("SPURLINE_LEDGER_REQUESTS is a count"))
}

/// Reconciles the client's log with those of all upstreams, whose logs it takes.
pub fn reconcile(sent: &[Sent], backends: &[&Backend], timeline: &Timeline, tolerance: Tolerance) -> Report {
    let mut report = Report { sent: sent.len(), ..Report::default() };
    let mut seen: HashMap<String, Vec<(String, Seen)>> = HashMap::new();
    for backend in backends {
        for violation in backend.take_violations() {
            report.note("smuggled", format!("{}: {violation}", backend.name()));
        }
        let unfinished = backend.wait_idle();
        if unfinished > 0 {
            report.note("orphaned", format!("{}: {unfinished} requests still in work", backend.name()));
        }
        for one in backend.take_seen() {
            seen.entry(one.id.clone()).or_default().push((backend.name().to_owned(), one));
        }
    }
    for one in sent {
        let arrivals = seen.remove(&one.id).unwrap_or_default();
        judge_outcome(one, timeline, tolerance, &mut report);
        judge_arrivals(one, &arrivals, tolerance, &mut report);
    }
    for id in seen.keys() {
        report.note("smuggled", format!("nobody sent {id:?}"));
    }
    report
}

fn judge_outcome(one: &Sent, timeline: &Timeline, tolerance: Tolerance, report: &mut Report) {
    match &one.outcome {
        Outcome::Answered(by) => {
            report.answered += 1;
            let allowed = timeline.allowed(one.key.as_deref(), one.began, one.ended);
            if !allowed.contains(by) {
                report.note("misrouted", format!("{} with {:?} by {by}, not {allowed:?}", one.id, one.key));
            }
        }
        Outcome::Refused { status, reason }
            if reason.is_some() && *status >= 500 && tolerance.refusals.admit(one) =>
        {
            report.refused += 1;
        }
        Outcome::Refused { status, reason } => {
            report.note("badly refused", format!("{} with {status} because {reason:?}", one.id));
        }
        Outcome::Cut if tolerance.cuts => report.cut += 1,
        Outcome::Cut => report.note("lost", format!("{} ended without an answer", one.id)),
        Outcome::Unconnected(why) => report.note("lost", format!("{} was never connected: {why}", one.id)),
        Outcome::Corrupt(why) => report.note("corrupt", format!("{}: {why}", one.id)),
        Outcome::GivenUp => report.given_up += 1,
    }
}

fn judge_arrivals(one: &Sent, arrivals: &[(String, Seen)], tolerance: Tolerance, report: &mut Report) {
    if arrivals.len() > 1 {
        if one.idempotent && tolerance.repeats {
            report.repeated += 1;
        } else {
            report.note("duplicated", format!("{} reached {} times", one.id, arrivals.len()));
        }
    }
    for (name, seen) in arrivals {
        if seen.digest != one.digest {
            report.note("corrupt", format!("{}: another content at {name}", one.id));
        }
        if seen.key != one.key {
            report
                .note("misrouted", format!("{}: key {:?} became {:?} at {name}", one.id, one.key, seen.key));
        }
    }
    if let Outcome::Answered(by) = &one.outcome
        && !arrivals.iter().any(|(name, _)| name == by)
    {
        report.note("corrupt", format!("{}: {by} answered what it has not seen", one.id));
    }
}
