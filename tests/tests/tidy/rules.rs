//! House rules that can be read off one file.

use crate::source::{Source, words};
use crate::tree::{File, text_of};

/// Above this a file must be split, or stand in [`LONG_FILES`].
const FILE_LINES_SOFT: usize = 400;
/// Above this a file must be split.
const FILE_LINES_HARD: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const BINARY_BYTES_MAX: usize = 100_000;

/// Files between the two limits, each with the reason why splitting would make it worse.
const LONG_FILES: &[(&str, &str)] = &[];

const VAGUE_MODULES: [&str; 5] = ["common", "helpers", "misc", "util", "utils"];

/// Spelt in parts, for this file is checked too.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const PHRASES: [&str; 2] = [concat!("for", " now"), concat!("place", "holder")];
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];

pub(crate) fn long_files(file: &File) -> Vec<String> {
    let Some(text) = file.text().filter(|_| file.is_rust() && !file.is_test()) else { return Vec::new() };
    let lines = Source::new(text).production().count();
    let excused = LONG_FILES.iter().any(|(path, reason)| file.path == *path && !reason.is_empty());
    match lines {
        _ if lines > FILE_LINES_HARD => {
            vec![format!("{}: {lines} lines of code, at most {FILE_LINES_HARD}", file.path)]
        }
        _ if lines > FILE_LINES_SOFT && !excused => {
            vec![format!("{}: {lines} lines of code, more than {FILE_LINES_SOFT} need a reason", file.path)]
        }
        _ => Vec::new(),
    }
}

pub(crate) fn long_functions(file: &File) -> Vec<String> {
    let Some(text) = file.text().filter(|_| file.is_rust()) else { return Vec::new() };
    Source::new(text)
        .functions()
        .into_iter()
        .filter(|function| function.code_lines > FUNCTION_LINES_MAX)
        .map(|function| {
            let (path, line, name) = (&file.path, function.line, &function.name);
            format!(
                "{path}:{line}: `{name}` has {} lines of code, at most {FUNCTION_LINES_MAX}",
                function.code_lines
            )
        })
        .collect()
}

pub(crate) fn vague_names(file: &File) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    file.path
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part == "mod" || VAGUE_MODULES.contains(part))
        .map(|part| format!("{}: `{part}` says nothing of what is inside", file.path))
        .collect()
}

pub(crate) fn unfinished(file: &File) -> Vec<String> {
    on_lines(file, |line| {
        let word = words(line).map(|(_, word)| word).find(|word| UNFINISHED.contains(word));
        word.or_else(|| PHRASES.into_iter().find(|phrase| says(line, phrase)))
    })
}

/// A loop over times, `for now in times`, is code and no phrase.
fn says(line: &str, phrase: &str) -> bool {
    let line = line.to_lowercase();
    line.contains(phrase) && !line.contains(&format!("{phrase} in "))
}

pub(crate) fn machine_paths(file: &File) -> Vec<String> {
    on_lines(file, |line| MACHINE_PATHS.into_iter().find(|path| line.contains(path)))
}

pub(crate) fn leftovers(file: &File) -> Vec<String> {
    in_code(file, |line| {
        let bare_ignore = line.trim() == "#[ignore]";
        if bare_ignore { Some("#[ignore]") } else { line.contains("dbg!(").then_some("dbg!") }
    })
}

/// `unwrap()` in what ships in every pod. Clippy says the same; this holds where a lint was allowed away.
pub(crate) fn unwraps(file: &File) -> Vec<String> {
    let Some(text) = file.text().filter(|_| shipped(file)) else { return Vec::new() };
    Source::new(text)
        .production()
        .filter(|(_, line)| line.contains(".unwrap()"))
        .map(|(number, _)| format!("{}:{number}: `unwrap()`", file.path))
        .collect()
}

fn shipped(file: &File) -> bool {
    file.path.starts_with("proxy/") && file.is_rust() && !file.is_test() && !file.path.contains("/benches/")
}

pub(crate) fn large_binaries(file: &File) -> Vec<String> {
    if file.text().is_some() || file.bytes.len() <= BINARY_BYTES_MAX {
        return Vec::new();
    }
    vec![format!("{}: a binary file of {} bytes, at most {BINARY_BYTES_MAX}", file.path, file.bytes.len())]
}

/// Suites that the table of suites does not name.
pub(crate) fn unlisted_suites(files: &[File]) -> Vec<String> {
    let readme = text_of(files, "tests/README.md");
    files
        .iter()
        .filter_map(|file| file.path.strip_prefix("tests/tests/")?.strip_suffix(".rs"))
        .filter(|suite| !suite.contains('/') && !readme.contains(&format!("`{suite}`")))
        .map(|suite| format!("tests/README.md: does not list `{suite}`"))
        .collect()
}

/// Relative links of Markdown pages that lead nowhere.
pub(crate) fn broken_links(files: &[File], file: &File) -> Vec<String> {
    let Some(text) = file.text().filter(|_| file.path.ends_with(".md")) else { return Vec::new() };
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .filter(|target| {
            let path = normal(&format!("{folder}/{target}"));
            !files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")))
        })
        .map(|target| format!("{}: `{target}` leads nowhere", file.path))
        .collect()
}

/// Tests that ARCHITECTURE.md names as holding an invariant and that do not exist.
pub(crate) fn missing_tests(files: &[File]) -> Vec<String> {
    let page = text_of(files, "ARCHITECTURE.md");
    let rust: Vec<&str> = files.iter().filter(|file| file.is_rust()).filter_map(File::text).collect();
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|quoted| quoted.strip_suffix("()"))
        .filter(|name| !rust.iter().any(|text| text.contains(&format!("fn {name}("))))
        .map(|name| format!("ARCHITECTURE.md: there is no test `{name}`"))
        .collect()
}

/// Metrics that pages for operators, alerts or dashboards name and that are not in the table.
pub(crate) fn unknown_metrics(files: &[File], file: &File) -> Vec<String> {
    let for_operators =
        ["docs/guide/", "deploy/", "README.md"].iter().any(|start| file.path.starts_with(start));
    let Some(text) = file.text().filter(|_| for_operators && !file.is_rust()) else { return Vec::new() };
    // The proxy has one table of them; the control service registers them where they are kept, some under a prefix.
    let registers = |file: &&File| {
        file.path == "proxy/telemetry/src/metrics/defs.rs"
            || (file.is_rust() && file.path.starts_with("xds-control/"))
    };
    let tables: Vec<&str> = files.iter().filter(registers).filter_map(File::text).collect();
    let is_registered = |name: &str| tables.iter().any(|table| table.contains(&format!("\"{name}\"")));
    words(text)
        .map(|(_, word)| word)
        .filter(|word| word.starts_with("spurline_"))
        .filter(|word| {
            let family =
                ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let family = family.unwrap_or(word);
            let below = family.strip_prefix("spurline_control_");
            !is_registered(family) && !below.is_some_and(is_registered)
        })
        .map(|word| format!("{}: there is no metric `{word}`", file.path))
        .collect()
}

/// Reasons of local replies that the operators' page does not explain.
pub(crate) fn unexplained_reasons(files: &[File]) -> Vec<String> {
    let page = text_of(files, "docs/guide/operations.md");
    let (_, reasons) = text_of(files, "proxy/telemetry/src/metrics/labels.rs")
        .split_once("\n    Reason {")
        .expect("the table of label values has the reasons");
    reasons
        .lines()
        .take_while(|line| *line != "    }")
        .filter_map(|line| line.split('"').nth(1))
        .filter(|reason| !page.contains(&format!("`{reason}`")))
        .map(|reason| format!("docs/guide/operations.md: does not explain `{reason}`"))
        .collect()
}

/// Resolves `.` and `..` in a path of the tree.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn on_lines(file: &File, find: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let Some(text) = file.text().filter(|_| written_here(file)) else { return Vec::new() };
    text.lines()
        .enumerate()
        .filter_map(|(at, line)| find(line).map(|found| format!("{}:{}: `{found}`", file.path, at + 1)))
        .collect()
}

fn in_code(file: &File, find: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let Some(text) = file.text().filter(|_| file.is_rust()) else { return Vec::new() };
    Source::new(text)
        .lines()
        .filter_map(|(number, line)| find(line).map(|found| format!("{}:{number}: `{found}`", file.path)))
        .collect()
}

/// Lock files hold other people's words.
fn written_here(file: &File) -> bool {
    file.path != "LICENSE" && file.path != "Cargo.lock" && !file.path.ends_with("/Cargo.lock")
}
