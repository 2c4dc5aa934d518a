//! The files of the source tree: what version control would hold, found without asking it.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold what was built, not what was written.
const BUILT: [&str; 6] = [".git", "target", "node_modules", "artifacts", "corpus", "bench/results/local"];

/// A file of the tree.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// The text; `None` for a binary file.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|text| !text.contains('\0'))
    }

    /// Rust that somebody wrote; what a generator wrote follows the generator's rules.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.contains("/src/generated/")
    }

    /// Whole files of tests: integration suites, and modules declared under `#[cfg(test)]` by their name.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests folder lies in the root").to_owned()
}

pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 20, "the tree was not found at {}", root.display());
    found
}

/// The text of the file at `path`, or nothing.
pub(crate) fn text_of<'a>(files: &'a [File], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).and_then(File::text).unwrap_or_default()
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a folder of the tree can be read")
        .map(|entry| entry.expect("entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let relative = path.strip_prefix(root).expect("walked from the root").to_string_lossy().into_owned();
        if BUILT.iter().any(|built| relative == *built || relative.ends_with(&format!("/{built}"))) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let Ok(bytes) = fs::read(&path) {
            // A file that vanished meanwhile, or a dangling link, has nothing to check.
            found.push(File { path: relative, bytes });
        }
    }
}
