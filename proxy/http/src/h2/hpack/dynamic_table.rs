//! The dynamic table (RFC 7541 sections 2.3.2 and 4), for either direction.

use std::collections::VecDeque;

/// What an entry costs beside its name and value (RFC 7541 section 4.1).
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Entries in the order of their insertion, and their bytes one after another.
///
/// Bytes of evicted entries stay until they are as many as the live ones and their room is needed; then the live ones
/// are moved once. So an insertion costs a copy, whatever was evicted, and no allocation once the room is there.
#[derive(Clone, Debug)]
pub(super) struct DynamicTable<T> {
    bytes: Vec<u8>,
    /// Where `bytes` starts, counted in all bytes ever inserted.
    base: u32,
    entries: VecDeque<Entry<T>>,
    /// How many entries were ever inserted, of which only the last bits count: the number of the next.
    inserted: u16,
    size: usize,
    limit: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    at: u32,
    bytes: u32,
    size: u32,
    data: T,
}

// === impl DynamicTable ===

impl<T> DynamicTable<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), base: 0, entries: VecDeque::new(), inserted: 0, size: 0, limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sets how large the table may be, and evicts what does not fit (RFC 7541 section 4.3).
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.evict(0);
    }

    /// The number that the next entry will have.
    pub(super) fn next_number(&self) -> u16 {
        self.inserted
    }

    /// Inserts an entry whose bytes are `parts` and that counts as `size` bytes and evicts what it needs the room of; an entry that is larger than
    /// the table leaves it empty (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, parts: [&[u8]; 2], size: usize, data: T) {
        self.evict(size);
        if size > self.limit {
            return;
        }
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let dead = self.entries.front().map_or(self.bytes.len(), |oldest| self.offset(oldest));
        if self.bytes.len() + bytes > self.bytes.capacity() && dead * 2 >= self.bytes.len() {
            self.bytes.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        }
        let at = self.base.wrapping_add(self.bytes.len() as u32);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.entries.push_back(Entry { at, bytes: bytes as u32, size: size as u32, data });
        self.inserted = self.inserted.wrapping_add(1);
        self.size += size;
    }

    fn evict(&mut self, incoming: usize) {
        while self.size + incoming > self.limit {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size as usize;
        }
    }

    fn offset(&self, entry: &Entry<T>) -> usize {
        entry.at.wrapping_sub(self.base) as usize
    }

    /// The entry that was inserted last but `age`.
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], &T)> {
        let at = self.entries.len().checked_sub(age + 1)?;
        let entry = self.entries.get(at)?;
        let start = self.offset(entry);
        Some((self.bytes.get(start..start + entry.bytes as usize)?, &entry.data))
    }

    /// How many entries were inserted after the one with this number; `None` when it is not in the table.
    pub(super) fn age(&self, number: u16) -> Option<usize> {
        let age = usize::from(self.inserted.wrapping_sub(number).wrapping_sub(1));
        (age < self.entries.len()).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_evicted_oldest_first_and_found_by_age_and_number() {
        let mut table = DynamicTable::new(100);
        for (at, text) in ["a", "bb", "ccc"].iter().enumerate() {
            table.insert([text.as_bytes(), b""], 40, at);
        }
        assert_eq!((table.len(), table.size()), (2, 80));
        assert_eq!(table.get(0), Some((&b"ccc"[..], &2)));
        assert_eq!(table.get(1), Some((&b"bb"[..], &1)));
        assert_eq!(table.get(2), None);
        assert_eq!((table.age(2), table.age(1), table.age(0), table.age(3)), (Some(0), Some(1), None, None));
        table.set_limit(79);
        assert_eq!(table.len(), 1);
        table.insert([b"", b"x"], 80, 9);
        assert_eq!((table.len(), table.size()), (0, 0));
        table.insert([b"y", b""], 79, 9);
        assert_eq!(table.get(0), Some((&b"y"[..], &9)));
    }

    #[test]
    fn memory_stays_bounded_however_much_is_inserted() {
        let mut table = DynamicTable::new(4096);
        let text = [b'x'; 100];
        for at in 0..100_000_usize {
            table.insert([text.get(..at % 100).unwrap(), b""], at % 100 + ENTRY_OVERHEAD_BYTES, at);
            let (bytes, data) = table.get(table.len() - 1).unwrap();
            assert_eq!(bytes.len(), data % 100);
        }
        assert!(table.bytes.capacity() <= 2 * 4096, "{}", table.bytes.capacity());
    }
}
