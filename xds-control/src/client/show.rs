//! Documents and their status for people and programs.

use clap::ArgMatches;
use serde_json::Value;
use spurline_core::document::{Id, Kind};

use super::{
    api::{Api, escape},
    say,
};
use crate::outcome::Failure;

/// Documents asked for at a time.
const PAGE: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
    Table,
}

/// Shows one document, or all.
pub(super) fn get(api: &Api, kind: Kind, matches: &ArgMatches) -> Result<(), Failure> {
    let format = match matches.get_one::<String>("output").map(String::as_str) {
        Some("yaml") => Some(Format::Yaml),
        Some("json") => Some(Format::Json),
        Some(_) => Some(Format::Table),
        None => None,
    };
    // `list` has no argument of that name.
    let one = matches.try_get_one::<String>("name").ok().flatten();
    let Some(one) = one else {
        let documents = list(api, kind, matches.get_one::<String>("selector"))?;
        return show_all(kind, documents, format.unwrap_or(Format::Table));
    };
    let id = Id::new(kind, one.as_str());
    let answer = api.get(&id)?;
    if !answer.is_success() {
        return Err(answer.problem(&id));
    }
    match format.unwrap_or(Format::Yaml) {
        Format::Table => say(table(kind, &[answer.body])),
        Format::Json => say(format_args!("{:#}", answer.body)),
        Format::Yaml => say(yaml(&answer.body)?),
    }
    Ok(())
}

fn list(api: &Api, kind: Kind, selector: Option<&String>) -> Result<Vec<Value>, Failure> {
    let selector = selector.map_or_else(String::new, |text| format!("&labelSelector={}", escape(text)));
    let mut documents = Vec::new();
    let mut after = String::new();
    loop {
        let mut answer = api.list(kind, &format!("?limit={PAGE}{selector}{after}"))?;
        if !answer.is_success() {
            return Err(answer.problem(&Id::new(kind, "")));
        }
        if let Some(Value::Array(items)) = answer.body.get_mut("items").map(Value::take) {
            documents.extend(items);
        }
        match answer.body.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={}", escape(next)),
            None => return Ok(documents),
        }
    }
}

fn show_all(kind: Kind, documents: Vec<Value>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => say(table(kind, &documents)),
        Format::Json => say(format_args!("{:#}", Value::Array(documents))),
        Format::Yaml => {
            for document in &documents {
                say(format_args!("---\n{}", yaml(document)?));
            }
        }
    }
    Ok(())
}

fn yaml(document: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(document).map_err(Failure::failed)?;
    Ok(text.trim_end().to_owned())
}

/// Columns of words without spaces, so that a script can cut them.
fn table(kind: Kind, documents: &[Value]) -> String {
    let head: &[&str] = match kind {
        Kind::Sandbox => &["NAME", "KEY", "ACCEPTED", "PROGRAMMED", "FORKS", "EXPIRES"],
        Kind::RouteGroup => &["NAME", "KEY", "ACCEPTED", "PROGRAMMED", "MEMBERS", "EXPIRES"],
        Kind::Workload => &["NAME", "PROGRAMMED", "PORTS"],
    };
    let mut rows = vec![head.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()];
    rows.extend(documents.iter().map(|document| row(kind, document)));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

fn row(kind: Kind, document: &Value) -> Vec<String> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let count = |pointer: &str| match document.pointer(pointer) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    let name = text("/metadata/name");
    let accepted = document.pointer("/status/accepted").map_or_else(|| "-".to_owned(), Value::to_string);
    let of = match kind {
        Kind::Workload => return vec![name, programmed(document), count("/spec/ports").to_string()],
        Kind::Sandbox => count("/spec/forks"),
        Kind::RouteGroup => count("/status/members"),
    };
    let (key, expires) = (text("/status/routingKey"), text("/status/expiresAt"));
    vec![name, key, accepted, programmed(document), of.to_string(), expires]
}

/// `3/10`: how many proxies have acknowledged it, of how many that need it.
pub(super) fn programmed(document: &Value) -> String {
    let number = |member: &str| {
        document.pointer(&format!("/status/programmed/{member}")).and_then(Value::as_u64).unwrap_or(0)
    };
    format!("{}/{}", number("acknowledged"), number("proxies"))
}

/// One line for each proxy that refused it.
pub(super) fn rejected(document: &Value) -> String {
    let all = document.pointer("/status/programmed/rejected").and_then(Value::as_array);
    let text = |one: &Value, member: &str| one.get(member).and_then(Value::as_str).unwrap_or("-").to_owned();
    let lines: Vec<String> = all
        .into_iter()
        .flatten()
        .map(|one| format!("{}: {}: {}", text(one, "node"), text(one, "resource"), text(one, "reason")))
        .collect();
    lines.join("\n")
}

/// What is in its way, in one line.
pub(super) fn conflicts(document: &Value) -> String {
    let all = document.pointer("/status/conflicts").and_then(Value::as_array);
    let lines: Vec<String> = all
        .into_iter()
        .flatten()
        .map(|conflict| {
            let what = conflict.get("what").and_then(Value::as_str).unwrap_or("a conflict");
            match conflict.get("with") {
                Some(with) => {
                    let part = |member| with.get(member).and_then(Value::as_str).unwrap_or("-");
                    format!("{what}: {} {}", part("kind"), part("name"))
                }
                None => what.to_owned(),
            }
        })
        .collect();
    if lines.is_empty() { "no reason was given".to_owned() } else { lines.join("; ") }
}
