//! Steady traffic through the shop while the fork is removed and added again, and the judgement over it.

mod load;
mod tally;
mod timeline;

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use self::load::Load;
use self::tally::Tally;
use self::timeline::Timeline;
use crate::screen::{Cell, Screen, Style};
use crate::service::Version;
use crate::shop::{Generations, Map};

pub(crate) use self::load::cart_of;

/// The fork is removed and added again this often.
const ROUNDS: usize = 3;
/// How long the routes rest between two changes, so that requests meet each of them for certain.
const REST: Duration = Duration::from_millis(500);

/// Runs the load over all changes and prints the counts. Returns whether every request was answered rightly.
///
/// # Errors
/// The routes cannot be changed, or a proxy does not take a change.
pub(crate) async fn run(map: &Map, screen: Screen) -> Result<bool> {
    screen.heading("Steady traffic while the fork is removed and added again");
    let proxies = map.proxies().len();
    let mut generations = Generations::read(map.proxies()).await?;
    let started = Instant::now();
    let load = Load::start(map.gateway.listen);
    let mut timeline = Timeline::starting_with(Version::Fork);
    sleep(REST).await;
    for to in [Version::Baseline, Version::Fork].into_iter().cycle().take(2 * ROUNDS) {
        let written = Instant::now();
        map.routes.write(to)?;
        generations.advanced().await?;
        let live = Instant::now();
        timeline.change(to, written, live);
        let what = if to == Version::Fork { "fork added:  " } else { "fork removed:" };
        screen
            .step(&format!("{what} live in all {proxies} proxies after {} ms", (live - written).as_millis()));
        sleep(REST).await;
    }
    let samples = load.finish().await;
    let tally = Tally::of(&samples, &timeline);
    print_tally(&tally, started.elapsed(), screen);
    Ok(tally.held())
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
