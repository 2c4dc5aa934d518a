//! Documents of files and of stdin, before the service has seen them.

use std::{
    fs,
    io::{self, Read as _},
    sync::Arc,
};

use clap::ArgMatches;
use serde_json::Value;
use spurline_core::document::{Id, Kind};
use spurline_source::text::{self, Text};

use crate::outcome::Failure;

/// A document with its kind and name, and where it stands.
pub(super) struct Named {
    pub(super) id: Id,
    file: Arc<str>,
    text: Text,
}

/// All documents of `--file`, of one kind if one is given. Whether they mean anything is for the service to say.
///
/// # Errors
/// Everything that is wrong with the form of all files.
pub(super) fn read(matches: &ArgMatches, kind: Option<Kind>) -> Result<Vec<Named>, Failure> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for file in matches.get_many::<String>("file").unwrap_or_default() {
        let file: Arc<str> = if file == "-" { "stdin".into() } else { file.as_str().into() };
        let contents = match &*file {
            "stdin" => {
                let mut contents = Vec::new();
                io::stdin().read_to_end(&mut contents).map(|_| contents)
            }
            path => fs::read(path),
        };
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                faults.push(format!("{file}: {error}"));
                continue;
            }
        };
        match text::parse(&contents) {
            Ok(texts) => {
                for text in texts {
                    match Named::new(&file, text, kind) {
                        Ok(document) => found.push(document),
                        Err(fault) => faults.push(fault),
                    }
                }
            }
            Err(fault) => faults.push(format!("{file}:{}: {}", fault.line, fault.text)),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(Failure::failed(faults.join("\n"))) }
}

// === impl Named ===

impl Named {
    fn new(file: &Arc<str>, text: Text, wanted: Option<Kind>) -> Result<Self, String> {
        let fault = |pointer: &str, what: &str, allowed: &str| {
            Err(format!("{file}:{}: {pointer}: {what}; allowed: {allowed}", text.line_of(pointer)))
        };
        let member = |pointer| text.value().pointer(pointer).and_then(Value::as_str);
        let written = member("/kind");
        let kind = match written {
            Some(written) => Kind::ALL.into_iter().find(|kind| kind.as_str() == written),
            None => wanted,
        };
        let Some(kind) = kind.filter(|kind| wanted.is_none_or(|wanted| wanted == *kind)) else {
            let allowed = wanted.map_or("Sandbox, RouteGroup or Workload", Kind::as_str);
            let what = written.map_or_else(|| "is missing".to_owned(), |written| format!("is {written:?}"));
            return fault("/kind", &what, allowed);
        };
        let Some(name) = member("/metadata/name").filter(|name| !name.is_empty()) else {
            return fault("/metadata/name", "is missing", "the name of the document");
        };
        let id = Id::new(kind, name);
        Ok(Self { id, file: file.clone(), text })
    }

    pub(super) fn value(&self) -> &Value {
        self.text.value()
    }

    /// The `file:line` of what a pointer names.
    pub(super) fn place_of(&self, pointer: &str) -> String {
        format!("{}:{}", self.file, self.text.line_of(pointer))
    }
}
