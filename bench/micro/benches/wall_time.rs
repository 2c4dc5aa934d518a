//! The cases by wall time. `cargo bench -p spurline-micro -- hpack` runs those whose name has `hpack` in it.

#![allow(clippy::expect_used, reason = "a case that cannot be prepared is a benchmark that fails")]

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in spurline_micro::cases() {
        criterion.bench_function(case.name, |bencher| {
            let mut operation = (case.prepare)().expect(case.name);
            bencher.iter(&mut operation);
        });
    }
    criterion.final_summary();
}
