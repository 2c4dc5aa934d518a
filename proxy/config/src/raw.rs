//! What was typed: for each setting the value of the highest source that gives one, unchecked.

mod env;
mod file;
mod flags;

use std::{fmt, io, path::Path, path::PathBuf};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::{
    defs::{Id, SETTINGS, Setting},
    error::Problem,
    value::Kind,
};

pub(crate) use flags::read_flags;

/// Where a value came from. Later ones win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The settings file.
    File {
        /// As given with `--config`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment,
    /// The command line.
    Flag,
}

/// One value as typed.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) source: Source,
    pub(crate) text: String,
    /// The items of a YAML list; lists in other sources are still one text.
    pub(crate) items: Option<Vec<String>>,
}

/// One map of a setting that is a list of them, as typed.
#[derive(Clone, Debug)]
pub(crate) struct RawMap {
    pub(crate) id: Id,
    pub(crate) source: Source,
    pub(crate) fields: Vec<(String, String)>,
}

/// Everything one source, or all sources merged, say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    given: Vec<(Id, Given)>,
    maps: Vec<RawMap>,
}

/// Every setting with its value as text and its source, for people who ask what a proxy is running with.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<(&'static str, String, Source)>);

// === impl Raw ===

impl Raw {
    pub(crate) fn get(&self, id: Id) -> Option<&Given> {
        self.given.iter().find(|(given, _)| *given == id).map(|(_, given)| given)
    }

    /// The maps of a setting that is a list of them.
    pub(crate) fn maps(&self, id: Id) -> impl Iterator<Item = &RawMap> {
        self.maps.iter().filter(move |map| map.id == id)
    }

    fn insert(&mut self, setting: &Setting, source: Source, text: String) {
        self.given.push((setting.id, Given { source, text, items: None }));
    }

    /// Takes over what only the lower source says.
    fn merge(mut self, lower: Self) -> Self {
        for (id, given) in lower.given {
            if self.get(id).is_none() {
                self.given.push((id, given));
            }
        }
        let given: Vec<Id> = self.maps.iter().map(|map| map.id).collect();
        self.maps.extend(lower.maps.into_iter().filter(|map| !given.contains(&map.id)));
        self
    }
}

/// Puts the sources together; what is wrong with their form goes to `problems`.
pub(crate) fn merge(
    flags: Raw,
    env: impl Iterator<Item = (String, String)>,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
    problems: &mut Vec<Problem>,
) -> Raw {
    let raw = flags.merge(env::read(env, problems));
    let Some(config) = raw.get(Id::Config).filter(|given| !given.text.is_empty()) else { return raw };
    let path = PathBuf::from(&config.text);
    match read_file(&path) {
        Ok(text) => raw.merge(file::read(&path, &text, problems)),
        Err(error) => {
            let origin = SETTINGS.get(Id::Config as usize).map(|setting| config.source.describe(setting));
            let origin = origin.unwrap_or_default();
            problems.push(Problem::new(format!("config ({origin}): value {:?}: {error}", config.text)));
            raw
        }
    }
}

// === impl RawMap ===

impl RawMap {
    /// Splits `key=value,key=value`. The error is the part that is not of this form.
    pub(crate) fn from_text(id: Id, text: &str, source: Source) -> Result<Self, String> {
        let fields = text.split(',').map(|part| {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not key=value"))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        });
        Ok(Self { id, source, fields: fields.collect::<Result<_, String>>()? })
    }

    /// The form of the command line, whatever the source.
    pub(crate) fn text(&self) -> String {
        let parts: Vec<_> = self.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        parts.join(",")
    }
}

/// Reads one map of a flag or variable into `raw`.
fn add_map(raw: &mut Raw, setting: &Setting, source: &Source, text: &str) -> Result<(), Problem> {
    let map = RawMap::from_text(setting.id, text, source.clone())
        .map_err(|reason| Problem::of_value(setting, source, text, reason))?;
    raw.maps.push(map);
    Ok(())
}

// === impl Source ===

impl Source {
    /// The source as the operator knows it: `flag --x`, `env SPURLINE_X`, `file.yaml:3`, `default`.
    pub(crate) fn describe(&self, setting: &Setting) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, line } => format!("{}:{line}", path.display()),
            Self::Environment => format!("env {}", setting.variable()),
            Self::Flag => format!("flag --{}", setting.flag()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment => f.write_str("env"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

// === impl Sources ===

impl Sources {
    pub(crate) fn of(raw: &Raw) -> Self {
        let is_map = |setting: &&Setting| matches!(setting.kind, Kind::Maps { .. });
        let given = SETTINGS.iter().filter(|setting| !is_map(setting)).map(|setting| {
            let (text, source) = match raw.get(setting.id) {
                Some(given) => (given.text.clone(), given.source.clone()),
                None => (setting.default.to_owned(), Source::Default),
            };
            (setting.name, text, source)
        });
        let maps = SETTINGS.iter().filter(is_map).flat_map(|setting| {
            raw.maps(setting.id).map(|map| (setting.name, map.text(), map.source.clone()))
        });
        Self(given.chain(maps).collect())
    }

    /// Name, value as text and source of every setting, then of every map of those that are lists of maps.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, &Source)> {
        self.0.iter().map(|(name, text, source)| (*name, text.as_str(), source))
    }
}

/// One setting in a dump.
#[derive(Serialize)]
struct Dumped<'a> {
    value: &'a str,
    source: String,
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let listed =
            |name: &str| SETTINGS.iter().find(|setting| setting.name == name).and_then(Setting::map_key);
        for (name, value, source) in self.iter().filter(|(name, ..)| listed(name).is_none()) {
            map.serialize_entry(name, &Dumped { value, source: source.to_string() })?;
        }
        for setting in SETTINGS {
            let Some(key) = setting.map_key() else { continue };
            let maps = self.iter().filter(|(name, ..)| *name == setting.name);
            let maps: Vec<_> =
                maps.map(|(_, value, source)| Dumped { value, source: source.to_string() }).collect();
            map.serialize_entry(key, &maps)?;
        }
        map.end()
    }
}

/// `; did you mean "x"?` when one of `names` is a slip or two away from what was typed.
fn suggestion<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| (distance(typed, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4))
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name:?}?"))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            *cell = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let names = || ["head_timeout", "idle_timeout", "workers"].into_iter();
        assert_eq!(suggestion("head_timeuot", names()), "; did you mean \"head_timeout\"?");
        assert_eq!(suggestion("worker", names()), "; did you mean \"workers\"?");
        assert_eq!(suggestion("colour", names()), "");
    }

    #[test]
    fn distance_counts_insertions_deletions_and_changes() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
