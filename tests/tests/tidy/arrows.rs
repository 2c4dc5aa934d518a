//! Which crate may depend on which, and what the pure crates may see.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use cargo_metadata::{Metadata, MetadataCommand};

use crate::source::{Source, words};
use crate::tree::{self, File, text_of};

/// Every workspace member and the members it may depend on. Arrows point downwards only.
const ARROWS: &[(&str, &[&str])] = &[
    ("spurline-route", &[]),
    ("spurline-http", &[]),
    ("spurline-net", &[]),
    ("spurline-telemetry", &[]),
    ("spurline-api", &[]),
    ("spurline-config", &["spurline-route"]),
    ("spurline-xds", &["spurline-api", "spurline-route", "spurline-telemetry"]),
    (
        "spurline-app",
        &[
            "spurline-config",
            "spurline-http",
            "spurline-net",
            "spurline-route",
            "spurline-telemetry",
            "spurline-xds",
        ],
    ),
    ("spurline-proxy", &["spurline-app", "spurline-config", "spurline-telemetry"]),
    ("spurline-core", &["spurline-api", "spurline-route"]),
    ("spurline-hub", &["spurline-core", "spurline-route"]),
    ("spurline-serve", &[]),
    ("spurline-grpc", &["spurline-api", "spurline-core", "spurline-hub", "spurline-route"]),
    ("spurline-rest", &["spurline-core", "spurline-hub", "spurline-route"]),
    ("spurline-source", &["spurline-core", "spurline-hub"]),
    (
        "spurline-control",
        &[
            "spurline-core",
            "spurline-grpc",
            "spurline-hub",
            "spurline-rest",
            "spurline-serve",
            "spurline-source",
        ],
    ),
    // What stands outside drives the real binaries; at most it borrows pure types and the wire.
    ("spurline-bench", &["spurline-api", "spurline-http", "spurline-route"]),
    ("spurline-demo", &["spurline-route"]),
    ("spurline-micro", &["spurline-http", "spurline-route"]),
    ("spurline-tests", &["spurline-api", "spurline-http", "spurline-route"]),
];

/// Crates that can be fuzzed, simulated and benched alone, and the folder each lies in.
const PURE: [(&str, &str); 4] = [
    ("spurline-api", "xds-control/api/"),
    ("spurline-core", "xds-control/core/"),
    ("spurline-http", "proxy/http/"),
    ("spurline-route", "proxy/route/"),
];

/// No pure crate reaches these, directly or through others.
const RUNTIMES: [&str; 8] = ["async-std", "axum", "hyper", "mio", "polling", "smol", "socket2", "tokio"];

/// Types that a pure crate does not name.
const IMPURE_WORDS: [&str; 7] =
    ["TcpListener", "TcpStream", "UdpSocket", "UnixListener", "UnixStream", "SystemTime", "tokio"];

/// Paths that a pure crate does not name. `Instant` itself is fine: time is passed in.
const IMPURE_PATHS: [&str; 6] =
    ["Instant::now", "std::env", "std::fs", "std::process", "std::thread", "env::var"];

pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()])
        .exec()
        .expect("cargo metadata describes the workspace")
}

/// Edges between members as cargo sees them, development edges included.
pub(crate) fn edges(metadata: &Metadata) -> BTreeSet<(String, String)> {
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    metadata
        .workspace_packages()
        .iter()
        .flat_map(|package| package.dependencies.iter().map(|to| (package.name.to_string(), to.name.clone())))
        .filter(|(_, to)| members.contains(to.as_str()))
        .collect()
}

/// Edges and members that [`ARROWS`] does not know.
pub(crate) fn wrong_edges(edges: &BTreeSet<(String, String)>) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    edges
        .iter()
        .filter(|(from, to)| {
            !allowed.get(from.as_str()).is_some_and(|to_these| to_these.contains(&to.as_str()))
        })
        .map(|(from, to)| format!("{from} -> {to}: no such arrow in ARROWS"))
        .collect()
}

pub(crate) fn unlisted_members(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let listed: BTreeSet<String> = ARROWS.iter().map(|(from, _)| (*from).to_owned()).collect();
    members
        .symmetric_difference(&listed)
        .map(|name| format!("{name}: only in one of workspace and ARROWS"))
        .collect()
}

/// Runtimes and sockets that a pure crate reaches through normal or build dependencies.
pub(crate) fn runtimes_in_pure_crates() -> Vec<String> {
    PURE.iter()
        .flat_map(|(name, _)| {
            reached(name)
                .into_iter()
                .filter(|reached| RUNTIMES.contains(&reached.as_str()))
                .map(move |reached| format!("{name} reaches {reached}"))
        })
        .collect()
}

/// Names of all packages that `name` needs to be built by itself. `cargo metadata` would add the features that other
/// members switch on.
fn reached(name: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", name, "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(tree::root())
        .output()
        .expect("cargo tree runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("cargo tree prints text");
    let names: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(name), "{name} is a member");
    names
}

/// Sockets, clocks and environment named in the code of a pure crate.
pub(crate) fn impure_code(file: &File) -> Vec<String> {
    let pure = PURE.iter().any(|(_, folder)| file.path.starts_with(&format!("{folder}src/")));
    let Some(text) = file.text().filter(|_| pure && file.is_rust() && !file.is_test()) else {
        return Vec::new();
    };
    Source::new(text)
        .production()
        .filter_map(|(number, line)| {
            let word = words(line).map(|(_, word)| word).find(|word| IMPURE_WORDS.contains(word));
            let found = word.or_else(|| IMPURE_PATHS.into_iter().find(|path| line.contains(path)))?;
            Some(format!("{}:{number}: `{found}` in a pure crate", file.path))
        })
        .collect()
}

/// Packages that are a workspace of their own.
const WORKSPACES_APART: [&str; 2] = ["tests/fuzz/", "bench/relays/"];

/// Dependencies of a member that do not take their version from the workspace table.
pub(crate) fn versions_outside_the_table(file: &File) -> Vec<String> {
    let apart = WORKSPACES_APART.iter().any(|folder| file.path.starts_with(folder));
    let member = file.path.ends_with("/Cargo.toml") && !apart;
    let Some(text) = file.text().filter(|_| member) else { return Vec::new() };
    let mut in_dependencies = false;
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains("workspace = true")
        {
            wrong.push(format!("{}:{}: takes no version from the workspace table", file.path, at + 1));
        }
    }
    wrong
}

/// Entries of the workspace table that no member takes.
pub(crate) fn unused_table_entries(files: &[File]) -> Vec<String> {
    let taken: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter_map(File::text)
        .flat_map(|text| text.lines().filter_map(|line| line.split_once(" = ").map(|(name, _)| name)))
        .collect();
    let (_, table) =
        text_of(files, "Cargo.toml").split_once("[workspace.dependencies]").expect("the root has the table");
    let table = table.split_once("\n[").map_or(table, |(table, _)| table);
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !taken.contains(name))
        .map(|name| format!("Cargo.toml: nobody uses `{name}`"))
        .collect()
}
