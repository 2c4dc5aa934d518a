//! Lists of members: `baggage` (W3C Baggage section 3.3.1) and `tracestate` (W3C Trace Context section 3.3.1).
//!
//! Only what is needed to find a member and to change or drop it. Members of others are never judged: whatever stands
//! between two commas is theirs, and is kept byte for byte.

use memchr::{memchr, memchr_iter, memmem};

use crate::{RoutingKey, carrier::CarrierConfig, percent};

/// The main member and the legacy ones.
pub(crate) const MEMBERS_MAX: usize = 1 + CarrierConfig::LEGACY_MEMBERS_MAX;

/// W3C Baggage section 3.3.2: what every platform propagates, and so the most that can be relied upon.
pub(crate) const BAGGAGE_BYTES_MAX: usize = 8192;

/// W3C Baggage section 3.3.2.
pub(crate) const BAGGAGE_MEMBERS_MAX: usize = 64;

/// W3C Trace Context section 3.3.1.1.
const TRACESTATE_MEMBERS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Baggage,
    Tracestate,
}

/// One member, as slices of its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    /// Trimmed; empty if there is none.
    pub(crate) name: &'a [u8],
    /// Trimmed, not decoded, without properties.
    pub(crate) value: &'a [u8],
    /// All that stands between the commas.
    raw: &'a [u8],
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Keep,
    /// Gets this value; name and properties stay.
    Rewrite(RoutingKey),
    Remove,
}

/// How large a list is, over all its lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    lines: usize,
    bytes: usize,
    members: usize,
}

/// What a list says about routing keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// The first readable key of each member name.
    pub(crate) keys: [Option<RoutingKey>; MEMBERS_MAX],
    /// A key that a repeated member has besides.
    pub(crate) conflict: Option<RoutingKey>,
    /// Which of the member names occur, one bit each.
    pub(crate) named: u8,
    /// How many of those members cannot be read.
    pub(crate) malformed: u16,
}

// === impl List ===

impl List {
    /// Whether a list is larger than what everybody on the way must keep.
    pub(crate) fn is_oversize(self, size: Size) -> bool {
        match self {
            Self::Baggage => size.bytes() > BAGGAGE_BYTES_MAX || size.members > BAGGAGE_MEMBERS_MAX,
            Self::Tracestate => size.members > TRACESTATE_MEMBERS_MAX,
        }
    }

    /// Reads a member's value with `parse`, decoded where the list encodes values.
    pub(crate) fn value(
        self,
        member: &Member<'_>,
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) -> Option<RoutingKey> {
        match self {
            Self::Baggage => parse(percent::decode(member.value, &mut [0; percent::DECODED_LEN_MAX])?),
            Self::Tracestate => parse(member.value),
        }
    }

    /// Reads the keys of all `names` in one go; `None` where none of them occurs. A list that is oversize yields none: what
    /// a later hop may cut off must not decide. Its members are not gone through any further then.
    pub(crate) fn read<'a>(
        self,
        lines: impl Iterator<Item = &'a [u8]>,
        names: &[String],
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) -> Option<Found> {
        let (mut found, mut size) = (Found::default(), Size::default());
        for line in lines {
            size.add_line(line);
            for raw in members(line) {
                if self.is_oversize(size) {
                    break;
                }
                size.members += 1;
                if !names.iter().any(|name| raw.starts_with(name.as_bytes())) {
                    continue;
                }
                let member = self.member(raw);
                if let Some(at) = position(names, &member) {
                    found.note(at, self.value(&member, parse));
                }
            }
            if self.is_oversize(size) {
                found.named |= self.names_in(line, names);
            }
        }
        if found.named == 0 {
            return None;
        }
        let oversize = self.is_oversize(size);
        Some(if oversize { Found { malformed: 1, named: found.named, ..Found::default() } } else { found })
    }

    /// Which of `names` members of a line have, a bit each, found without going through the members.
    fn names_in(self, line: &[u8], names: &[String]) -> u8 {
        let is_name = |start: usize, name: &str| {
            let (before, rest) = line.split_at_checked(start).unwrap_or_default();
            let after = trim_start(rest.get(name.len()..).unwrap_or_default());
            matches!(trim_end(before), [] | [.., b','])
                && match after {
                    [] | [b'=' | b',', ..] => true,
                    [b';', ..] => self == Self::Baggage,
                    _ => false,
                }
        };
        let occurs = |name: &str| memmem::find_iter(line, name).any(|start| is_name(start, name));
        (0..).zip(names).filter(|(_, name)| occurs(name)).fold(0, |named, (at, _)| named | 1 << at)
    }

    /// The line after a change of its members; `None` if nothing changes, empty if no member is left.
    pub(crate) fn rewrite(
        self,
        line: &[u8],
        mut change: impl FnMut(&Member<'_>) -> Change,
    ) -> Option<Vec<u8>> {
        let mut changes = 0;
        let mut kept: Vec<u8> = Vec::new();
        let mut first = true;
        for raw in segments(line) {
            let member = self.member(raw);
            let decision = if trim_start(raw).is_empty() { Change::Keep } else { change(&member) };
            changes += usize::from(decision != Change::Keep);
            if decision == Change::Remove {
                continue;
            }
            if !first {
                kept.push(b',');
            }
            first = false;
            match decision {
                Change::Rewrite(key) => member.write_with(key.as_bytes(), &mut kept),
                _ => kept.extend_from_slice(raw),
            }
        }
        let empty = members(&kept).next().is_none();
        (changes > 0).then(|| if empty { Vec::new() } else { trim(&kept).to_vec() })
    }

    fn member(self, raw: &[u8]) -> Member<'_> {
        let end = match self {
            Self::Baggage => memchr(b';', raw),
            Self::Tracestate => None,
        };
        let pair = end.and_then(|end| raw.get(..end)).unwrap_or(raw);
        // Without one, the value would stand at the end.
        let equals = memchr(b'=', pair).unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(equals).unwrap_or_default();
        Member { name: trim(name), value: trim(value.strip_prefix(b"=").unwrap_or(value)), raw }
    }
}

// === impl Member ===

impl Member<'_> {
    fn write_with(&self, value: &[u8], out: &mut Vec<u8>) {
        // The value is a slice of `raw`: what stands around it is found by counting from both ends.
        let mut parts = self.raw.splitn(2, |&byte| byte == b'=');
        let before = parts.next().unwrap_or_default();
        let rest = parts.next().unwrap_or_default();
        let blank = rest.len() - trim_start(rest).len();
        out.extend_from_slice(before);
        out.push(b'=');
        out.extend_from_slice(rest.get(..blank).unwrap_or_default());
        out.extend_from_slice(value);
        out.extend_from_slice(rest.get(blank + self.value.len()..).unwrap_or_default());
    }
}

// === impl Size ===

impl Size {
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        self.lines += 1;
        self.bytes += trim(line).len();
    }

    pub(crate) fn add_members(&mut self, line: &[u8]) {
        self.members += members(line).count();
    }

    /// Whether one more member of so many bytes keeps a `baggage` within its limits.
    pub(crate) fn has_room_for(self, member_len: usize) -> bool {
        self.bytes() + 1 + member_len <= BAGGAGE_BYTES_MAX && self.members < BAGGAGE_MEMBERS_MAX
    }

    /// As if all lines were one, joined by commas.
    fn bytes(self) -> usize {
        self.bytes + self.lines.saturating_sub(1)
    }
}

// === impl Found ===

impl Found {
    fn note(&mut self, at: usize, key: Option<RoutingKey>) {
        self.named |= 1 << at;
        match (key, self.keys.get_mut(at)) {
            (None, _) => self.malformed = self.malformed.saturating_add(1),
            (Some(key), Some(Some(first))) if *first != key => {
                self.conflict.get_or_insert(key);
            }
            (Some(key), Some(slot)) => *slot = Some(key),
            (Some(_), None) => {}
        }
    }
}

/// Which of our names a member has. Member names are case-sensitive in both lists.
pub(crate) fn position(names: &[String], member: &Member<'_>) -> Option<usize> {
    names.iter().position(|name| name.as_bytes() == member.name)
}

/// Adds a member to a line, which may be empty.
pub(crate) fn append(line: &mut Vec<u8>, member: &[u8]) {
    if !line.is_empty() && !line.ends_with(b",") {
        line.push(b',');
    }
    line.extend_from_slice(member);
}

/// Without optional white space (RFC 9110 section 5.6.3) around it.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    trim_start(trim_end(value))
}

fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a line, without white space before them; what is empty between two commas is none.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    segments(line).map(trim_start).filter(|member| !member.is_empty())
}

/// All that stands between commas.
fn segments(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b',', line).chain([line.len()]).map(move |end| {
        let segment = line.get(start..end).unwrap_or_default();
        start = end + 1;
        segment
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Vec<String> {
        vec!["k".to_owned(), "old".to_owned()]
    }

    fn read(list: List, lines: &[&str]) -> Found {
        let lines = lines.iter().map(|line| line.as_bytes());
        list.read(lines, &names(), &mut |value| RoutingKey::parse(value).ok()).unwrap_or_default()
    }

    fn key(text: &str) -> RoutingKey {
        text.parse().unwrap()
    }

    #[test]
    fn all_lines_are_one_list_and_properties_are_ignored() {
        let found = read(List::Baggage, &["a=1;k=2 , old = o%2E1 ;ttl=3;k", " k\t=  v9\t;p=1"]);
        assert_eq!(found.keys, [Some(key("v9")), Some(key("o.1")), None, None, None]);
        assert_eq!((found.malformed, found.conflict), (0, None));
    }

    #[test]
    fn names_are_case_sensitive_and_prefixes_do_not_match() {
        let found = read(List::Baggage, &["K=1,kk=2,xk=3,=4,5,,"]);
        assert_eq!((found.named, found.malformed), (0, 0));
    }

    #[test]
    fn a_broken_member_is_counted_and_the_next_one_read() {
        let found = read(List::Baggage, &["k=%zz,k,k=,k=a b,k;k=1,k=v9,k=v9,k=x"]);
        assert_eq!((found.malformed, found.keys[0], found.conflict), (5, Some(key("v9")), Some(key("x"))));
    }

    #[test]
    fn tracestate_values_are_taken_as_they_are() {
        let found = read(List::Tracestate, &["rojo=00f067aa0ba902b7,k=v9 ,old=a%2Eb", "old=x;y"]);
        assert_eq!((found.keys[0], found.keys[1], found.malformed), (Some(key("v9")), None, 2));
    }

    #[test]
    fn an_oversize_list_holds_no_key() {
        let many = "a=1,".repeat(63);
        assert_eq!(read(List::Baggage, &[&format!("{many}k=v")]).keys[0], Some(key("v")));
        let found = read(List::Baggage, &[&many, "a=1", "k=v"]);
        assert_eq!((found.keys[0], found.malformed, found.named), (None, 1, 1));
        let long = format!("a={},k=v", "x".repeat(8192 - 6));
        assert_eq!(read(List::Baggage, &[&long]).keys[0], Some(key("v")));
        assert_eq!(read(List::Baggage, &[&long, ""]).keys[0], None);
        assert_eq!(read(List::Tracestate, &[&"a=1,".repeat(32), "k=v"]).keys[0], None);
        assert_eq!(read(List::Baggage, &["a=1,".repeat(99).as_str()]).malformed, 0);
    }

    proptest! {
        #[test]
        fn names_of_an_oversize_list_are_found_as_in_any_other(line in "[kold=;, \t]{0,40}") {
            for list in [List::Baggage, List::Tracestate] {
                let named = read(list, &[&line]).named;
                prop_assert_eq!(list.names_in(line.as_bytes(), &names()), named);
                let many = "a=1,".repeat(65);
                prop_assert_eq!(read(list, &[&line, &many]).named, named);
                prop_assert_eq!(read(list, &[&many, &line]).named, named);
                prop_assert_eq!(read(list, &[&format!("{many}{line}")]).named, named);
            }
        }
    }

    #[test]
    fn rewriting_changes_one_value_and_no_other_byte() {
        let line = b"a=1 ;p , k\t= old ; q=%20, =,,b";
        let rewritten = List::Baggage.rewrite(line, |member| match member.name {
            b"k" => Change::Rewrite(key("new")),
            _ => Change::Keep,
        });
        assert_eq!(rewritten.as_deref(), Some(b"a=1 ;p , k\t= new ; q=%20, =,,b".as_slice()));
        assert_eq!(List::Baggage.rewrite(line, |_| Change::Keep), None);
    }

    #[test]
    fn removing_keeps_the_others_in_order() {
        let remove = |line: &[u8]| {
            let change =
                |member: &Member<'_>| if member.name == b"k" { Change::Remove } else { Change::Keep };
            List::Baggage.rewrite(line, change).map(|line| String::from_utf8(line).unwrap())
        };
        assert_eq!(remove(b"k=1, a=1;p, k=2 ,b=2"), Some("a=1;p,b=2".to_owned()));
        assert_eq!(remove(b"k=1"), Some(String::new()));
        assert_eq!(remove(b" k=1 , ,"), Some(String::new()));
        assert_eq!(remove(b"a=1"), None);
    }
}
