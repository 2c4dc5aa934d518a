//! The text of a routes file and its meaning.
//!
//! A wrong shape (YAML syntax, a field that does not exist, a list where a map belongs) stops at the first fault,
//! because what follows cannot be told apart from it. Wrong values and contradictions are all collected.

mod text;

use std::{
    collections::HashMap,
    fmt::Display,
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use serde_saphyr::Spanned;
use spurline_route::{
    Endpoint, OnUnavailable, Override, PortMatch, RouteTable, RouteTableBuilder, RoutingKey, Workload,
};

use self::text::{OverrideText, PortsText, RoutesText};
use super::{FILE_BYTES_MAX, Fault, Faults, RoutesError};

/// The most endpoints of one port.
const ENDPOINTS_MAX: usize = 1024;
/// The longest name of a sandbox or a fork: two of the longest workload names and the sign between them.
const NAME_BYTES_MAX: usize = 800;

/// Reads the file and builds its table, which gets the number `generation`.
///
/// # Errors
/// When the file cannot be read, is too long, or does not describe a table.
pub fn read(path: &Path, generation: u64) -> Result<RouteTable, RoutesError> {
    Ok(parse(path, &contents(path, &mut open(path)?)?, generation)?)
}

/// Opens a regular file; a pipe would never end and a device means a mistake.
pub(super) fn open(path: &Path) -> Result<File, RoutesError> {
    let regular = || match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
    };
    regular().map_err(|error| RoutesError::Unreadable { path: path.to_owned(), error })
}

/// The bytes of an open file, within the limit.
pub(super) fn contents(path: &Path, file: &mut File) -> Result<Vec<u8>, RoutesError> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| RoutesError::Unreadable { path: path.to_owned(), error })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(RoutesError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Builds the table that the contents describe; `path` is for the faults only.
pub(super) fn parse(path: &Path, contents: &[u8], generation: u64) -> Result<RouteTable, Faults> {
    let text = RoutesText::parse(contents).map_err(|fault| Faults::new(path, vec![fault]))?;
    let mut reader = Reader::new(generation);
    reader.sandboxes(&text);
    reader.workloads(&text);
    for rule in &text.overrides {
        reader.rule(rule);
    }
    reader.finish().map_err(|faults| Faults::new(path, faults))
}

/// Builds a table and collects what is wrong on the way. What is wrong is left out of the table.
struct Reader<'t> {
    builder: RouteTableBuilder,
    /// Every sandbox by name; `None` is one whose key is wrong, which is said once.
    keys: HashMap<&'t str, Option<RoutingKey>>,
    names: HashMap<RoutingKey, &'t str>,
    faults: Vec<Fault>,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn new(generation: u64) -> Self {
        Self {
            builder: RouteTableBuilder::new(generation),
            keys: HashMap::new(),
            names: HashMap::new(),
            faults: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<RouteTable, Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        self.builder.build().map_err(|error| {
            self.faults.push(Fault { line: 1, text: error.to_string() });
            self.faults
        })
    }

    fn sandboxes(&mut self, text: &'t RoutesText) {
        for sandbox in &text.sandboxes {
            let name = self.name("sandbox", &sandbox.name);
            let key = self.key(&sandbox.key);
            if let (Some(name), Some(key)) = (name, key) {
                let added = self.builder.add_sandbox(name, key);
                self.check(&sandbox.name, added);
            }
            self.keys.entry(&sandbox.name.value).or_insert(key);
            if let Some(key) = key {
                self.names.entry(key).or_insert(&sandbox.name.value);
            }
        }
    }

    fn workloads(&mut self, text: &RoutesText) {
        for entry in &text.workloads {
            let Some(workload) = self.workload(&entry.name) else { continue };
            for (port, endpoints) in self.ports(&entry.ports) {
                let added = self.builder.add_workload(&workload, port, endpoints);
                self.check(&entry.name, added);
            }
        }
    }

    fn rule(&mut self, rule: &OverrideText) {
        let workload = self.workload(&rule.workload);
        let sandbox = self.sandbox(rule);
        let on_unavailable = self.on_unavailable(rule.on_unavailable.as_ref());
        let fork = rule.fork.as_ref().map(|fork| self.name("fork", fork));
        let ports = self.ports(&rule.ports);
        let (Some(workload), Some((sandbox, key))) = (workload, sandbox) else { return };
        let fork = match fork {
            None => Arc::from(format!("{workload}@{sandbox}")),
            Some(Some(fork)) => Arc::from(fork),
            Some(None) => return,
        };
        let added =
            self.builder.add_override(&workload, key, Override { fork, sandbox, on_unavailable, ports });
        self.check(&rule.workload, added);
    }

    /// The sandbox of an override, named or found by its key.
    fn sandbox(&mut self, rule: &OverrideText) -> Option<(Arc<str>, RoutingKey)> {
        match (&rule.sandbox, &rule.key) {
            (Some(name), None) => match self.keys.get(name.value.as_str()) {
                Some(key) => key.map(|key| (Arc::from(name.value.as_str()), key)),
                None => {
                    self.fault(name, format!("unknown sandbox \"{}\"", name.value), "a name under sandboxes")
                }
            },
            (None, Some(text)) => {
                let key = self.key(text)?;
                match self.names.get(&key) {
                    Some(name) => Some((Arc::from(*name), key)),
                    None => self.fault(text, format!("unknown key \"{key}\""), "a key under sandboxes"),
                }
            }
            _ => self.fault(&rule.workload, "an override needs its sandbox", "either sandbox or key"),
        }
    }

    fn ports(&mut self, ports: &PortsText) -> Vec<(PortMatch, Arc<[Endpoint]>)> {
        let mut mapped = Vec::with_capacity(ports.0.len());
        for (port, endpoints) in &ports.0 {
            let text = &port.value;
            let port_match = match text.as_str() {
                "*" => Some(PortMatch::Any),
                number => number.parse().ok().filter(|number| *number != 0).map(PortMatch::Port),
            };
            if endpoints.len() > ENDPOINTS_MAX {
                let what = format!("port {text} has {} endpoints", endpoints.len());
                let _: Option<()> = self.fault(port, what, format_args!("up to {ENDPOINTS_MAX}"));
            }
            let endpoints = endpoints.iter().filter_map(|endpoint| self.endpoint(endpoint)).collect();
            match port_match {
                Some(port) => mapped.push((port, endpoints)),
                None => {
                    _ = self.fault::<()>(
                        port,
                        format!("port \"{text}\""),
                        "1 to 65535, or \"*\" for the rest",
                    )
                }
            }
        }
        mapped
    }

    fn endpoint(&mut self, text: &Spanned<String>) -> Option<Endpoint> {
        match text.value.parse::<SocketAddr>() {
            Ok(addr) if addr.port() != 0 => Some(Endpoint { addr }),
            _ => self.fault(
                text,
                format!("endpoint \"{}\"", text.value),
                "an IP address and a port such as 127.0.0.1:9101 or [::1]:9101; names are not resolved",
            ),
        }
    }

    fn on_unavailable(&mut self, text: Option<&Spanned<String>>) -> OnUnavailable {
        let Some(text) = text else { return OnUnavailable::default() };
        match text.value.as_str() {
            "Reject" => OnUnavailable::Reject,
            "Baseline" => OnUnavailable::Baseline,
            other => self
                .fault(text, format!("onUnavailable \"{other}\""), "Reject or Baseline")
                .unwrap_or_default(),
        }
    }

    fn workload(&mut self, text: &Spanned<String>) -> Option<Workload> {
        match Workload::parse(&text.value) {
            Ok(workload) => Some(workload),
            Err(rule) => self.fault(text, format!("workload \"{}\"", text.value), rule),
        }
    }

    fn key(&mut self, text: &Spanned<String>) -> Option<RoutingKey> {
        match RoutingKey::parse(text.value.as_bytes()) {
            Ok(key) => Some(key),
            Err(rule) => self.fault(text, format!("key \"{}\"", text.value), rule),
        }
    }

    /// A name that may stand in a header: it is shown to clients that ask for an explanation.
    fn name<'n>(&mut self, what: &str, text: &'n Spanned<String>) -> Option<&'n str> {
        let name = text.value.as_str();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@".contains(&byte);
        if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
            return Some(name);
        }
        let rule = format_args!("1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - / @");
        self.fault(text, format!("{what} \"{name}\""), rule)
    }

    /// Notes what the table refused.
    fn check(&mut self, at: &Spanned<String>, added: Result<(), spurline_route::TableError>) {
        if let Err(error) = added {
            self.faults
                .push(Fault { line: at.referenced.line(), text: format!("{error}; allowed: one of them") });
        }
    }

    /// Notes a fault; always `None`, which stands for the value that could not be read.
    fn fault<T>(&mut self, at: &Spanned<String>, what: impl Display, allowed: impl Display) -> Option<T> {
        self.faults.push(Fault { line: at.referenced.line(), text: format!("{what}; allowed: {allowed}") });
        None
    }
}

#[cfg(test)]
mod tests;
