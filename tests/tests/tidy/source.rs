//! A view of Rust source in which only code is left, and the regions that the rules ask about.
//!
//! It blanks comments and the insides of literals so that a rule about code cannot be fooled by text. It is a scanner,
//! not a parser: it knows braces, attributes and `fn`, and nothing of types or macros.

use std::ops::Range;

/// One Rust file as the rules see it.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file's bytes with comments as spaces and literal contents as `_`; line breaks stay where they were.
    code: String,
    /// Lines (from 0) that belong to items under `#[cfg(test)]`.
    test_lines: Vec<bool>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of the `fn` keyword, from 1.
    pub(crate) line: usize,
    /// Lines of the body that hold code.
    pub(crate) code_lines: usize,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let code = blank(text);
        let mut test_lines = vec![false; code.lines().count()];
        for region in test_regions(&code) {
            let (first, last) = (line_of(&code, region.start), line_of(&code, region.end));
            test_lines.iter_mut().take(last).skip(first - 1).for_each(|line| *line = true);
        }
        Self { code, test_lines }
    }

    /// Lines of code outside `#[cfg(test)]`, numbered from 1.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(number, _)| !self.test_lines[number - 1])
    }

    /// Every line that holds code, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim().is_empty())
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        words(&self.code)
            .filter(|(_, word)| *word == "fn")
            .filter_map(|(at, _)| {
                let (name_at, name) = words(&self.code[at + 2..]).next()?;
                // `fn(u8)` is a type, not a function.
                let between = &self.code[at + 2..at + 2 + name_at];
                let body = between.trim().is_empty().then(|| body(&self.code, at))??;
                let code_lines = self.code[body].lines().filter(|line| !line.trim().is_empty()).count();
                Some(Function { name: name.to_owned(), line: line_of(&self.code, at), code_lines })
            })
            .collect()
    }
}

/// The inside of the braces of the function whose `fn` stands at `at`; `None` for a signature without a body.
fn body(code: &str, at: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return Some(at + 1..closing(code, at)),
            b';' | b'}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Identifiers and keywords of `code` with the offset each starts at.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Offset of the brace that closes the one at `open`, or the end of the text.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// From each `#[cfg(test)]` (or `any`/`all` that starts with it) to the end of the item below it.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    ["#[cfg(test)]", "#[cfg(any(test", "#[cfg(all(test", "#![cfg(test)]"]
        .iter()
        .flat_map(|attribute| code.match_indices(attribute))
        .map(|(start, attribute)| {
            let end = match code[start..].find(['{', ';']).map(|at| start + at) {
                _ if attribute.starts_with("#!") => code.len(),
                Some(at) if code.as_bytes()[at] == b'{' => closing(code, at),
                Some(at) => at,
                None => code.len(),
            };
            start..end
        })
        .collect()
}

/// What the scanner is inside of.
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    /// A string that ends with `"` and this many `#`; escapes count only when `escapes`.
    String {
        hashes: usize,
        escapes: bool,
    },
}

/// Replaces comments by spaces and the insides of literals by `_`, byte for byte, keeping line breaks.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut inside = Inside::Code;
    while out.len() < bytes.len() {
        let rest = &bytes[out.len()..];
        let (taken, fill, next) = step(rest, out.last().copied(), &inside);
        out.extend(rest[..taken].iter().map(|&byte| match fill {
            Some(fill) if byte != b'\n' => fill,
            _ => byte,
        }));
        inside = next.unwrap_or(inside);
    }
    String::from_utf8(out).expect("whole characters are replaced or kept")
}

/// How many bytes to take from `rest`, what to write for them (`None` keeps them), and the state they lead to.
fn step(rest: &[u8], before: Option<u8>, inside: &Inside) -> (usize, Option<u8>, Option<Inside>) {
    match inside {
        Inside::Code => step_code(rest, before),
        Inside::LineComment if rest[0] == b'\n' => (1, None, Some(Inside::Code)),
        Inside::LineComment => (1, Some(b' '), None),
        Inside::BlockComment(depth) if rest.starts_with(b"/*") => {
            (2, Some(b' '), Some(Inside::BlockComment(depth + 1)))
        }
        Inside::BlockComment(1) if rest.starts_with(b"*/") => (2, Some(b' '), Some(Inside::Code)),
        Inside::BlockComment(depth) if rest.starts_with(b"*/") => {
            (2, Some(b' '), Some(Inside::BlockComment(depth - 1)))
        }
        Inside::BlockComment(_) => (1, Some(b' '), None),
        Inside::String { escapes: true, .. } if rest[0] == b'\\' => (2.min(rest.len()), Some(b'_'), None),
        Inside::String { hashes, .. } if closes(rest, *hashes) => (1 + hashes, None, Some(Inside::Code)),
        Inside::String { .. } => (1, Some(b'_'), None),
    }
}

fn closes(rest: &[u8], hashes: usize) -> bool {
    rest[0] == b'"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&byte| byte == b'#')
}

fn step_code(rest: &[u8], before: Option<u8>) -> (usize, Option<u8>, Option<Inside>) {
    if rest.starts_with(b"//") {
        return (2, Some(b' '), Some(Inside::LineComment));
    }
    if rest.starts_with(b"/*") {
        return (2, Some(b' '), Some(Inside::BlockComment(1)));
    }
    if rest[0] == b'"' {
        return (1, None, Some(Inside::String { hashes: 0, escapes: true }));
    }
    let word_before = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if let Some(hashes) = raw_string(rest)
        && (!word_before || before == Some(b'b') || before == Some(b'c'))
    {
        return (2 + hashes, None, Some(Inside::String { hashes, escapes: false }));
    }
    match char_literal(rest) {
        Some(length) => (length, Some(b'_'), None),
        None => (1, None, None),
    }
}

/// The number of `#` when `rest` starts a raw string.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.strip_prefix(b"r")?.iter().take_while(|&&byte| byte == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

/// The length of the character literal that `rest` starts with; `None` for a lifetime and everything else.
fn char_literal(rest: &[u8]) -> Option<usize> {
    let inner = rest.strip_prefix(b"'")?;
    let skip = match inner.first()? {
        b'\\' => 2,
        b'\'' => return None,
        _ => 1,
    };
    // The longest are `'\u{10ffff}'` and a character of four bytes.
    let end = inner.iter().skip(skip).take(9).position(|&byte| byte == b'\'')? + skip;
    let one_character =
        inner[0] == b'\\' || std::str::from_utf8(&inner[..end]).is_ok_and(|s| s.chars().count() == 1);
    one_character.then_some(end + 2)
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "let a = \"fn {\"; // fn b() {\nlet c = '{'; /* { /* { */ } */ let d = r#\"}\"}\"#;\nlet e: &'a str = b\"\\\"{\";\n";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches(['{', '}']).count(), 0, "{code}");
    assert_eq!(code.lines().count(), 3);
    assert!(code.contains("let d") && code.contains("&'a str"), "{code}");
}

#[test]
fn a_function_is_measured_by_the_code_in_its_body() {
    let source = Source::new(
        "fn a(f: fn(u8) -> u8) -> [u8; 2] {\n    // why\n\n    let s = \"x\n y\";\n    b()\n}\nfn c();\n",
    );
    assert_eq!(source.functions(), [Function { name: "a".to_owned(), line: 1, code_lines: 3 }]);
}

#[test]
fn items_under_cfg_test_are_not_production() {
    let source = Source::new(
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}\n",
    );
    let lines: Vec<usize> = source.production().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 6, 9]);
}
