//! Values of single settings: the text that was given, or the default, read by its kind.

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    defs::{Id, SETTINGS, Setting},
    error::Problem,
    raw::{Raw, RawMap, Source},
    value::Value,
};

/// Reads values and collects what is wrong with them. A wrong value is replaced by the default, so that reading goes on
/// and finds the next mistake.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) raw: &'a Raw,
    pub(super) problems: Vec<Problem>,
}

impl Values<'_> {
    pub(super) fn number(&mut self, id: Id) -> u64 {
        match self.value(id) {
            Some(Value::Number(number)) => number,
            _ => 0,
        }
    }

    /// A number whose bounds in the table fit a `u32`.
    pub(super) fn count(&mut self, id: Id) -> u32 {
        u32::try_from(self.number(id)).unwrap_or(u32::MAX)
    }

    /// A number of things or bytes in memory.
    pub(super) fn size(&mut self, id: Id) -> usize {
        usize::try_from(self.number(id)).unwrap_or(usize::MAX)
    }

    /// A number for which 0 means that the caller works it out.
    pub(super) fn size_or_auto(&mut self, id: Id) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.size(id))
    }

    pub(super) fn span(&mut self, id: Id) -> Duration {
        match self.value(id) {
            Some(Value::Span(span)) => span,
            _ => Duration::ZERO,
        }
    }

    /// A span for which 0 means no limit.
    pub(super) fn timeout(&mut self, id: Id) -> Option<Duration> {
        Some(self.span(id)).filter(|span| !span.is_zero())
    }

    pub(super) fn switch(&mut self, id: Id) -> bool {
        matches!(self.value(id), Some(Value::Switch(true)))
    }

    pub(super) fn text(&mut self, id: Id) -> Option<String> {
        match self.value(id) {
            Some(Value::Text(text)) => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    pub(super) fn list(&mut self, id: Id) -> Vec<String> {
        if let Some(items) = self.raw.get(id).and_then(|given| given.items.clone()) {
            return items;
        }
        match self.value(id) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    /// The maps of a setting that is a list of them, each read by `read`, whose error holds every reason.
    pub(super) fn maps<T>(&mut self, id: Id, read: impl Fn(&RawMap) -> Result<T, Vec<String>>) -> Vec<T> {
        let Some(setting) = setting(id) else { return Vec::new() };
        let mut maps = Vec::new();
        for typed in self.raw.maps(id) {
            match read(typed) {
                Ok(map) => maps.push(map),
                Err(reasons) => {
                    let reasons = reasons.join(", ");
                    self.problems.push(Problem::of_value(setting, &typed.source, &typed.text(), reasons));
                }
            }
        }
        maps
    }

    /// Text that is read further by `parse`; unset when the text is.
    pub(super) fn parsed<T>(&mut self, id: Id, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(id)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problem(id, &reason);
                None
            }
        }
    }

    /// Whether somebody set it, with whatever value.
    pub(super) fn is_given(&self, id: Id) -> bool {
        self.raw.get(id).is_some()
    }

    /// Reports the value of a setting as wrong.
    pub(super) fn problem(&mut self, id: Id, reason: &str) {
        let Some(setting) = setting(id) else { return };
        let (source, text) = match self.raw.get(id) {
            Some(given) => (&given.source, given.text.as_str()),
            None => (&Source::Default, setting.default),
        };
        self.problems.push(Problem::of_value(setting, source, text, reason));
    }

    fn value(&mut self, id: Id) -> Option<Value> {
        let setting = setting(id)?;
        let text = self.raw.get(id).map_or(setting.default, |given| given.text.as_str());
        match setting.kind.parse(text.trim()) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problem(id, &reason);
                setting.kind.parse(setting.default).ok()
            }
        }
    }
}

fn setting(id: Id) -> Option<&'static Setting> {
    SETTINGS.get(id as usize)
}
