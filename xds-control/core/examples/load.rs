//! Loads sandboxes into a model and a catalog, and reports time and memory.
//!
//! `cargo run --release -p spurline-core --example load -- [sandboxes] [forks]`, 10,000 × 100 by default.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool that prints, and stops when it cannot go on"
)]

use std::time::{Duration, Instant};

use serde_json::json;
use spurline_core::{
    catalog::{Catalog, Pattern, ResourceType, Revision},
    document::{self, Id, Kind},
    model::{Edit, Model, Origin, Record},
};

/// How many sandboxes are put at once.
const BATCH: usize = 100;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let (sandboxes, forks) = (args.next().unwrap_or(10_000usize), args.next().unwrap_or(100));
    let (mut model, mut catalog) = (Model::new(), Catalog::new());
    let before = resident_bytes();
    let start = Instant::now();
    let reading = load(&mut model, &mut catalog, sandboxes, forks);
    let (all, overrides) = (start.elapsed(), catalog.len(ResourceType::Override));
    let bytes = resident_bytes().saturating_sub(before);
    println!("{overrides} overrides of {sandboxes} sandboxes");
    println!("  documents made and read   {:>8.2} s", reading.as_secs_f64());
    println!("  derived and encoded       {:>8.2} s", (all - reading).as_secs_f64());
    println!("  memory                    {:>8.1} MiB", bytes as f64 / f64::from(1 << 20));
    println!("  memory for each override  {:>8.1} B", bytes as f64 / overrides.max(1) as f64);
    one_edit(&mut model, &mut catalog, forks);
    listing(&catalog);
    let start = Instant::now();
    let ids: Vec<Id> = model.list(Kind::Sandbox).map(|record| record.document.id()).collect();
    for batch in ids.chunks(BATCH) {
        let edits = batch.iter().map(|id| Edit::Delete { id: id.clone(), origin: Origin::Store });
        catalog.apply(model.apply(edits));
    }
    println!("  all deleted               {:>8.2} s", start.elapsed().as_secs_f64());
    // What the allocator keeps is used again: that it is not lost shows in a second load.
    load(&mut model, &mut catalog, sandboxes, forks);
    let again = resident_bytes().saturating_sub(before);
    println!("  memory, loaded again      {:>8.1} MiB", again as f64 / f64::from(1 << 20));
}

/// Puts the sandboxes, and says how long it took to make and read them.
fn load(model: &mut Model, catalog: &mut Catalog, sandboxes: usize, forks: usize) -> Duration {
    let mut reading = Duration::ZERO;
    for first in (0..sandboxes).step_by(BATCH) {
        let read = Instant::now();
        let batch = (first..sandboxes.min(first + BATCH)).map(|index| Edit::Put(sandbox(index, forks)));
        let batch: Vec<Edit> = batch.collect();
        reading += read.elapsed();
        catalog.apply(model.apply(batch));
    }
    reading
}

fn one_edit(model: &mut Model, catalog: &mut Catalog, forks: usize) {
    let since = catalog.revision();
    let record = sandbox(usize::MAX, forks);
    let start = Instant::now();
    catalog.apply(model.apply([Edit::Put(record)]));
    println!("  one more sandbox          {:>8.3} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let pattern = Pattern::parse("shop/Deployment/service-7/*").expect("a pattern");
    let changes = catalog.changes(ResourceType::Override, &pattern, since, 1 << 20).expect("a log");
    let micros = start.elapsed().as_secs_f64() * 1e6;
    println!("  its change of a workload  {micros:>8.1} µs, {} resources", changes.changed.len());
}

fn listing(catalog: &Catalog) {
    let start = Instant::now();
    let upto = catalog.revision();
    let entries = catalog.list(ResourceType::Override, &Pattern::All, None);
    let bytes: usize = entries.filter(|entry| entry.revision() <= upto).map(|e| e.resource().len()).sum();
    println!("  listed                    {:>8.3} s, {bytes} bytes", start.elapsed().as_secs_f64());
    assert!(catalog.changes(ResourceType::Override, &Pattern::All, upto, 1).is_ok_and(|c| c.complete));
    assert!(upto > Revision(0));
}

/// As a sandbox of the guide's, with the names of services.
fn sandbox(index: usize, forks: usize) -> Record {
    let name = if index == usize::MAX { "one-more".to_owned() } else { format!("sandbox-{index:05}") };
    let addr = |fork: usize| format!("10.{}.{}.{}:8080", index / 256 % 256, index % 256, fork % 256);
    let forks: Vec<_> = (0..forks)
        .map(|fork| {
            json!({ "workload": format!("shop/Deployment/service-{fork}"), "ports": { "8080": [addr(fork)] } })
        })
        .collect();
    let value = json!({
        "kind": "Sandbox",
        "metadata": { "name": name, "labels": { "team": format!("team-{}", index % 50) } },
        "spec": { "forks": forks },
    });
    let document = document::read(&value, None).expect("a sandbox");
    Record { document, origin: Origin::Store, created_unix_ms: index as u64, expires_unix_s: None }
}

/// What the process holds in memory, as Linux counts it.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
