//! The files of a directory and the documents in them, read as a whole.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fs::{self, File, Metadata},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use serde_json::Value;
use spurline_core::document::{self, Document, Id};

use crate::{FILE_BYTES_MAX, FILES_MAX, Fault, Faults, SourceError, text, text::Text};

/// The ends of names that are read.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Which files a directory holds and in which state, as one look saw them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Identity>);

/// What tells one state of a file from the next. The change time catches what keeps size and modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a directory says: every document once, with the hash of its canonical form.
#[derive(Debug, Default)]
pub(crate) struct Set {
    files: Files,
    entries: HashMap<PathBuf, Vec<Known>>,
}

/// A document of a file, as much as is remembered of it.
#[derive(Debug, Clone)]
struct Known {
    id: Id,
    line: u64,
    hash: u64,
}

/// What reading a directory gave.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The set, and the documents of the files that were not known before.
    Read { set: Set, fresh: Vec<Document> },
    /// A file changed meanwhile: look again.
    Moving,
}

/// Reads a directory and returns its documents in the order of their files and lines.
///
/// # Errors
/// When the directory or a file cannot be read, or anything in them is wrong.
pub fn read(path: &Path) -> Result<Vec<Document>, SourceError> {
    loop {
        let files = Files::look(path)?;
        if let Outcome::Read { fresh, .. } = Set::default().next(files)? {
            return Ok(fresh);
        }
    }
}

// === impl Files ===

impl Files {
    /// Looks at the directory. Files whose names begin with a dot, end with anything but `.yaml`, `.yml` or `.json`,
    /// and directories are passed over; symbolic links are followed, so a mounted ConfigMap is its present contents.
    ///
    /// # Errors
    /// When the directory cannot be read or holds too much.
    pub fn look(path: &Path) -> Result<Self, SourceError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |error| SourceError::Unreadable { path, error }
        };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(unreadable(path))? {
            let file = entry.map_err(unreadable(path))?.path();
            if !is_ours(&file) {
                continue;
            }
            let metadata = match fs::metadata(&file) {
                Ok(metadata) => metadata,
                // It went between the two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => continue,
                Err(error) => return Err(unreadable(&file)(error)),
            };
            if metadata.is_dir() {
                continue;
            }
            files.insert(file, Identity::of(&metadata));
            if files.len() > FILES_MAX {
                return Err(SourceError::TooManyFiles { path: path.to_owned() });
            }
        }
        Ok(Self(files))
    }

    /// Their paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_ours(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

// === impl Set ===

impl Set {
    /// What the directory says now. Files that are as they were are not read again.
    pub(crate) fn next(&self, files: Files) -> Result<Outcome, SourceError> {
        let mut entries = HashMap::with_capacity(files.0.len());
        let (mut fresh, mut faults) = (Vec::new(), Vec::new());
        for (path, identity) in &files.0 {
            if self.files.0.get(path) == Some(identity)
                && let Some(known) = self.entries.get(path)
            {
                entries.insert(path.clone(), known.clone());
                continue;
            }
            let Some(contents) = contents(path, *identity)? else { return Ok(Outcome::Moving) };
            let mut known = Vec::new();
            match contents {
                Ok(contents) => {
                    for (line, document) in documents(path, &contents, &mut faults) {
                        known.push(Known { id: document.id(), line, hash: hash(&document) });
                        fresh.push(document);
                    }
                }
                Err(fault) => faults.push(fault),
            }
            entries.insert(path.clone(), known);
        }
        let set = Self { files, entries };
        set.duplicates(&mut faults);
        match faults.is_empty() {
            true => Ok(Outcome::Read { set, fresh }),
            false => Err(Faults::new(faults).into()),
        }
    }

    /// The hash of every document.
    pub(crate) fn hashes(&self) -> HashMap<Id, u64> {
        self.entries.values().flatten().map(|known| (known.id.clone(), known.hash)).collect()
    }

    pub(crate) fn place_of(&self, id: &Id) -> Option<String> {
        self.entries.iter().find_map(|(path, known)| {
            let known = known.iter().find(|known| known.id == *id)?;
            Some(format!("{}:{}", path.display(), known.line))
        })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// One name twice is nobody's mistake but theirs who wrote both, so both places are named.
    fn duplicates(&self, faults: &mut Vec<Fault>) {
        let mut first: HashMap<&Id, (&Path, u64)> = HashMap::new();
        for path in self.files.0.keys() {
            for Known { id, line, .. } in self.entries.get(path).into_iter().flatten() {
                match first.entry(id) {
                    Entry::Vacant(entry) => _ = entry.insert((path, *line)),
                    Entry::Occupied(entry) => {
                        let (other, other_line) = entry.get();
                        let other = other.display();
                        let text = format!("{id} stands in {other}:{other_line} too; allowed: one of them");
                        faults.push(Fault { path: path.clone(), line: *line, text });
                    }
                }
            }
        }
    }
}

/// The contents, a fault of the whole file, or `None` when it is another file than was seen or changes meanwhile.
fn contents(path: &Path, expected: Identity) -> Result<Option<Result<Vec<u8>, Fault>>, SourceError> {
    let fault = |text: String| Ok(Some(Err(Fault { path: path.to_owned(), line: 1, text })));
    let unreadable = |error| SourceError::Unreadable { path: path.to_owned(), error };
    match fs::metadata(path) {
        // A pipe would never end, and a device means a mistake.
        Ok(metadata) if !metadata.is_file() => {
            return fault("not a regular file; allowed: regular files".into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return fault(format!("a longer file than is read; allowed: {FILE_BYTES_MAX} bytes"));
    }
    let after = Identity::of(&file.metadata().map_err(unreadable)?);
    Ok((after == expected).then_some(Ok(bytes)))
}

/// The good documents of a file; what is wrong goes to `faults`.
fn documents(path: &Path, contents: &[u8], faults: &mut Vec<Fault>) -> Vec<(u64, Document)> {
    let mut fault = |line, text| faults.push(Fault { path: path.to_owned(), line, text });
    let texts = match text::parse(contents) {
        Ok(texts) => texts,
        Err(error) => {
            fault(error.line, error.text);
            return Vec::new();
        }
    };
    let mut documents = Vec::with_capacity(texts.len());
    for text in texts {
        match document(&text) {
            Ok(document) => documents.push((text.line(), document)),
            Err(wrong) => {
                for wrong in wrong {
                    fault(text.line_of(&wrong.pointer), wrong.to_string());
                }
            }
        }
    }
    documents
}

/// A file says what is; it goes when the file does. A time to live would begin anew with every restart.
fn document(text: &Text) -> Result<Document, Vec<document::Fault>> {
    let lives = text.value().pointer("/spec/ttl").is_some_and(|ttl| *ttl != Value::Null);
    let ttl = lives.then(|| document::Fault {
        pointer: "/spec/ttl".into(),
        what: "stands in a file".into(),
        allowed: "none: what a file says lasts until the file changes; documents of REST may have one".into(),
    });
    match (document::read(text.value(), None), ttl) {
        (Ok(document), None) => Ok(document),
        (Ok(_), Some(ttl)) => Err(vec![ttl]),
        (Err(mut faults), ttl) => {
            faults.extend(ttl);
            Err(faults)
        }
    }
}

fn hash(document: &Document) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.to_json().to_string().hash(&mut hasher);
    hasher.finish()
}

// === impl Identity ===

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
