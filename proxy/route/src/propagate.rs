//! Propagation: what must change in a head so that the next hop reads the same key.
//!
//! The result is a list of edits, empty for most requests; applying it is the caller's work. Fields that are not carriers
//! are never touched, members of others in `baggage` and `tracestate` keep their order and their bytes, and what is
//! malformed is forwarded as it came.

use std::borrow::Cow;

use crate::{
    Carrier, Extraction, Extractor, GatewayCarrier, Request, RoutingKey,
    extract::Single,
    members::{self, Change, List, Member, Size},
    pairs,
    scan::{NameSet, Role},
};

/// What to change in a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// In the order of the fields, each field at most once; then what is added, then the target.
    pub edits: Vec<Edit>,
    /// What is worth counting.
    pub outcome: Outcome,
}

/// One change. Indices are positions in [`Request::fields`], before any change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The field goes.
    Remove(usize),
    /// The field gets another value.
    Replace(usize, Vec<u8>),
    /// A field comes after all others. The name is in lower case.
    Append(Cow<'static, str>, Vec<u8>),
    /// The request gets another target; only ever a query parameter less.
    Target(Vec<u8>),
}

/// What became of the key, for counters and logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `baggage` had no room for the key (8192 bytes, 64 members; W3C Baggage section 3.3.2); a custom header holds it.
    pub baggage_full: bool,
    /// The next hop cannot read the key: `baggage` was full and no custom header could be added.
    pub key_lost: bool,
    /// How many fields lost something that did not count.
    pub stripped: u16,
}

/// What becomes of a `baggage` member of ours that holds another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Losing {
    Rewritten,
    Removed,
}

/// Whether the carriers that are there stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Keep(Losing),
    Strip,
}

struct Writer<'w, 'a, I> {
    extractor: &'w Extractor,
    request: &'w Request<'a, I>,
    key: Option<&'w RoutingKey>,
    mode: Mode,
    edits: Edits,
    /// The size of `baggage` as it is going to be.
    size: Size,
    /// The last `baggage` field, before any change.
    last: Option<(usize, &'a [u8])>,
    /// `baggage` already holds the key under its main name.
    canonical: bool,
    /// Lists that are too large to be read, and so are left alone.
    oversize: NameSet,
    /// Single-valued fields that hold a key, and which of them the key that lost.
    judged: NameSet,
    losing: NameSet,
    readable: NameSet,
}

// === impl Extractor ===

impl Extractor {
    /// What to change in a request whose key has been read, so that the next hop reads the same.
    ///
    /// `baggage` holds the key afterwards, in its last line, and every other carrier of the request that holds a different
    /// one is set right. A key that no field held, or that `baggage` has no room for, also gets the first custom header that
    /// the request does not already have. Doing it twice changes nothing more.
    #[must_use]
    pub fn propagate<'a, I>(&self, request: &Request<'a, I>, extraction: &Extraction) -> Edits
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let Some(key) = &extraction.key else {
            return Edits::default();
        };
        if extraction.canonical {
            return Edits::default();
        }
        let forwarded = extraction.carrier.is_some_and(Carrier::is_forwarded);
        let walked = |losing| {
            let mut writer = Writer::new(self, request, Some(key), Mode::Keep(losing));
            writer.measure();
            writer.walk();
            writer
        };
        let mut writer = walked(Losing::Rewritten);
        if writer.has_outgrown() {
            // The key is longer than those it replaces, which are not the app's: take them out.
            writer = walked(Losing::Removed);
        }
        writer.write_key(key, forwarded);
        writer.finish()
    }

    /// What to take out of a request so that no carrier is left in it, `x-spurline-strict` and `x-spurline-explain` included.
    ///
    /// A host name that holds a key stays: without it the request would be for somebody else.
    #[must_use]
    pub fn strip<'a, I>(&self, request: &Request<'a, I>) -> Edits
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let mut writer = Writer::new(self, request, None, Mode::Strip);
        writer.walk();
        writer.strip_target();
        writer.finish()
    }

    /// Takes all carriers out and writes one key in.
    pub(crate) fn replace<'a, I>(&self, request: &Request<'a, I>, key: &RoutingKey) -> Edits
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let mut writer = Writer::new(self, request, Some(key), Mode::Strip);
        writer.walk();
        writer.strip_target();
        writer.write_key(key, false);
        writer.finish()
    }
}

// === impl Writer ===

impl<'w, 'a, I> Writer<'w, 'a, I>
where
    I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    fn new(
        extractor: &'w Extractor,
        request: &'w Request<'a, I>,
        key: Option<&'w RoutingKey>,
        mode: Mode,
    ) -> Self {
        Self {
            extractor,
            request,
            key,
            mode,
            edits: Edits::default(),
            size: Size::default(),
            last: None,
            canonical: false,
            oversize: 0,
            judged: 0,
            losing: 0,
            readable: 0,
        }
    }

    /// Finds the lists that are oversize as they came.
    fn measure(&mut self) {
        for (role, list) in [(Role::Baggage, List::Baggage), (Role::Tracestate, List::Tracestate)] {
            let Some(at) = self.extractor.names.position(role) else { continue };
            let mut size = Size::default();
            for line in self.extractor.lines(self.request, at) {
                size.add_line(line);
                size.add_members(line);
            }
            self.oversize |= NameSet::from(list.is_oversize(size)) << at;
        }
    }

    fn walk(&mut self) {
        for (index, (name, value)) in self.request.fields.clone().enumerate() {
            let Some((at, role)) = self.extractor.names.find(name) else { continue };
            match (role, self.mode) {
                (Role::Baggage, _) => self.list(List::Baggage, at, index, value),
                (Role::Tracestate, _) => self.list(List::Tracestate, at, index, value),
                (Role::Cookie, Mode::Strip) => {
                    let name = self.extractor.gateway.cookie.as_deref().unwrap_or_default();
                    self.push_line(index, pairs::without_cookie(value, name));
                }
                (Role::Key(_) | Role::Strict | Role::Explain, Mode::Strip) => {
                    self.push_line(index, Some(Vec::new()));
                }
                (Role::Key(_), Mode::Keep(_)) => self.set_right(at, index),
                (Role::Cookie | Role::Strict | Role::Explain, Mode::Keep(_)) => {}
            }
        }
    }

    /// Replaces the value of a single-valued carrier if it holds another key.
    fn set_right(&mut self, at: u8, index: usize) {
        let bit = 1 << at;
        if self.judged & bit == 0 {
            self.judged |= bit;
            let single = self.extractor.single(self.request, at, &mut |value| RoutingKey::parse(value).ok());
            if let (Single::Key(found), Some(key)) = (single, self.key) {
                self.readable |= bit;
                self.losing |= if found == *key { 0 } else { bit };
            }
        }
        if self.losing & bit != 0 {
            let value = self.key.map(|key| key.as_bytes().to_vec());
            self.edits.edits.extend(value.map(|value| Edit::Replace(index, value)));
        }
    }

    /// Changes the members of one line of a list, and keeps count of what is left.
    fn list(&mut self, list: List, at: u8, index: usize, value: &'a [u8]) {
        let line = members::trim(value);
        let oversize = self.oversize & (1 << at) != 0;
        let mut holds_key = false;
        let mut rewrite = || {
            list.rewrite(line, |member| {
                let (change, holds) = self.judge(list, member);
                holds_key |= holds;
                change
            })
        };
        let rewritten = if oversize { None } else { rewrite() };
        if list == List::Baggage {
            let after = rewritten.as_deref().unwrap_or(line);
            self.canonical |= holds_key;
            self.last = Some((index, value));
            self.size.add_line(after);
            self.size.add_members(after);
        }
        self.push_line(index, rewritten);
    }

    /// What becomes of a member, and whether it is the main one and holds the key afterwards.
    fn judge(&self, list: List, member: &Member<'_>) -> (Change, bool) {
        let Some(at) = members::position(&self.extractor.members, member) else {
            return (Change::Keep, false);
        };
        let Mode::Keep(losing) = self.mode else {
            return (Change::Remove, false);
        };
        let found = list.value(member, &mut |value| RoutingKey::parse(value).ok());
        match (found, self.key, losing) {
            (Some(found), Some(key), _) if found == *key => (Change::Keep, at == 0),
            (Some(_), Some(_), Losing::Removed) if list == List::Baggage => (Change::Remove, false),
            (Some(_), Some(key), _) => (Change::Rewrite(*key), at == 0),
            _ => (Change::Keep, false),
        }
    }

    /// Records what a line becomes: nothing, another value, or none at all if it is empty.
    fn push_line(&mut self, index: usize, line: Option<Vec<u8>>) {
        let Some(line) = line else { return };
        if self.mode == Mode::Strip {
            self.edits.outcome.stripped = self.edits.outcome.stripped.saturating_add(1);
        }
        self.edits.edits.push(if line.is_empty() { Edit::Remove(index) } else { Edit::Replace(index, line) });
    }

    fn has_outgrown(&self) -> bool {
        let at = self.extractor.names.position(Role::Baggage);
        let came_oversize = at.is_some_and(|at| self.oversize & (1 << at) != 0);
        !came_oversize && List::Baggage.is_oversize(self.size)
    }

    fn strip_target(&mut self) {
        let gateway = &self.extractor.gateway;
        if let (true, Some(name)) = (gateway.order.contains(&GatewayCarrier::Query), &gateway.query)
            && let Some(target) = pairs::without_query(self.request.target, name)
        {
            self.edits.outcome.stripped = self.edits.outcome.stripped.saturating_add(1);
            self.edits.edits.push(Edit::Target(target));
        }
    }

    /// Sees to it that the key stands in `baggage`, or else in a custom header; `forwarded` says that some field that stays
    /// holds it.
    fn write_key(&mut self, key: &RoutingKey, forwarded: bool) {
        let main = self.extractor.members.first().map_or("", String::as_str);
        if !self.canonical {
            let member = format!("{main}={key}");
            self.canonical = self.size.has_room_for(member.len());
            match (self.canonical, self.last) {
                (false, _) => self.edits.outcome.baggage_full = true,
                (true, None) => {
                    self.edits.edits.push(Edit::Append(Cow::Borrowed("baggage"), member.into_bytes()));
                }
                (true, Some((index, line))) => self.merge(index, members::trim(line), member.as_bytes()),
            }
        }
        if self.canonical && forwarded {
            return;
        }
        let in_header = self.write_header(key);
        self.edits.outcome.key_lost = !self.canonical && !in_header && !forwarded;
    }

    /// Adds a member to the last `baggage` line, on top of what has already become of it.
    fn merge(&mut self, index: usize, line: &[u8], member: &[u8]) {
        let edits = &mut self.edits.edits;
        let edited = edits.iter_mut().find(|edit| edit.index() == Some(index));
        match edited {
            Some(Edit::Replace(_, line)) => members::append(line, member),
            Some(removed) => *removed = Edit::Replace(index, member.to_vec()),
            None => {
                let mut line = line.to_vec();
                members::append(&mut line, member);
                edits.push(Edit::Replace(index, line));
            }
        }
    }

    /// Whether a custom header holds the key afterwards. One that is malformed is left alone and the next one taken.
    fn write_header(&mut self, key: &RoutingKey) -> bool {
        let mut free = None;
        for (at, name, role) in self.extractor.names.iter() {
            let (Role::Key(Carrier::Header(_)), bit) = (role, 1 << at) else { continue };
            if self.readable & bit != 0 {
                return true;
            }
            if self.judged & bit == 0 {
                free = free.or(Some(name));
            }
        }
        let Some(name) = free else { return false };
        let edit = Edit::Append(Cow::Owned(name.to_owned()), key.as_bytes().to_vec());
        self.edits.edits.push(edit);
        true
    }

    fn finish(mut self) -> Edits {
        self.edits.edits.sort_by_key(Edit::order);
        self.edits
    }
}

// === impl Edits ===

impl Edits {
    /// Whether the head is forwarded as it came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}

// === impl Edit ===

impl Edit {
    fn index(&self) -> Option<usize> {
        match self {
            Self::Remove(index) | Self::Replace(index, _) => Some(*index),
            Self::Append(..) | Self::Target(_) => None,
        }
    }

    /// Fields by index, then additions, then the target.
    fn order(&self) -> (u8, usize) {
        match self {
            Self::Remove(index) | Self::Replace(index, _) => (0, *index),
            Self::Append(..) => (1, 0),
            Self::Target(_) => (2, 0),
        }
    }
}

#[cfg(test)]
mod tests;
