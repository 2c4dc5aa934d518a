//! Every scenario there is, in the order of the page.

use crate::scenario::Scenario;
use crate::{
    connections, control, http1, http2, latency, memory, propagation, route_tables, start, streaming,
    syscalls, tls, tunnels,
};

/// The scenarios of each file, in the order of the page.
const PARTS: &[&[Scenario]] = &[
    http1::SCENARIOS,
    connections::SCENARIOS,
    syscalls::SCENARIOS,
    http2::SCENARIOS,
    streaming::SCENARIOS,
    tls::SCENARIOS,
    tunnels::SCENARIOS,
    route_tables::SCENARIOS,
    propagation::SCENARIOS,
    latency::SCENARIOS,
    memory::SCENARIOS,
    start::SCENARIOS,
    control::STARTS,
    control::FAN_OUT,
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    PARTS.iter().flat_map(|part| part.iter())
}
