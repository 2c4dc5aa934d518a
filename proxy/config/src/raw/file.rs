//! The YAML file as a source.
//!
//! Read as events instead of being deserialised: so values keep the text that was typed (`0x10`, `off`), every problem
//! has its line, and one does not hide the next. Anchors and aliases are refused; a settings file has no use for them.

use std::path::Path;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use super::{Given, Raw, RawMap, Source, suggestion};
use crate::{
    defs::{SETTINGS, Setting},
    error::Problem,
    value::Kind,
};

/// A piece of the document and the line it begins on, counted from 1.
#[derive(Debug)]
struct Node {
    line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Reads the settings in a file, and puts what is wrong with their form into `problems`.
pub(super) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Raw {
    let mut reader = Reader { path, raw: Raw::default(), problems };
    match document(text) {
        Ok(None) => {}
        Ok(Some(Node { content: Content::Empty, .. })) => {}
        Ok(Some(Node { content: Content::Map(entries), .. })) => {
            for (key, value) in entries {
                reader.entry(&key, value);
            }
        }
        Ok(Some(Node { line, .. })) => reader.problem(line, "the document is not a map of settings"),
        Err((line, reason)) => reader.problem(line, &reason),
    }
    reader.raw
}

struct Reader<'a> {
    path: &'a Path,
    raw: Raw,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, line: usize, reason: &str) {
        self.problems.push(Problem::new(format!("{}:{line}: {reason}", self.path.display())));
    }

    fn source(&self, line: usize) -> Source {
        Source::File { path: self.path.to_owned(), line }
    }

    fn entry(&mut self, key: &Node, value: Node) {
        let Content::Scalar(name) = &key.content else {
            return self.problem(key.line, "a key is not a name");
        };
        let Some(setting) = SETTINGS.iter().find(|setting| setting.file_key() == Some(name)) else {
            let suggestion = suggestion(name, SETTINGS.iter().filter_map(Setting::file_key));
            return self.problem(key.line, &format!("{name}: unknown setting{suggestion}"));
        };
        if self.raw.get(setting.id).is_some() || self.raw.maps(setting.id).next().is_some() {
            return self.problem(key.line, &format!("{name} is given twice"));
        }
        match (setting.kind, value.content) {
            (_, Content::Empty) => {
                self.problem(value.line, &format!("{name} has no value: remove it, or write \"\" for none"));
            }
            (Kind::Maps { noun, .. }, Content::List(nodes)) => {
                nodes.into_iter().for_each(|node| self.map(setting, noun, node));
            }
            (Kind::Maps { .. }, _) => self.problem(value.line, &format!("{name} is not a list of maps")),
            (_, Content::Scalar(text)) => self.raw.insert(setting, self.source(value.line), text),
            (Kind::List(_), Content::List(nodes)) => self.list(setting, value.line, nodes),
            (kind, _) => {
                self.problem(
                    value.line,
                    &format!("{name} is not one {}; allowed: {}", kind.name(), kind.allowed()),
                );
            }
        }
    }

    fn list(&mut self, setting: &Setting, line: usize, nodes: Vec<Node>) {
        let mut items = Vec::new();
        for node in nodes {
            match node.content {
                Content::Scalar(text) => items.push(text),
                _ => self.problem(node.line, &format!("an item of {} is not one word", setting.name)),
            }
        }
        let given = Given { source: self.source(line), text: items.join(","), items: Some(items) };
        self.raw.given.push((setting.id, given));
    }

    fn map(&mut self, setting: &Setting, noun: &str, node: Node) {
        let Content::Map(entries) = node.content else {
            return self.problem(node.line, &format!("a {noun} is not a map"));
        };
        let mut fields = Vec::new();
        for (key, value) in entries {
            match (key.content, value.content) {
                (Content::Scalar(key), Content::Scalar(value)) => fields.push((key, value)),
                (Content::Scalar(key), Content::List(nodes)) => match scalars(nodes) {
                    Some(items) => fields.push((key, items.join("+"))),
                    None => self.problem(value.line, &format!("{key} of a {noun} is not a list of words")),
                },
                (Content::Scalar(key), _) => {
                    self.problem(value.line, &format!("{key} of a {noun} has no value"));
                }
                _ => self.problem(key.line, &format!("a key of a {noun} is not a name")),
            }
        }
        let source = self.source(node.line);
        self.raw.maps.push(RawMap { id: setting.id, source, fields });
    }
}

fn scalars(nodes: Vec<Node>) -> Option<Vec<String>> {
    let texts = nodes.into_iter().map(|node| match node.content {
        Content::Scalar(text) => Some(text),
        _ => None,
    });
    texts.collect()
}

/// The one document in `text`, or the line and reason why it is none.
fn document(text: &str) -> Result<Option<Node>, (usize, String)> {
    let mut root = None;
    // What is begun and not yet ended, outermost first. Children are collected flat; a map pairs them when it ends.
    let mut open: Vec<(usize, Vec<Node>)> = Vec::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| (error.marker().line(), error.info()))?;
        let line = span.start.line();
        let node = match event {
            Event::Scalar(text, style, ..) => Node { line, content: scalar(text.into_owned(), style) },
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                open.push((line, Vec::new()));
                continue;
            }
            Event::SequenceEnd => match open.pop() {
                Some((line, nodes)) => Node { line, content: Content::List(nodes) },
                None => continue,
            },
            Event::MappingEnd => match open.pop() {
                Some((line, nodes)) => Node { line, content: Content::Map(pairs(nodes)) },
                None => continue,
            },
            Event::Alias(_) => return Err((line, "aliases are not supported".to_owned())),
            _ => continue,
        };
        match open.last_mut() {
            Some((_, nodes)) => nodes.push(node),
            None if root.is_none() => root = Some(node),
            None => return Err((node.line, "a second document begins".to_owned())),
        }
    }
    Ok(root)
}

fn scalar(text: String, style: ScalarStyle) -> Content {
    match text.as_str() {
        "" | "~" | "null" if style == ScalarStyle::Plain => Content::Empty,
        _ => Content::Scalar(text),
    }
}

fn pairs(nodes: Vec<Node>) -> Vec<(Node, Node)> {
    let mut nodes = nodes.into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        pairs.push((key, value));
    }
    pairs
}
