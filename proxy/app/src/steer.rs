//! From a request head to a decision: which key it holds, where it goes, and what is changed in its head.

use std::{
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use spurline_http::{Head, Name};
use spurline_route::{
    Admission, BaselineReason, Carrier, Edit, Edits, MemberCarrier, Query, RejectReason, Request, RouteTable,
    Selection, Trust, select,
};
use spurline_telemetry::metrics::{CarrierLabel, Counter, Reason, SelectionLabel};

use crate::{connection::Origin, reply::Reply, upstream::Cluster, worker::Worker};

/// The name under which this proxy signs `Via` (RFC 9110 section 7.6.3).
const VIA: &str = "1.1 spurline";
const PSEUDONYM: &[u8] = b"spurline";
/// A request that passed through this many proxies of ours is going in circles.
const HOPS_MAX: usize = 10;

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) selection: SelectionLabel,
    pub(crate) cluster: Rc<Cluster>,
    /// Where it goes when nothing of `cluster` can be reached.
    pub(crate) fallback: Option<Rc<Cluster>>,
}

/// What was read from the request, whatever was decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) admission: Option<Admission>,
    pub(crate) baseline_reason: Option<BaselineReason>,
    pub(crate) baggage_full: bool,
    /// Refused because it is strict and none of its carriers could be read.
    pub(crate) unreadable: bool,
    /// The table that decided, kept only for a request that asks for an explanation.
    pub(crate) table: Option<Arc<RouteTable>>,
}

/// Decides where the request goes and edits its head accordingly.
///
/// # Errors
/// The answer, when the request is refused.
pub(crate) fn steer(
    worker: &Worker,
    origin: &Origin,
    head: &mut Head,
    findings: &mut Findings,
) -> Result<Decision, Reply> {
    let (admission, edits) = read(worker, origin, head);
    findings.admission = Some(admission);
    if let Some(reason) = origin.binding.extractor.refusal(&admission.extraction) {
        return Err(refusal(reason));
    }
    let decision = decide(worker, origin, &admission, findings)?;
    findings.baggage_full = apply(worker, &edits, head)?;
    guard_against_loops(origin, &decision, head)?;
    if decision.cluster.is_own() {
        return Err(Reply::new(508, Reason::LoopDetected));
    }
    Ok(decision)
}

fn read(worker: &Worker, origin: &Origin, head: &Head) -> (Admission, Edits) {
    let binding = &origin.binding;
    let request = Request { fields: head.pairs(), authority: head.value(Name::Host), target: head.target() };
    let now = match binding.trust {
        Trust::Signed => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        Trust::All | Trust::None => 0,
    };
    let admission = binding.extractor.admit(&request, binding.trust, worker.verifier(), now);
    let edits = binding.extractor.edits(&request, &admission);
    let shard = worker.shard();
    if let Some(carrier) = admission.extraction.carrier {
        shard.inc(Counter::KeysRead(carrier_label(carrier)));
    }
    if admission.extraction.conflict.is_some() {
        shard.inc(Counter::KeyConflicts);
    }
    shard.add(Counter::KeyMalformed, u64::from(admission.extraction.malformed));
    if edits.outcome.stripped > 0 {
        shard.inc(Counter::KeysStripped);
    }
    if edits.outcome.key_lost {
        shard.inc(Counter::KeysLost);
    }
    if admission.refused.is_some() {
        shard.inc(Counter::TokensRefused);
    }
    (admission, edits)
}

fn decide(
    worker: &Worker,
    origin: &Origin,
    admission: &Admission,
    findings: &mut Findings,
) -> Result<Decision, Reply> {
    let binding = &origin.binding;
    let extraction = &admission.extraction;
    if extraction.explain {
        findings.table = Some(Arc::clone(&worker.table()));
    }
    if extraction.strict && extraction.key.is_none() && extraction.malformed > 0 {
        // Some key was meant, and what it would have selected nobody can tell.
        worker.shard().inc(Counter::KeyUnknown);
        findings.unreadable = true;
        return Err(refusal(RejectReason::UnknownKey));
    }
    let mut baseline = |reason| {
        findings.baseline_reason = Some(reason);
        let cluster = worker.baseline(origin).ok_or_else(|| Reply::new(503, Reason::NoEndpoint))?;
        Ok(Decision { selection: SelectionLabel::Baseline, cluster, fallback: None })
    };
    let (Some(key), Some(workload)) = (&extraction.key, &binding.workload) else {
        return baseline(BaselineReason::NoKey);
    };
    let table = worker.table();
    let query = Query { workload, port: origin.port, key: Some(key), strict: extraction.strict };
    match select(&table, &query) {
        Selection::Baseline(reason) => {
            if reason == BaselineReason::UnknownKey {
                worker.shard().inc(Counter::KeyUnknown);
            }
            baseline(reason)
        }
        Selection::Override(rule, endpoints) => {
            let fallback = match rule.unavailable(extraction.strict) {
                Selection::Baseline(_) => worker.baseline(origin),
                Selection::Override(..) | Selection::Reject(_) => None,
            };
            let cluster = worker.cluster(origin, endpoints);
            Ok(Decision { selection: SelectionLabel::Override, cluster, fallback })
        }
        Selection::Reject(reason) => {
            if reason == RejectReason::UnknownKey {
                worker.shard().inc(Counter::KeyUnknown);
            }
            Err(refusal(reason))
        }
    }
}

fn refusal(reason: RejectReason) -> Reply {
    match reason {
        RejectReason::UnknownKey => Reply::new(503, Reason::UnknownKey),
        RejectReason::ForkUnavailable => Reply::new(503, Reason::ForkUnavailable),
        RejectReason::PortNotMapped => Reply::new(503, Reason::PortNotMapped),
        RejectReason::ConflictingKeys => Reply::new(400, Reason::ConflictingKeys),
    }
}

/// Applies the edits of the carriers; returns whether the baggage had no room for the key.
fn apply(worker: &Worker, edits: &Edits, head: &mut Head) -> Result<bool, Reply> {
    for edit in &edits.edits {
        let applied = match edit {
            Edit::Remove(index) => {
                head.remove(*index);
                Ok(())
            }
            Edit::Replace(index, value) => head.replace(*index, value),
            Edit::Append(name, value) => head.append(name.as_bytes(), value),
            Edit::Target(target) => head.replace_target(target),
        };
        // What propagation writes is built from what was read as fields, so this cannot be reached from outside.
        applied.map_err(|_| Reply::new(500, Reason::Internal))?;
    }
    if edits.outcome.baggage_full {
        worker.shard().inc(Counter::BaggageFull);
    }
    Ok(edits.outcome.baggage_full)
}

/// A request that leaves this pod for another proxy carries `Via`; one that has been through too many is refused.
/// Delivery to the app of the pod adds nothing, so that its requests stay byte for byte what they were.
fn guard_against_loops(origin: &Origin, decision: &Decision, head: &mut Head) -> Result<(), Reply> {
    let hops = head
        .values(Name::Via)
        .flat_map(|via| via.split(|byte| *byte == b','))
        .filter(|member| member.trim_ascii().ends_with(PSEUDONYM))
        .count();
    if hops >= HOPS_MAX {
        return Err(Reply::new(508, Reason::LoopDetected));
    }
    let leaves = decision.selection == SelectionLabel::Override || origin.is_gateway();
    if leaves {
        head.append(b"via", VIA.as_bytes()).map_err(|_| Reply::new(500, Reason::Internal))?;
    }
    Ok(())
}

fn carrier_label(carrier: Carrier) -> CarrierLabel {
    match carrier {
        Carrier::Header(_) => CarrierLabel::Header,
        Carrier::Baggage => CarrierLabel::Baggage,
        Carrier::Tracestate => CarrierLabel::Tracestate,
        Carrier::OtBaggage => CarrierLabel::OtBaggage,
        Carrier::Uberctx => CarrierLabel::Uberctx,
        Carrier::BaggageHeader => CarrierLabel::BaggageHeader,
        Carrier::Legacy(MemberCarrier::Baggage) => CarrierLabel::LegacyBaggage,
        Carrier::Legacy(MemberCarrier::Tracestate) => CarrierLabel::LegacyTracestate,
        Carrier::Legacy(MemberCarrier::OtBaggage) => CarrierLabel::LegacyOtBaggage,
        Carrier::Legacy(MemberCarrier::Uberctx) => CarrierLabel::LegacyUberctx,
        Carrier::Legacy(MemberCarrier::BaggageHeader) => CarrierLabel::LegacyBaggageHeader,
        Carrier::Host => CarrierLabel::Host,
        Carrier::Query => CarrierLabel::Query,
        Carrier::Cookie => CarrierLabel::Cookie,
        Carrier::Own => CarrierLabel::Own,
        Carrier::Trace => CarrierLabel::Trace,
    }
}
