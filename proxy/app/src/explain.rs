//! The answer to `x-spurline-explain`: which decision was made and why.

use std::net::SocketAddr;

use spurline_route::{BaselineReason, Explain, Query, RejectReason, Selection, select};

use crate::{connection::Origin, record::Record};

/// The response field that names the decision.
pub(crate) const EXPLAIN_FIELD: &str = "x-spurline-explain";

/// The decision in words, for requests that asked for it, from the table that decided.
pub(crate) fn explain(origin: &Origin, record: &Record, endpoint: Option<SocketAddr>) -> Option<String> {
    let table = record.findings.table.as_ref()?;
    let extraction = record.findings.admission?.extraction;
    let workload = origin.binding.workload.as_ref()?;
    let (key, strict) = (extraction.key.as_ref(), extraction.strict);
    let selection = match record.findings.baseline_reason {
        _ if record.findings.unreadable => Selection::Reject(RejectReason::UnknownKey),
        Some(BaselineReason::Unavailable) => Selection::Baseline(BaselineReason::Unavailable),
        _ => select(table, &Query { workload, port: origin.port, key, strict }),
    };
    let explain = Explain {
        workload,
        key,
        carrier: extraction.carrier,
        selection,
        endpoint,
        generation: table.generation(),
    };
    Some(explain.to_string())
}
