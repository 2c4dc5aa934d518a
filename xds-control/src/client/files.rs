//! Documents of files and of stdin, before the service has seen them.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use clap::ArgMatches;
use serde_json::Value;
use spurline_core::document::{Id, Kind};
use spurline_source::{
    Files,
    text::{self, Text},
};

use crate::outcome::Failure;

/// The name of stdin, as an argument and in faults.
const STDIN: &str = "-";

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
    let mut files = Vec::new();
    for named in matches.get_many::<String>("file").unwrap_or_default() {
        match files_of(named) {
            Ok(more) => files.extend(more),
            Err(fault) => faults.push(fault),
        }
    }
    for file in files {
        let contents = match contents(&file) {
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

/// What a `--file` stands for: a file, stdin, or the files of a directory that the service would follow, too.
fn files_of(named: &str) -> Result<Vec<Arc<str>>, String> {
    let path = Path::new(named);
    if named == STDIN || !path.is_dir() {
        return Ok(vec![named.into()]);
    }
    let files = Files::look(path).map_err(|error| error.to_string())?;
    let found: Vec<Arc<str>> = files.paths().map(|path| path.to_string_lossy().into()).collect();
    match found.is_empty() {
        true => Err(format!("{named}: no files in it; allowed: .yaml, .yml and .json")),
        false => Ok(found),
    }
}

fn contents(file: &str) -> io::Result<Vec<u8>> {
    if file != STDIN {
        return fs::read(file);
    }
    let mut contents = Vec::new();
    io::stdin().read_to_end(&mut contents).map(|_| contents)
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
