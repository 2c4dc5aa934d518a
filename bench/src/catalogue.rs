//! Every scenario there is, in the order of the page.

use crate::scenario::Scenario;

/// The scenarios of each file, in the order of the page.
const PARTS: &[&[Scenario]] = &[];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    PARTS.iter().flat_map(|part| part.iter())
}
