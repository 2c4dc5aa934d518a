//! Every scenario there is, in the order of the page.

use crate::scenario::Scenario;
use crate::{connections, http1, http2, latency, memory, tls, tunnels};

/// The scenarios of each file, in the order of the page.
const PARTS: &[&[Scenario]] = &[
    http1::SCENARIOS,
    connections::SCENARIOS,
    http2::SCENARIOS,
    tls::SCENARIOS,
    tunnels::SCENARIOS,
    latency::SCENARIOS,
    memory::SCENARIOS,
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    PARTS.iter().flat_map(|part| part.iter())
}
