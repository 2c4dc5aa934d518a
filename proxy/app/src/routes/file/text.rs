//! The shape of a routes file: its fields as they were typed, each with its line. It knows nothing of their meaning.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_saphyr::{Error, Options, Spanned, budget::BudgetBreach};

use super::Fault;

/// How deep the YAML may nest; the format needs six levels.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoutesText {
    #[serde(default)]
    pub(super) workloads: Vec<WorkloadText>,
    #[serde(default)]
    pub(super) sandboxes: Vec<SandboxText>,
    #[serde(default)]
    pub(super) overrides: Vec<OverrideText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadText {
    pub(super) name: Spanned<String>,
    pub(super) ports: PortsText,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SandboxText {
    pub(super) name: Spanned<String>,
    pub(super) key: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct OverrideText {
    pub(super) workload: Spanned<String>,
    pub(super) sandbox: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) fork: Option<Spanned<String>>,
    pub(super) on_unavailable: Option<Spanned<String>>,
    pub(super) ports: PortsText,
}

/// Ports and their endpoints in the order of the file; at least one port.
#[derive(Debug)]
pub(super) struct PortsText(pub(super) Vec<(Spanned<String>, Vec<Spanned<String>>)>);

// === impl RoutesText ===

impl RoutesText {
    /// Reads the shape.
    ///
    /// An empty file is refused: it is what a file looks like that somebody is about to write.
    pub(super) fn parse(contents: &[u8]) -> Result<Self, Fault> {
        let text = str::from_utf8(contents).map_err(|error| {
            let valid = contents.get(..error.valid_up_to()).unwrap_or_default();
            let newlines = valid.iter().filter(|byte| **byte == b'\n').count();
            Fault { line: newlines as u64 + 1, text: "bytes that are not text; allowed: UTF-8".into() }
        })?;
        let shape: Option<Self> =
            serde_saphyr::from_str_with_options(text, options()).map_err(|error: Error| {
                let line = error.location().map_or(1, |location| location.line().max(1));
                Fault { line, text: message(&error) }
            })?;
        shape.ok_or_else(|| Fault { line: 1, text: "nothing; allowed: {} for no routes at all".into() })
    }
}

/// The size of the file bounds what it can hold; only nesting and aliases, which make more of it, need limits here.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
        },
    }
}

/// The parser's message in the words of the format, without the position, which stands in front of it.
fn message(error: &Error) -> String {
    let error = error.without_snippet();
    match error {
        Error::Unexpected { expected: "sequence start", .. } => "something else; allowed: a list".into(),
        Error::Unexpected { expected: "mapping start", .. } => "something else; allowed: a map".into(),
        Error::MultipleDocuments { .. } => "a second document; allowed: one in a file".into(),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nested too deep; allowed: {DEPTH_MAX} levels")
        }
        _ => {
            let message = error.to_string();
            message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned()
        }
    }
}

// === impl PortsText ===

impl<'de> Deserialize<'de> for PortsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PortsVisitor)
    }
}

/// Keeps what a map type of the library would lose: the lines of the keys, and keys that stand twice.
struct PortsVisitor;

impl<'de> Visitor<'de> for PortsVisitor {
    type Value = PortsText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of ports to lists of endpoints, with at least one port")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PortsText, A::Error> {
        let mut ports = Vec::new();
        while let Some(entry) = map.next_entry()? {
            ports.push(entry);
        }
        if ports.is_empty() {
            return Err(serde::de::Error::invalid_length(0, &self));
        }
        Ok(PortsText(ports))
    }
}
