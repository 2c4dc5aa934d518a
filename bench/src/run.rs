//! `spurline-bench run`: scenario by scenario, in interleaved rounds.
//!
//! Each round measures every peer once, in an order of its own, each time in a fresh process: drift of the machine and the
//! luck of one process's memory layout spread over all peers. What fails is recorded and the run goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::catalogue;
use crate::cli::RunOptions;
use crate::host::{self, LOAD_CORE};
use crate::interrupt;
use crate::page;
use crate::peer::Peer;
use crate::record::{Column, Performed, Record};
use crate::scenario::{Measure, Pace, Scenario, Setting};
use crate::table;

/// A peer that has failed so often in a scenario is not tried again: each try may cost a time-out.
const FAILURES_MAX: usize = 2;

/// Variables that name binaries; what stands before their last part is of this machine.
const BINARIES: [&str; 4] =
    ["SPURLINE_PROXY", "SPURLINE_CONTROL", "SPURLINE_BENCH_ENVOY", "SPURLINE_BENCH_PINGORA"];

/// One scenario that was chosen.
struct Chosen {
    scenario: &'static Scenario,
    peers: Vec<Peer>,
    rounds: u32,
}

/// What says how far the run is.
struct Progress {
    begin: Instant,
    done: u32,
    total: u32,
}

/// Measures, prints a table for each scenario, saves the record and its page.
///
/// # Errors
/// Spurline could not be measured somewhere; everything else that was is saved nevertheless.
pub(crate) fn run(options: &RunOptions) -> Result<()> {
    let chosen = choose(options)?;
    host::check()?;
    let scratch = host::scratch_dir()?;
    interrupt::watch(scratch.path().to_owned())?;
    let mut record = Record::begin(command(), options.pace.name());
    // Clients of the bench's own run in this process.
    host::pin_this_process(LOAD_CORE)?;
    let total = chosen.iter().map(|chosen| chosen.rounds * chosen.peers.len() as u32).sum();
    let mut progress = Progress { begin: Instant::now(), done: 0, total };
    for chosen in &chosen {
        let setting = Setting { dir: scratch.path().join(chosen.scenario.id), pace: options.pace };
        let mut performed = chosen.perform(&setting, &mut progress)?;
        performed.strip_paths(scratch.path());
        crate::report::print(&table::render(&performed)?)?;
        record.scenarios.push(performed);
        // An interrupt later leaves this.
        record.save(&options.save)?;
    }
    record.end = host::now();
    let path = record.save(&options.save)?;
    let page = page::write(&record, &options.save)?;
    eprintln!("\nrecord  {}\npage    {}", path.display(), page.display());
    close(scratch);
    let failed: Vec<&str> =
        record.scenarios.iter().filter(|it| it.has_failed()).map(|it| it.id.as_str()).collect();
    ensure!(failed.is_empty(), "Spurline was not measured in every round of: {}", failed.join(", "));
    Ok(())
}

/// Prints what there is, and how much a run of all of it is.
pub(crate) fn list() -> Result<()> {
    let mut group = "";
    let mut text = String::new();
    for scenario in catalogue::all() {
        if group != scenario.group {
            group = scenario.group;
            text.push_str(&format!("\n{group}\n"));
        }
        let peers: Vec<&str> = scenario.peers.iter().map(|peer| peer.name()).collect();
        let quick = if scenario.rounds.quick == 0 { " (not with --quick)" } else { "" };
        text.push_str(&format!("  {:<22} {}{quick}\n", scenario.id, scenario.title));
        text.push_str(&format!("  {:<22} {}\n", "", peers.join(", ")));
    }
    for pace in [Pace::Full, Pace::Quick] {
        let count: u32 = catalogue::all().map(|it| it.rounds.at(pace) * it.peers.len() as u32).sum();
        text.push_str(&format!("\n{count} measurements in a {} run", pace.name()));
    }
    crate::report::print(&format!("{}\n", text.trim_start()))
}

/// The scenarios that were named, or all; each with the peers that were asked for and take part.
fn choose(options: &RunOptions) -> Result<Vec<Chosen>> {
    for name in &options.scenarios {
        let is_known = catalogue::all().any(|scenario| scenario.id.starts_with(name.as_str()));
        ensure!(is_known, "no scenario is called {name} or begins so; see: spurline-bench list");
    }
    let is_named =
        |scenario: &Scenario| options.scenarios.iter().any(|name| scenario.id.starts_with(name.as_str()));
    let chosen: Vec<Chosen> = catalogue::all()
        .filter(|scenario| options.scenarios.is_empty() || is_named(scenario))
        .map(|scenario| {
            let is_asked = |peer: &&Peer| options.peers.as_ref().is_none_or(|peers| peers.contains(peer));
            let rounds = scenario.rounds.at(options.pace);
            // Who names a scenario means it.
            let rounds = if is_named(scenario) { rounds.max(1) } else { rounds };
            let rounds = if rounds == 0 { 0 } else { options.rounds.unwrap_or(rounds) };
            Chosen { scenario, peers: scenario.peers.iter().filter(is_asked).copied().collect(), rounds }
        })
        .filter(|chosen| chosen.rounds > 0 && !chosen.peers.is_empty())
        .collect();
    if chosen.is_empty() {
        bail!("none of these peers takes part in any of these scenarios; see: spurline-bench list");
    }
    Ok(chosen)
}

/// What was typed, with the last part of a path that says where something is on this machine.
fn command() -> String {
    let words = std::env::args().skip(1).map(|word| last_part(&word));
    ["spurline-bench".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// `/a/b` and `--save=/a/b` without the directories; every other word as it is.
fn last_part(word: &str) -> String {
    let (option, path) = match word.split_once('=') {
        Some((option, path)) if option.starts_with("--") => (format!("{option}="), path),
        _ => (String::new(), word),
    };
    match Path::new(path).file_name() {
        Some(name) if path.starts_with('/') => format!("{option}…/{}", name.display()),
        _ => word.to_owned(),
    }
}

/// A scratch directory that cannot be removed is no reason to lose a run.
fn close(scratch: TempDir) {
    if let Err(error) = scratch.close() {
        eprintln!("the scratch directory is left behind: {error}");
    }
}

fn without_paths(text: &str) -> String {
    let mut text = text.to_owned();
    let named = BINARIES.iter().filter_map(|variable| std::env::var_os(variable).map(PathBuf::from));
    let programs = named.chain(std::env::current_exe());
    let dirs = programs.filter_map(|program| program.parent().map(Path::to_owned));
    for dir in dirs.chain(std::env::current_dir()).chain(std::env::home_dir()).chain([std::env::temp_dir()]) {
        // Neither what names no place nor `/`, which stands in what is no path, too.
        if dir.is_absolute() && dir.components().count() > 1 {
            text = text.replace(&dir.display().to_string(), "…");
        }
    }
    text
}

// === impl Chosen ===

impl Chosen {
    fn perform(&self, setting: &Setting, progress: &mut Progress) -> Result<Performed> {
        let scenario = self.scenario;
        let mut performed = Performed::of(scenario, self.rounds);
        performed.peers = self.peers.iter().map(|peer| Column::of(*peer)).collect();
        std::fs::create_dir_all(&setting.dir).context("cannot create a scratch directory")?;
        let mut measure = match (scenario.begin)(setting) {
            Ok(measure) => measure,
            Err(error) => {
                interrupt::stop_if_raised();
                eprintln!("{}: cannot begin: {error:#}", scenario.id);
                performed.error = Some(format!("{error:#}"));
                progress.done += self.rounds * self.peers.len() as u32;
                return Ok(performed);
            }
        };
        for round in 1..=self.rounds {
            let mut order: Vec<(&Peer, &mut Column)> = self.peers.iter().zip(&mut performed.peers).collect();
            // The same orders in every run: a surprising figure can be looked at again.
            fastrand::Rng::with_seed(seed(scenario.id, round)).shuffle(&mut order);
            for (peer, column) in order {
                if column.errors.len() < FAILURES_MAX {
                    let mut outcome = self.measure(measure.as_mut(), *peer);
                    interrupt::stop_if_raised();
                    if let (true, Err(error)) = (matches!(peer, Peer::Spurline | Peer::SpurlineOne), &outcome)
                    {
                        eprintln!("{}: {} once more: {error:#}", scenario.id, peer.name());
                        let first = format!("{error:#}");
                        outcome = self.measure(measure.as_mut(), *peer);
                        if outcome.is_ok() {
                            column.retried.insert(round, first);
                        }
                        interrupt::stop_if_raised();
                    }
                    progress.say(scenario, (round, self.rounds), *peer, &outcome);
                    column.add(round, outcome);
                }
                progress.done += 1;
            }
        }
        Ok(performed)
    }

    fn measure(&self, measure: &mut dyn Measure, peer: Peer) -> Result<Vec<f64>> {
        host::check_peer(peer)?;
        let values = measure.measure(peer)?;
        let metrics = self.scenario.metrics;
        ensure!(values.len() == metrics.len(), "{} values for {} metrics", values.len(), metrics.len());
        for (value, metric) in values.iter().zip(metrics) {
            ensure!(value.is_finite(), "{} is not a number", metric.name);
        }
        Ok(values)
    }
}

// === impl Progress ===

impl Progress {
    fn say(&self, scenario: &Scenario, (round, rounds): (u32, u32), peer: Peer, outcome: &Result<Vec<f64>>) {
        let figure = match outcome {
            Ok(values) => {
                let unit = scenario.metrics.first().map_or("", |metric| metric.unit);
                values.first().map(|value| format!("{} {unit}", table::figure(*value))).unwrap_or_default()
            }
            Err(error) => format!("FAILED: {error:#}"),
        };
        let spent = self.begin.elapsed();
        let left = spent / (self.done + 1) * (self.total - self.done).saturating_sub(1);
        let minutes = (left + Duration::from_secs(30)).as_secs() / 60;
        eprintln!(
            "{:>4}/{:<4} {:<20} round {round}/{rounds}  {:<14} {figure:<18} {minutes} min left",
            self.done + 1,
            self.total,
            scenario.id,
            peer.name(),
        );
    }
}

// === impl Performed ===

impl Performed {
    /// Whether Spurline is missing where it was asked for.
    fn has_failed(&self) -> bool {
        let ours = |column: &&Column| column.peer.starts_with(Peer::Spurline.name());
        self.error.is_some() || self.peers.iter().filter(ours).any(|column| !column.errors.is_empty())
    }

    /// Errors name files; a record is read elsewhere.
    fn strip_paths(&mut self, scratch: &Path) {
        let scratch = scratch.display().to_string();
        let errors =
            self.peers.iter_mut().flat_map(|it| it.errors.values_mut().chain(it.retried.values_mut()));
        for error in errors.chain(&mut self.error) {
            *error = without_paths(&error.replace(&scratch, "…"));
        }
    }
}

// === impl Column ===

impl Column {
    fn of(peer: Peer) -> Self {
        Self { peer: peer.name().to_owned(), ..Self::default() }
    }

    fn add(&mut self, round: u32, outcome: Result<Vec<f64>>) {
        match outcome {
            Ok(values) => {
                self.samples.insert(round, values.into_iter().map(six_digits).collect());
            }
            Err(error) => {
                self.errors.insert(round, format!("{error:#}"));
            }
        }
    }
}

/// Of the order of one round of one scenario.
fn seed(id: &str, round: u32) -> u64 {
    id.bytes().fold(u64::from(round), |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

/// More than any measurement here is worth.
fn six_digits(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_kept() {
        assert_eq!(six_digits(12_345.678_9), 12_345.7);
        assert_eq!(six_digits(0.0), 0.0);
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own_a_metric_and_a_peer() {
        let mut ids: Vec<&str> = catalogue::all().map(|scenario| scenario.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for scenario in catalogue::all() {
            assert!(!scenario.metrics.is_empty() && !scenario.peers.is_empty(), "{}", scenario.id);
        }
    }

    #[test]
    fn a_command_is_recorded_without_directories() {
        assert_eq!(last_part("/srv/out"), "…/out");
        assert_eq!(last_part("--save=/srv/out"), "--save=…/out");
        assert_eq!(["http1", "--save=out", "a=b"].map(last_part), ["http1", "--save=out", "a=b"]);
    }

    #[test]
    fn a_path_of_this_machine_does_not_reach_a_record() {
        let here = std::env::current_dir().unwrap().display().to_string();
        assert!(!without_paths(&format!("{here}/target/x is missing")).contains(&here));
    }
}
