//! The keys and values of one map, read one by one, with every mistake kept.

use crate::raw::RawMap;

/// A map as typed, and what is wrong with it so far, each reason naming its key.
pub(crate) struct Fields<'a> {
    raw: &'a RawMap,
    pub(crate) reasons: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Takes a map whose keys may be `keys`.
    pub(crate) fn new(raw: &'a RawMap, keys: &[&str]) -> Self {
        let mut reasons = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in &raw.fields {
            if !keys.contains(&key.as_str()) {
                reasons.push(format!("unknown key {key:?}"));
            } else if seen.contains(&key.as_str()) {
                reasons.push(format!("{key} is given twice"));
            }
            seen.push(key);
        }
        Self { raw, reasons }
    }

    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.raw.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn get<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let result = parse(self.find(key)?);
        match result {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reasons.push(format!("{key}: {reason}"));
                None
            }
        }
    }

    pub(crate) fn require(&mut self, key: &str) {
        if self.find(key).is_none() {
            self.reasons.push(format!("{key} is missing"));
        }
    }
}
