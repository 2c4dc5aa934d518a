//! The page of a record: what Spurline costs beside every peer, as Markdown and plots. It is made of the record and of
//! what was written by hand about the aims that are missed, and is the same whenever it is made.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::record::{Figure, INTERRUPTED, Performed, Record};
use crate::svg::{self, Bar, Panel};

mod aims;
mod glance;
mod section;
mod words;

/// What a platform shows first of a directory.
const PAGE: &str = "README.md";

/// A second figure that has a plot: a tail says what a median does not.
const PLOTTED_TOO: &str = "added_p99_micros";

/// Beside the record, by hand and not by a run: why each aim that is missed is missed, and what would be next.
const MISSED: &str = "missed.md";

/// Writes the page of `record` and its plots into `dir`, over older ones; the record is there already.
pub(crate) fn write(record: &Record, dir: &Path) -> Result<PathBuf> {
    let save = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        anyhow::Ok(path)
    };
    for group in groups(record) {
        save(&plot_name(group), &plot(record, group))?;
    }
    // Most directories have none.
    let missed = fs::read_to_string(dir.join(MISSED)).unwrap_or_default();
    save(PAGE, &render(record, &missed)?)
}

/// The page of a record that was written before, beside it.
pub(crate) fn again(path: &Path) -> Result<()> {
    let record = Record::read(path)?;
    let page = write(&record, path.parent().unwrap_or_else(|| Path::new("")))?;
    eprintln!("page    {}", page.display());
    Ok(())
}

fn render(record: &Record, missed: &str) -> Result<String> {
    let mut text = String::from("# What Spurline costs beside other proxies\n\n");
    head(&mut text, record)?;
    aims::render(&mut text, record)?;
    if !missed.is_empty() {
        writeln!(text, "\n{}", missed.trim())?;
    }
    glance::render(&mut text, record)?;
    words::render(&mut text, record)?;
    for group in groups(record) {
        writeln!(text, "\n## {group}\n\n![{group}]({})", plot_name(group))?;
        for performed in of_group(record, group) {
            section::render(&mut text, performed)?;
        }
    }
    versions(&mut text, record)?;
    method(&mut text, record)?;
    Ok(text)
}

/// Where and when, and what makes the figures weaker than they look.
fn head(text: &mut String, record: &Record) -> Result<()> {
    let Record { machine, begin, end, commit, .. } = record;
    let file = record.file_name();
    let until = if end == INTERRUPTED { ", interrupted".to_owned() } else { format!(" to {end}") };
    writeln!(
        text,
        "One run of `{}` from {begin}{until}, commit `{commit}`, with every sample in [{file}]({file}). This page is made of \
         that file by `spurline-bench report`.\n",
        record.command
    )?;
    let memory = machine.memory_mebibytes as f64 / 1024.0;
    writeln!(
        text,
        "The machine: {}, {} cores{}, {memory:.1} GiB of memory, kernel {}, clock governor {}. Core {} belonged to what was \
         measured, core {} to load and backends; the load average before the run was {:.2}.",
        machine.cpu,
        machine.cores,
        if machine.is_virtual { " (virtual)" } else { "" },
        machine.kernel,
        machine.governor,
        machine.proxy_core,
        machine.load_core,
        machine.load_before,
    )?;
    let doubts = [
        (record.pace == "quick", "it was a quick run: orders of magnitude, not figures"),
        (record.build == "debug", "the bench was a debug build, its load generators are slow"),
        (end == INTERRUPTED, "the run was interrupted, what came after is missing"),
        (record.is_dirty, "the work tree held changes that are not in the commit"),
        (machine.load_before > 0.5, "the machine had other work just before"),
    ];
    let doubts: Vec<&str> = doubts.into_iter().filter_map(|(holds, doubt)| holds.then_some(doubt)).collect();
    if !doubts.is_empty() {
        writeln!(text, "\n**Read with care:** {}.", doubts.join("; "))?;
    }
    Ok(())
}

fn versions(text: &mut String, record: &Record) -> Result<()> {
    let versions = &record.versions;
    writeln!(text, "\n## Versions\n\n| | |\n|---|---|")?;
    for (name, version) in [
        ("spurline-proxy", &versions.spurline),
        ("spurline-control", &versions.control),
        ("HAProxy", &versions.haproxy),
        ("nginx", &versions.nginx),
        ("Envoy", &versions.envoy),
        ("hyper", &versions.hyper),
        ("Pingora", &versions.pingora),
        ("wrk", &versions.wrk),
        ("h2load", &versions.h2load),
    ] {
        writeln!(text, "| {name} | {} |", cell(version))?;
    }
    Ok(())
}

fn method(text: &mut String, record: &Record) -> Result<()> {
    let length = if record.pace == "quick" { "1 s" } else { "2 s" };
    writeln!(
        text,
        "\n## Method\n\n\
         Every peer does the same work with one worker on one core, at its documented production settings. Each round measures \
         every peer once, in another order, in a fresh process that has proven that it answers rightly; a measurement is {length} \
         after a warm-up unless the scenario says otherwise. The backends count what comes to them: a load of which requests came to the \
         wrong one is refused. CPU time is user and system time of the peer's whole process tree, counted by the kernel in \
         nanoseconds.\n\n\
         * A figure is a median over the rounds. MAD is the median absolute deviation from the median.\n\
         * *Spurline ÷ it* is the median of the rounds' own ratios. A difference smaller than the two MADs together, or \
         than 2 %, is none; where a side has one or two samples, which say no spread, one smaller than 10 % is none. There is no ratio where a \
         side is not above zero and its own MAD. Added latency is a difference itself: its ratio is that of the two medians.\n\
         * `floor` is a TCP relay that parses nothing and cannot route. `spurline` has 10,000 overrides of the requested workload, \
         `spurline-1` has one; the others have one key unless the scenario says otherwise. `hyper` and `pingora` are \
         relays of this repository on those libraries. linkerd2-proxy has no column: no package and no binary of it can be had \
         from a registry.\n\
         * Figures of two runs do not compare; ratios within one run do. The [bench](../README.md) says how each kind of figure is \
         taken and when a measurement is refused."
    )?;
    Ok(())
}

/// The headings, in the order in which scenarios came under them.
fn groups(record: &Record) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for performed in &record.scenarios {
        if !groups.contains(&performed.group.as_str()) {
            groups.push(&performed.group);
        }
    }
    groups
}

fn of_group<'a>(record: &'a Record, group: &str) -> impl Iterator<Item = &'a Performed> {
    record.scenarios.iter().filter(move |performed| performed.group == group)
}

fn plot(record: &Record, group: &str) -> String {
    let panels = of_group(record, group).flat_map(|performed| {
        let metrics = performed.metrics.iter().enumerate();
        let plotted = metrics.filter(|(place, metric)| *place == 0 || metric.name == PLOTTED_TOO);
        plotted.map(|(place, metric)| panel(performed, place, metric))
    });
    svg::render(group, &panels.collect::<Vec<_>>())
}

fn panel<'a>(performed: &'a Performed, place: usize, metric: &Figure) -> Panel<'a> {
    let ours = performed.ours();
    let bars = performed.peers.iter().map(|column| Bar {
        name: &column.peer,
        is_ours: Some(column.peer.as_str()) == ours,
        summary: column.summary(place),
    });
    Panel {
        title: &performed.title,
        measure: format!("{} ({}{})", metric.title, metric.unit, metric.better.words()),
        bars: bars.collect(),
    }
}

/// "HTTP/2 and gRPC": `http-2-and-grpc.svg`.
fn plot_name(group: &str) -> String {
    let words: Vec<String> = group
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    format!("{}.svg", words.join("-"))
}

/// What may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

#[cfg(test)]
mod tests;
