//! Selection: where one request goes, by its key.
//!
//! A pure look-up. It neither picks an endpoint nor knows which are alive: when a fork's endpoints all fail, the caller
//! asks [`Override::unavailable`].

use std::sync::Arc;

use crate::{Endpoint, OnUnavailable, Override, RouteTable, RoutingKey, Workload};

/// What is asked about one request.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The workload the request is meant for.
    pub workload: &'a Workload,
    /// The workload's port, as its clients see it.
    pub port: u16,
    /// The request's key, if it has one.
    pub key: Option<&'a RoutingKey>,
    /// Whether the sender would rather be refused than served by the baseline instead of a fork.
    pub strict: bool,
}

/// The outcome for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'t> {
    /// To the baseline: the local app, or the workload's baseline endpoints.
    Baseline(BaselineReason),
    /// To a fork, by its endpoints for this port; there is at least one.
    Override(&'t Override, &'t Arc<[Endpoint]>),
    /// To nobody.
    Reject(RejectReason),
}

/// Why a request goes to the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BaselineReason {
    /// It has no routing key.
    NoKey,
    /// Its sandbox does not fork this workload.
    NotForked,
    /// No sandbox is known to have its key.
    UnknownKey,
    /// Its fork does not map this port.
    PortNotMapped,
    /// Its fork has no live endpoint and says `onUnavailable: Baseline`.
    Unavailable,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// It is strict, and no sandbox is known to have its key.
    UnknownKey,
    /// Its fork has no live endpoint.
    ForkUnavailable,
    /// It is strict, and its fork does not map this port.
    PortNotMapped,
    /// Its carriers hold different keys, and that is configured to be refused.
    ConflictingKeys,
}

/// Looks one request up.
///
/// A key that is known but does not fork this workload means the baseline, even for a strict request: that is what the
/// sandbox asked for. What strict refuses is a fall-back. An override counts whether or not its key is known.
#[must_use]
pub fn select<'t>(table: &'t RouteTable, query: &Query<'_>) -> Selection<'t> {
    let Query { workload, port, key, strict } = *query;
    let Some(key) = key else {
        return Selection::Baseline(BaselineReason::NoKey);
    };
    let Some(rule) = table.find(workload, key) else {
        return match (table.knows(key), strict) {
            (true, _) => Selection::Baseline(BaselineReason::NotForked),
            (false, true) => Selection::Reject(RejectReason::UnknownKey),
            (false, false) => Selection::Baseline(BaselineReason::UnknownKey),
        };
    };
    match rule.endpoints(port) {
        Some(endpoints) if endpoints.is_empty() => rule.unavailable(strict),
        Some(endpoints) => Selection::Override(rule, endpoints),
        None if strict => Selection::Reject(RejectReason::PortNotMapped),
        None => Selection::Baseline(BaselineReason::PortNotMapped),
    }
}

// === impl Override ===

impl Override {
    /// What becomes of a request when none of the fork's endpoints is alive.
    #[must_use]
    pub fn unavailable(&self, strict: bool) -> Selection<'static> {
        match (self.on_unavailable, strict) {
            (OnUnavailable::Baseline, false) => Selection::Baseline(BaselineReason::Unavailable),
            _ => Selection::Reject(RejectReason::ForkUnavailable),
        }
    }
}

// === impl Selection ===

impl Selection<'_> {
    /// The kind of outcome, for metrics and logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Baseline(_) => "baseline",
            Self::Override(..) => "override",
            Self::Reject(_) => "reject",
        }
    }

    /// Why it is no override; `None` if it is one.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Baseline(reason) => Some(reason.label()),
            Self::Override(..) => None,
            Self::Reject(reason) => Some(reason.label()),
        }
    }
}

// === impl BaselineReason ===

impl BaselineReason {
    /// The reason's name in metrics, logs and `x-spurline-reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoKey => "no-routing-key",
            Self::NotForked => "not-forked",
            Self::UnknownKey => "unknown-routing-key",
            Self::PortNotMapped => "port-not-mapped",
            Self::Unavailable => "fork-unavailable",
        }
    }
}

// === impl RejectReason ===

impl RejectReason {
    /// The reason's name in metrics, logs and `x-spurline-reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown-routing-key",
            Self::ForkUnavailable => "fork-unavailable",
            Self::PortNotMapped => "port-not-mapped",
            Self::ConflictingKeys => "conflicting-routing-key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PortMatch, RouteTableBuilder};

    struct Case {
        table: RouteTable,
        workload: Workload,
    }

    impl Case {
        /// `k1` forks `cart` on port 8080 only, `k2` is known and forks nothing of it.
        fn new(on_unavailable: OnUnavailable, endpoints: &[Endpoint]) -> Self {
            let workload: Workload = "shop/Deployment/cart".parse().unwrap();
            let mut builder = RouteTableBuilder::new(3);
            builder.add_sandbox("alice", "k1".parse().unwrap()).unwrap();
            builder.add_sandbox("bob", "k2".parse().unwrap()).unwrap();
            let ports = vec![(PortMatch::Port(8080), endpoints.into())];
            let rule = Override { fork: "cart-alice".into(), sandbox: "alice".into(), on_unavailable, ports };
            builder.add_override(&workload, "k1".parse().unwrap(), rule).unwrap();
            Self { table: builder.build().unwrap(), workload }
        }

        fn live() -> Self {
            Self::new(OnUnavailable::Reject, &[Endpoint { addr: ([127, 0, 0, 1], 1).into() }])
        }

        fn select(&self, key: Option<&str>, port: u16, strict: bool) -> Selection<'_> {
            let key = key.map(|key| key.parse().unwrap());
            select(&self.table, &Query { workload: &self.workload, port, key: key.as_ref(), strict })
        }
    }

    #[test]
    fn a_key_that_forks_the_workload_goes_to_the_fork() {
        let case = Case::live();
        for strict in [false, true] {
            let Selection::Override(rule, endpoints) = case.select(Some("k1"), 8080, strict) else {
                panic!("no override");
            };
            assert_eq!((rule.fork.as_ref(), endpoints.len()), ("cart-alice", 1));
        }
    }

    #[test]
    fn everything_else_goes_to_the_baseline() {
        let case = Case::live();
        for (key, port, reason) in [
            (None, 8080, BaselineReason::NoKey),
            (Some("k2"), 8080, BaselineReason::NotForked),
            (Some("k3"), 8080, BaselineReason::UnknownKey),
            (Some("k1"), 9090, BaselineReason::PortNotMapped),
        ] {
            assert_eq!(case.select(key, port, false), Selection::Baseline(reason));
        }
    }

    #[test]
    fn strict_refuses_every_fall_back_but_not_a_workload_the_sandbox_does_not_fork() {
        let case = Case::live();
        assert_eq!(case.select(None, 8080, true), Selection::Baseline(BaselineReason::NoKey));
        assert_eq!(case.select(Some("k2"), 8080, true), Selection::Baseline(BaselineReason::NotForked));
        assert_eq!(case.select(Some("k3"), 8080, true), Selection::Reject(RejectReason::UnknownKey));
        assert_eq!(case.select(Some("k1"), 9090, true), Selection::Reject(RejectReason::PortNotMapped));
    }

    #[test]
    fn strict_goes_to_a_fork_whose_key_is_not_known_yet_and_is_refused_elsewhere() {
        let case = Case::live();
        let mut builder = RouteTableBuilder::from_table(&case.table, 4);
        builder.remove_owner(&"k1".parse().unwrap());
        let case = Case { table: builder.finish(), ..case };
        assert!(matches!(case.select(Some("k1"), 8080, true), Selection::Override(..)));
        let web = Case { workload: "shop/Deployment/web".parse().unwrap(), ..case };
        assert_eq!(web.select(Some("k1"), 8080, true), Selection::Reject(RejectReason::UnknownKey));
        let unknown = Selection::Baseline(BaselineReason::UnknownKey);
        assert_eq!(web.select(Some("k1"), 8080, false), unknown);
    }

    #[test]
    fn a_fork_without_endpoints_is_refused_unless_it_says_baseline_and_nobody_is_strict() {
        let refused = Selection::Reject(RejectReason::ForkUnavailable);
        let reject = Case::new(OnUnavailable::Reject, &[]);
        assert_eq!(reject.select(Some("k1"), 8080, false), refused);
        let baseline = Case::new(OnUnavailable::Baseline, &[]);
        let fell_back = baseline.select(Some("k1"), 8080, false);
        assert_eq!(fell_back, Selection::Baseline(BaselineReason::Unavailable));
        assert_eq!(baseline.select(Some("k1"), 8080, true), refused);
    }

    #[test]
    fn labels_name_the_outcome_and_the_reason() {
        let case = Case::live();
        let labels = |selection: Selection<'_>| (selection.label(), selection.reason());
        assert_eq!(labels(case.select(Some("k1"), 8080, false)), ("override", None));
        assert_eq!(labels(case.select(Some("k3"), 8080, true)), ("reject", Some("unknown-routing-key")));
        assert_eq!(labels(case.select(None, 8080, false)), ("baseline", Some("no-routing-key")));
    }
}
