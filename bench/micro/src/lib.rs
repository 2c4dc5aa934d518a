//! Micro-benchmarks of the pure crates. Each [`Case`] is one operation of the data plane, prepared once and then done again
//! and again: criterion times it (`benches/wall_time.rs`), `spurline-micro` counts its instructions.
//!
//! Not here: sockets, wake-ups and the allocator under load. What a request costs in all is what `spurline-bench` measures.

mod baggage;
mod extract;
mod h1;
mod h2;
mod hpack;
mod lookup;
mod messages;
mod rotation;

use anyhow::Result;

/// One operation, ready to be done any number of times.
pub type Operation = Box<dyn FnMut()>;

/// One benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `<group>/<what>`; what the baseline and the command line call it.
    pub name: &'static str,
    /// Sets the operation up, does it once and checks that it does what the name says.
    pub prepare: fn() -> Result<Operation>,
}

/// Every benchmark, by group.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [extract::CASES, lookup::CASES, baggage::CASES, h1::CASES, hpack::CASES, h2::CASES].into_iter().flatten()
}

/// Does an operation that many times. Only what is executed in here is counted, which is why it is a function of its own.
#[inline(never)]
pub fn measured(operation: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        operation();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_can_be_done_again_and_again() {
        for case in cases() {
            let mut operation = (case.prepare)().unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            measured(&mut operation, 300);
        }
    }

    #[test]
    fn the_baseline_has_every_case_and_no_other() {
        let baseline: serde_json::Value = serde_json::from_str(include_str!("../baseline.json")).unwrap();
        let listed: BTreeSet<_> =
            baseline["instructions"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(listed, cases().map(|case| case.name).collect());
    }
}
