//! YAML text, of which JSON is a part, as JSON values that remember the line of everything in them.
//!
//! Scalars are the text that was typed: no field of a document is a number or a boolean, and a routing key `12e4` or a
//! label `yes` means itself. Only null is told apart. Meaning is checked by `spurline_core::document`, whose faults
//! name a place by JSON pointer (RFC 6901); [`Text::line_of`] turns that into a line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::{Error, Location, Options, Spanned, budget::BudgetBreach};

/// How deep a document may nest; the deepest field of one lies at eight.
const DEPTH_MAX: usize = 16;
/// How much aliases may add to a file: so many parts of documents.
const ALIASED_PARTS_MAX: usize = 100_000;

/// A document of a file before its meaning is checked.
#[derive(Debug, Clone)]
pub struct Text {
    value: Value,
    lines: Node,
}

/// What is wrong with the form of a file, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFault {
    pub line: u64,
    /// What is wrong, and what is allowed.
    pub text: String,
}

/// A part of a document where it stands.
#[derive(Debug, Clone)]
struct Node {
    line: u32,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Null,
    Text(String),
    /// A scalar that YAML would take for a number or a boolean, until its text is cut out of the file.
    Typed {
        start_byte: u32,
        bytes: u32,
    },
    List(Vec<Node>),
    /// In the order of the file; the line is that of the key.
    Map(Vec<(u32, String, Node)>),
}

/// Reads all documents of a file. The first fault of the form ends it: what follows cannot be told apart from it.
///
/// # Errors
/// When it is not YAML, or holds no document at all, which is what a file looks like that somebody is about to write.
pub fn parse(contents: &[u8]) -> Result<Vec<Text>, TextFault> {
    let text = str::from_utf8(contents).map_err(|error| {
        let valid = contents.get(..error.valid_up_to()).unwrap_or_default();
        let newlines = valid.iter().filter(|byte| **byte == b'\n').count();
        TextFault { line: newlines as u64 + 1, text: "bytes that are not text; allowed: UTF-8".into() }
    })?;
    let nodes: Vec<Node> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| TextFault {
            line: error.location().map_or(1, |location| location.line().max(1)),
            text: message(&error),
        })?;
    if nodes.is_empty() {
        let text = "no document; allowed: at least one, or no file".into();
        return Err(TextFault { line: 1, text });
    }
    Ok(nodes.into_iter().map(|node| Text::new(node, text)).collect())
}

// === impl Text ===

impl Text {
    fn new(mut node: Node, text: &str) -> Self {
        let value = node.take_value(text);
        Self { value, lines: node }
    }

    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The line it begins on.
    #[must_use]
    pub fn line(&self) -> u64 {
        u64::from(self.lines.line)
    }

    /// The line of what a JSON pointer names; of something that is missing, the line of what it is missing from.
    #[must_use]
    pub fn line_of(&self, pointer: &str) -> u64 {
        let mut node = &self.lines;
        let mut line = node.line;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let found = match &node.shape {
                Shape::List(items) => {
                    token.parse::<usize>().ok().and_then(|at| items.get(at)).map(|item| (item.line, item))
                }
                Shape::Map(entries) => {
                    entries.iter().find(|(_, key, _)| *key == token).map(|(line, _, value)| (*line, value))
                }
                _ => None,
            };
            let Some((found_line, found)) = found else { break };
            (line, node) = (found_line, found);
        }
        u64::from(line)
    }
}

// === impl Node ===

impl Node {
    /// The value, moved out; lines and keys stay.
    fn take_value(&mut self, text: &str) -> Value {
        match &mut self.shape {
            Shape::Null => Value::Null,
            Shape::Text(scalar) => Value::String(std::mem::take(scalar)),
            Shape::Typed { start_byte, bytes } => {
                let start = *start_byte as usize;
                let scalar = text.get(start..start.saturating_add(*bytes as usize)).unwrap_or_default();
                Value::String(scalar.trim_matches(['"', '\'']).to_owned())
            }
            Shape::List(items) => items.iter_mut().map(|item| item.take_value(text)).collect(),
            Shape::Map(entries) => Value::Object(
                entries
                    .iter_mut()
                    .map(|(_, key, value)| (key.clone(), value.take_value(text)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: mut shape, referenced, defined } = Spanned::<Shape>::deserialize(deserializer)?;
        if let Shape::Typed { start_byte, bytes } = &mut shape {
            (*start_byte, *bytes) = place(&defined);
        }
        Ok(Self { line: line(&referenced), shape })
    }
}

fn line(location: &Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(u32::MAX)
}

/// Where a scalar stands in the file, by bytes. Files are much shorter than 4 GiB.
fn place(location: &Location) -> (u32, u32) {
    let span = location.span();
    let number = |bytes: Option<u64>| bytes.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(0);
    (number(span.byte_offset()), number(span.byte_len()))
}

// === impl Shape ===

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl ShapeVisitor {
    const TYPED: Shape = Shape::Typed { start_byte: 0, bytes: 0 };
}

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Self::TYPED)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Self::TYPED)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Self::TYPED)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Self::TYPED)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Shape, E> {
        Ok(Shape::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push((line(&key.referenced), key.value, value));
        }
        Ok(Shape::Map(entries))
    }
}

/// The size of the file bounds what it can hold; only nesting and aliases, which make more of it, need limits here.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_PARTS_MAX },
    }
}

/// The parser's message in the words of the format, without the position, which stands in front of it.
fn message(error: &Error) -> String {
    let error = error.without_snippet();
    match error {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nested too deep; allowed: {DEPTH_MAX} levels")
        }
        _ => {
            let message = error.to_string();
            message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
