//! The commands that talk to a control service.
//!
//! Results go to stdout in a form that stays; progress and errors go to stderr. Every document that was named is tried,
//! whatever became of those before it.

mod api;
mod files;
mod show;
mod unix;

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use clap::ArgMatches;
use serde_json::Value;
use spurline_core::document::{Id, Kind};
use spurline_rest::duration;

use self::{api::Api, files::Named};
use crate::outcome::Failure;

/// How long one request waits for proxies before the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that the service lets one request wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Runs a command on documents of a kind, or of any kind.
///
/// # Errors
/// What failed, everything at once.
pub(crate) fn run(noun: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let kind = match noun {
        "sandbox" => Some(Kind::Sandbox),
        "routegroup" => Some(Kind::RouteGroup),
        "workload" => Some(Kind::Workload),
        _ => None,
    };
    let (command, matches) = match kind {
        Some(_) => matches.subcommand().unwrap_or((noun, matches)),
        None => (noun, matches),
    };
    let api = Api::new(matches)?;
    match (command, kind) {
        ("get" | "list", Some(kind)) => show::get(&api, kind, matches),
        ("delete", Some(kind)) => delete(&api, kind, matches),
        ("wait", Some(kind)) => {
            let deadline = deadline(matches)?;
            each(&ids(kind, matches), |id| wait(&api, id, deadline))
        }
        ("heartbeat", Some(kind)) => each(&ids(kind, matches), |id| heartbeat(&api, id)),
        _ => apply(&api, kind, matches),
    }
}

fn apply(api: &Api, kind: Option<Kind>, matches: &ArgMatches) -> Result<(), Failure> {
    let documents = files::read(matches, kind)?;
    let dry = matches.get_flag("dry-run");
    let deadline = deadline(matches)?;
    let applied = each(&documents, |document| put(api, document, dry));
    if dry || !matches.get_flag("wait") {
        return applied;
    }
    // What was not written is waited for as little as what does not exist.
    applied?;
    each(&documents, |document| wait(api, &document.id, deadline))
}

fn put(api: &Api, document: &Named, dry: bool) -> Result<(), Failure> {
    let Named { id, .. } = document;
    let before = api.get(id)?;
    // Who may write need not be allowed to read.
    if !before.is_success() && !matches!(before.status, 403 | 404) {
        return Err(before.problem(id));
    }
    let after = api.put(id, document.value(), if dry { "?dryRun=true" } else { "" })?;
    if !after.is_success() {
        return Err(after.problem_in(document));
    }
    let outcome = match (before.status, after.status) {
        (404, _) | (_, 201) => "created",
        (403, _) => "written",
        _ if before.is_same_as(&after) => "unchanged",
        _ => "changed",
    };
    let dry = if dry { " (dry run)" } else { "" };
    say(format_args!("{} {outcome}{dry}", name(id)));
    if after.body.pointer("/status/accepted") == Some(&Value::Bool(false)) {
        note(format_args!("{}: not in force: {}", name(id), show::conflicts(&after.body)));
    }
    Ok(())
}

fn delete(api: &Api, kind: Kind, matches: &ArgMatches) -> Result<(), Failure> {
    let mut ids = ids(kind, matches);
    if matches.contains_id("file") {
        ids.extend(files::read(matches, Some(kind))?.into_iter().map(|document| document.id));
    }
    let deadline = deadline(matches)?;
    each(&ids, |id| {
        let wait = matches.get_flag("wait").then(|| left(deadline).min(WAIT_MAX));
        let answer = api.delete(id, wait)?;
        if answer.status == 404 && matches.get_flag("ignore-not-found") {
            say(format_args!("{} not found", name(id)));
            return Ok(());
        }
        if !answer.is_success() {
            return Err(answer.problem(id));
        }
        say(format_args!("{} deleted", name(id)));
        match answer.status {
            202 => Err(Failure::not_programmed(format_args!(
                "{}: deleted, but only {} proxies know by now",
                name(id),
                show::programmed(&answer.body)
            ))),
            _ => Ok(()),
        }
    })
}

fn heartbeat(api: &Api, id: &Id) -> Result<(), Failure> {
    let answer = api.heartbeat(id)?;
    if !answer.is_success() {
        return Err(answer.problem(id));
    }
    match answer.body.get("expiresAt").and_then(Value::as_str) {
        Some(time) => say(format_args!("{} expires {time}", name(id))),
        None => say(format_args!("{} does not expire", name(id))),
    }
    Ok(())
}

/// Waits until every proxy that needs it has acknowledged it, and shows how many have.
fn wait(api: &Api, id: &Id, deadline: Instant) -> Result<(), Failure> {
    let mut shown = String::new();
    loop {
        let turn = left(deadline).min(PROGRESS_INTERVAL);
        let answer = api.wait(id, turn)?;
        if !answer.is_success() {
            return Err(answer.problem(id));
        }
        if answer.body.pointer("/status/accepted") == Some(&Value::Bool(false)) {
            let why = show::conflicts(&answer.body);
            return Err(Failure::not_programmed(format_args!("{}: not in force: {why}", name(id))));
        }
        let progress = show::programmed(&answer.body);
        if answer.status == 200 {
            say(format_args!("{} programmed {progress}", name(id)));
            if progress == "0/0" {
                note(format_args!("{}: no proxy is connected that needs it", name(id)));
            }
            return Ok(());
        }
        if shown != progress {
            note(format_args!("{}: {progress} proxies", name(id)));
            shown = progress;
        }
        let rejected = show::rejected(&answer.body);
        if !rejected.is_empty() {
            return Err(Failure::not_programmed(format_args!(
                "{}: {shown} proxies, rejected by\n{rejected}",
                name(id)
            )));
        }
        if left(deadline).is_zero() {
            return Err(Failure::not_programmed(format_args!("{}: only {shown} proxies in time", name(id))));
        }
    }
}

/// Tries all of them and tells all that failed.
fn each<T>(all: &[T], mut one: impl FnMut(&T) -> Result<(), Failure>) -> Result<(), Failure> {
    let failures = all.iter().filter_map(|item| one(item).err());
    failures.reduce(|all, one| all.and(&one)).map_or(Ok(()), Err)
}

fn ids(kind: Kind, matches: &ArgMatches) -> Vec<Id> {
    let names = matches.get_many::<String>("name").unwrap_or_default();
    names.map(|name| Id::new(kind, name.as_str())).collect()
}

fn deadline(matches: &ArgMatches) -> Result<Instant, Failure> {
    let text = matches.get_one::<String>("timeout").map_or("", String::as_str);
    let time = duration(text).filter(|time| *time <= Duration::from_secs(24 * 3600)).ok_or_else(|| {
        Failure::usage(format_args!("--timeout={text}: allowed: a number with ms, s, m or h, up to 24h"))
    })?;
    Ok(Instant::now() + time)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// As results name a document: `sandbox/alice`.
fn name(id: &Id) -> String {
    format!("{}/{}", id.kind.as_str().to_lowercase(), id.name)
}

/// A line of the result.
fn say(line: impl std::fmt::Display) {
    // Whoever closed it does not want to know.
    let _told = writeln!(std::io::stdout(), "{line}");
}

/// A line for people only.
fn note(line: impl std::fmt::Display) {
    let _told = writeln!(std::io::stderr(), "{line}");
}
