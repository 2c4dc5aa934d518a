//! Walks a JSON value, knows where it is, and collects what is wrong.
//!
//! It knows shapes, not documents. Whatever it quotes it clips, so that faults stay small when the input is hostile.

use std::fmt;

use serde_json::{Map, Value};

use super::{FAULTS_MAX, Fault};

/// The longest piece of input that a fault quotes, in characters.
const QUOTE_LEN_MAX: usize = 80;

/// Where a value stands: a JSON pointer (RFC 6901) that costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Member(&'a str),
    Index(usize),
}

/// The faults so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    faults: Vec<Fault>,
    unlisted: usize,
}

/// A piece of input in quotes, clipped.
pub(super) struct Quoted<'a>(pub(super) &'a str);

/// The object's member, unless it is `null`.
pub(super) fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).filter(|value| !value.is_null())
}

// === impl At ===

impl<'a> At<'a> {
    /// A member of the whole document.
    pub(super) fn top(name: &'a str) -> Self {
        Self { parent: None, step: Step::Member(name) }
    }

    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Member(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Index(index) => write!(f, "/{index}"),
            Step::Member(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Notes a fault; `None` stands for the whole document.
    pub(super) fn fault(&mut self, at: Option<&At<'_>>, what: impl Into<String>, allowed: impl Into<String>) {
        if self.faults.len() >= FAULTS_MAX {
            self.unlisted += 1;
            return;
        }
        let pointer = at.map(ToString::to_string).unwrap_or_default();
        self.faults.push(Fault { pointer, what: what.into(), allowed: allowed.into() });
    }

    pub(super) fn missing(&mut self, at: &At<'_>, allowed: &str) {
        self.fault(Some(at), "is missing", allowed);
    }

    /// The faults, or nothing if there are none.
    pub(super) fn finish(mut self) -> Result<(), Vec<Fault>> {
        if self.unlisted > 0 {
            let what = format!("has {} more faults", self.unlisted);
            let allowed = format!("at most {FAULTS_MAX} are listed");
            self.faults.push(Fault { pointer: String::new(), what, allowed });
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }

    /// An object with no other fields than these.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        at: Option<&At<'_>>,
        fields: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.fault(at, is_not(value, "an object"), format!("an object with {}", fields.join(", ")));
            return None;
        };
        for name in object.keys().filter(|name| !fields.contains(&name.as_str())) {
            let place = At { parent: at, step: Step::Member(name) };
            let meant = nearest(name, fields).map(|field| format!("; is {field} meant?")).unwrap_or_default();
            self.fault(Some(&place), format!("is not a field{meant}"), fields.join(", "));
        }
        Some(object)
    }

    /// An object with whatever fields, not more than so many.
    pub(super) fn map<'v>(
        &mut self,
        value: &'v Value,
        at: &At<'_>,
        len_max: usize,
    ) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.fault(Some(at), is_not(value, "an object"), format!("an object of up to {len_max} fields"));
            return None;
        };
        if map.len() > len_max {
            self.fault(Some(at), format!("has {} fields", map.len()), format!("at most {len_max}"));
            return None;
        }
        Some(map)
    }

    /// A list of not more than so many.
    pub(super) fn list<'v>(
        &mut self,
        value: &'v Value,
        at: &At<'_>,
        len_max: usize,
    ) -> Option<&'v Vec<Value>> {
        let Some(list) = value.as_array() else {
            self.fault(Some(at), is_not(value, "a list"), format!("a list of up to {len_max}"));
            return None;
        };
        if list.len() > len_max {
            self.fault(Some(at), format!("has {} elements", list.len()), format!("at most {len_max}"));
            return None;
        }
        Some(list)
    }

    /// Text that `parse` understands.
    pub(super) fn text<T>(
        &mut self,
        value: &Value,
        at: &At<'_>,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Some(text) = value.as_str() else {
            self.fault(Some(at), is_not(value, "text"), allowed);
            return None;
        };
        let parsed = parse(text);
        if parsed.is_none() {
            self.fault(Some(at), format!("is {}", Quoted(text)), allowed);
        }
        parsed
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, value: &Value, at: &At<'_>, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.text(value, at, &words.join(", "), |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
        })
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTE_LEN_MAX) {
            Some((end, _)) => write!(f, "{:?} …", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

fn is_not(value: &Value, wanted: &str) -> String {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("is {is}, not {wanted}")
}

/// The field that was probably meant: at most half of its letters are wrong, as when two are swapped in a short one.
fn nearest<'f>(name: &str, fields: &[&'f str]) -> Option<&'f str> {
    let name = name.to_lowercase();
    let alike = fields.iter().filter(|field| name.len() <= 2 * field.len());
    let distances = alike.map(|field| (distance(&name, &field.to_lowercase()), *field));
    distances.filter(|(distance, field)| distance * 2 <= field.len()).min().map(|(_, field)| field)
}

/// How many letters must be put in, left out or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (deleted, a) in one.chars().enumerate() {
        let mut diagonal = deleted;
        let mut left = deleted + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let cost = (left + 1).min(*cell + 1).min(diagonal + usize::from(a != b));
            diagonal = std::mem::replace(cell, cost);
            left = cost;
        }
    }
    row.last().copied().unwrap_or_default()
}
