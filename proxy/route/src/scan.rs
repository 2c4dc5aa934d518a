//! Which field names matter.
//!
//! Most requests hold no carrier at all, so what counts is how fast a name is found *not* to be one: a table by length
//! holds the initials of the names of that length, and only a name that passes it is compared. Values are not looked at.

use crate::Carrier;

/// A set of positions in [`Names`].
pub(crate) type NameSet = u32;

/// What a field of a certain name is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The value is the key.
    Key(Carrier),
    /// A list of members, `baggage`.
    Baggage,
    /// A list of members, `tracestate`.
    Tracestate,
    /// `x-spurline-strict`.
    Strict,
    /// `x-spurline-explain`.
    Explain,
    /// `cookie`, at a gateway that reads one.
    Cookie,
}

/// The names that matter, at most as many as [`NameSet`] has bits.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    // By length of the name: one bit per initial, of which the five low bits tell letters apart whatever their case.
    initials: [u32; NAME_LEN_MAX + 1],
    // By length of the name: which of the entries have it.
    lengths: [NameSet; NAME_LEN_MAX + 1],
    entries: Vec<(String, Role)>,
}

/// The longest name that can be looked for, in bytes.
pub(crate) const NAME_LEN_MAX: usize = 63;

// === impl Names ===

impl Names {
    pub(crate) fn new(entries: Vec<(String, Role)>) -> Self {
        debug_assert!(entries.len() <= NameSet::BITS as usize, "more names than bits");
        let mut initials = [0; NAME_LEN_MAX + 1];
        let mut lengths = [0; NAME_LEN_MAX + 1];
        for (at, (name, _)) in entries.iter().enumerate() {
            if let (Some(mask), Some(first)) = (initials.get_mut(name.len()), name.bytes().next()) {
                *mask |= 1 << (first & 31);
            }
            if let Some(set) = lengths.get_mut(name.len()) {
                *set |= 1 << at;
            }
        }
        Self { initials, lengths, entries }
    }

    /// The position and role of a field name; `None` for the many that do not matter.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<(u8, Role)> {
        let mask = *self.initials.get(name.len())?;
        if (mask >> (name.first()? & 31)) & 1 == 0 {
            return None;
        }
        self.compare(name)
    }

    /// Every position whose name occurs among some fields.
    #[inline]
    pub(crate) fn scan<'a>(&self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> NameSet {
        fields.filter_map(|(name, _)| self.find(name)).fold(0, |seen, (at, _)| seen | 1 << at)
    }

    /// The position of a role.
    pub(crate) fn position(&self, wanted: Role) -> Option<u8> {
        self.iter().find(|&(_, _, role)| role == wanted).map(|(at, _, _)| at)
    }

    /// The position of a role, if its name is among those that were seen.
    pub(crate) fn seen(&self, wanted: Role, seen: NameSet) -> Option<u8> {
        let mut left = seen;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            if self.entries.get(at as usize).is_some_and(|(_, role)| *role == wanted) {
                return u8::try_from(at).ok();
            }
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &str, Role)> {
        (0u8..).zip(&self.entries).map(|(at, (name, role))| (at, name.as_str(), *role))
    }

    #[cold]
    fn compare(&self, name: &[u8]) -> Option<(u8, Role)> {
        let mut left = *self.lengths.get(name.len())?;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            let (entry, role) = self.entries.get(at as usize)?;
            if entry.as_bytes() == name || entry.as_bytes().eq_ignore_ascii_case(name) {
                return Some((u8::try_from(at).ok()?, *role));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_others_are_not() {
        let names = Names::new(vec![
            ("baggage".to_owned(), Role::Baggage),
            ("x-spurline-strict".to_owned(), Role::Strict),
        ]);
        assert_eq!(names.find(b"BagGage"), Some((0, Role::Baggage)));
        assert_eq!(names.find(b"x-spurline-strict"), Some((1, Role::Strict)));
        for other in
            [b"".as_slice(), b"baggagf", b"\x02aggage", b"baggage ", b"x", &[b'b'; 64], &[b'b'; 70000]]
        {
            assert_eq!(names.find(other), None);
        }
        let fields = [(b"host".as_slice(), b"a".as_slice()), (b"Baggage", b"b")];
        assert_eq!(names.scan(fields.into_iter()), 0b01);
    }
}
