//! Steady traffic through the shop while the sandbox is deleted and created again, and the judgement over it.

mod load;
mod tally;
mod timeline;

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use self::load::{Load, Sample};
use self::tally::Tally;
use self::timeline::Timeline;
use crate::screen::{Cell, Screen, Style};
use crate::service::Version;
use crate::shop::{Change, Map};

pub(crate) use self::load::cart_of;

/// The sandbox is deleted and created again this often.
const ROUNDS: usize = 3;
/// How long the routes rest between two changes, so that requests meet each of them for certain.
const REST: Duration = Duration::from_millis(500);

/// Runs the load over all changes, prints how long each took to reach everybody, and prints the counts. Returns whether every request was answered rightly.
///
/// # Errors
/// The sandbox cannot be changed, or a proxy does not acknowledge a change.
pub(crate) async fn run(map: &Map, screen: Screen) -> Result<bool> {
    screen.heading("Steady traffic while the sandbox is deleted and created again over REST");
    let (sandbox, proxies) = (map.sandbox(), map.proxies().len());
    let started = Instant::now();
    let mut load = Load::start(map.gateway.listen);
    let mut timeline = Timeline::starting_with(Version::Fork);
    sleep(REST).await;
    for to in [Version::Baseline, Version::Fork].into_iter().cycle().take(2 * ROUNDS) {
        let change = sandbox.change(to, proxies).await?;
        timeline.change(to, change.sent, change.live);
        sleep(REST).await;
        screen.step(&describe(to, &change, load.so_far()));
    }
    let samples = load.finish().await;
    let tally = Tally::of(&samples, &timeline);
    print_tally(&tally, started.elapsed(), screen);
    Ok(tally.held())
}

/// What a change took: until every proxy had acknowledged it, and until the load met it.
fn describe(to: Version, change: &Change, samples: &[Sample]) -> String {
    let met = |answered: Option<Instant>| {
        answered.map_or_else(|| "none".to_owned(), |at| format!("{} ms", (at - change.sent).as_millis()))
    };
    let by_fork = samples
        .iter()
        .filter(|sample| sample.answered >= change.sent && sample.outcome.is_by(Version::Fork))
        .map(|sample| sample.answered);
    let (what, edge, answered) = match to {
        Version::Fork => ("created:", "first", by_fork.min()),
        Version::Baseline => ("deleted:", "last ", by_fork.max()),
    };
    format!(
        "{what} programmed {0}/{0} after {1:>3} ms, {edge} request served by the fork after {2:>6}",
        change.proxies,
        change.took().as_millis(),
        met(answered)
    )
}

fn print_tally(tally: &Tally, took: Duration, screen: Screen) {
    let mut rows = Vec::new();
    for (kind, counts) in &tally.kinds {
        let numbers = [counts.sent, counts.answered(), counts.baseline, counts.fork];
        let mut row = vec![Cell::plain(kind.label())];
        row.extend(numbers.map(|number| Cell::plain(number.to_string())));
        row.extend([counts.lost, counts.misrouted].map(failures));
        rows.push(row);
    }
    screen.line("");
    screen.table(&["request", "sent", "answered", "by cart", "by cart@alice", "lost", "misrouted"], &rows);
    let total = tally.total();
    let summary = format!(
        "{} requests over {} keep-alive connections in {:.1} s: {} answered, {} lost, {} misrouted",
        total.sent,
        Load::connections(),
        took.as_secs_f64(),
        total.answered(),
        total.lost,
        total.misrouted
    );
    screen.line("");
    screen.verdict(tally.held(), &summary);
    screen.step(&format!(
        "  ({} of them met a change under way, when either copy is right; outside of that only one is)",
        total.in_transition
    ));
    if tally.decided.contains(&0) {
        screen.verdict(
            false,
            "no keyed request was sent between two of the changes: nothing is proven about it",
        );
    }
    for complaint in &tally.complaints {
        screen.step(&format!("  {complaint}"));
    }
}

fn failures(number: u64) -> Cell {
    Cell::new(number.to_string(), if number == 0 { Style::Good } else { Style::Bad })
}
