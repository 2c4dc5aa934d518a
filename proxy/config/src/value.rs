//! Kinds of settings: what text they take and what it means.

use std::{fmt, time::Duration};

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Count { min: u64, max: u64 },
    /// Bytes: `16384`, `16KiB`, `1MiB`.
    Size { min: u64, max: u64 },
    /// A span of time that must be positive: `250ms`, `10s`, `5m`, `1h`.
    Span { min: Duration, max: Duration },
    /// A span of time, or `0` for no limit.
    Timeout { max: Duration },
    /// `true` or `false`; a flag alone means `true`.
    Switch,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text of the described form; empty means unset.
    Text(&'static str),
    /// Words of the described form, separated by commas, or a YAML list.
    List(&'static str),
    /// `key=value,...` of the described form, repeatable, or a YAML list of maps under another key.
    Maps { file_key: &'static str, noun: &'static str, form: &'static str },
}

/// A value that follows the grammar of its kind and lies within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(u64),
    Span(Duration),
    Switch(bool),
    Text(String),
    List(Vec<String>),
}

impl Kind {
    /// Reads text of this kind. The error says what is wrong, not what is allowed.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Count { min, max } => {
                let number = text.parse().map_err(|_| "not a whole number".to_owned())?;
                within(number, min, max).map(Value::Number)
            }
            Self::Size { min, max } => {
                let bytes = parse_size(text).ok_or("not a size")?;
                within(bytes, min, max).map(Value::Number)
            }
            Self::Span { min, max } => {
                let span = parse_span(text).ok_or("not a duration")?;
                within(span, min, max).map(Value::Span)
            }
            Self::Timeout { max } => {
                let span = parse_span(text).ok_or("not a duration")?;
                within(span, Duration::ZERO, max).map(Value::Span)
            }
            Self::Switch => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err("neither true nor false".to_owned()),
            },
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(_) => Err("unknown word".to_owned()),
            Self::Text(_) => Ok(Value::Text(text.to_owned())),
            Self::List(_) | Self::Maps { .. } => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::List(items.map(str::to_owned).collect()))
            }
        }
    }

    /// What is allowed, for error messages and the reference page.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Size { min, max } => format!("{} to {} (16384, 16KiB, 1MiB)", Size(min), Size(max)),
            Self::Span { min, max } => format!("{min:?} to {} (250ms, 10s, 5m, 1h)", Span(max)),
            Self::Timeout { max } => format!("0 (no limit) to {} (250ms, 10s, 5m, 1h)", Span(max)),
            Self::Switch => "true, false".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::Text(form) => form.to_owned(),
            Self::List(form) => format!("a list of {form}"),
            Self::Maps { form, .. } => form.to_owned(),
        }
    }

    /// The kind's name in help and the reference page.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Count { .. } => "number",
            Self::Size { .. } => "bytes",
            Self::Span { .. } | Self::Timeout { .. } => "duration",
            Self::Switch => "switch",
            Self::Choice(_) => "word",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Maps { noun, .. } => noun,
        }
    }
}

fn within<T: PartialOrd + Copy>(value: T, min: T, max: T) -> Result<T, String> {
    if value < min {
        Err("too small".to_owned())
    } else if value > max {
        Err("too large".to_owned())
    } else {
        Ok(value)
    }
}

const SIZE_UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const SPAN_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let factor = if unit.is_empty() { 1 } else { factor(&SIZE_UNITS, unit)? };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_span(text: &str) -> Option<Duration> {
    let (digits, unit) = split_unit(text);
    let number = digits.parse::<u64>().ok()?;
    // Zero needs no unit, everything else does: a bare 30 has been read as 30 ms by one and 30 s by the other.
    let factor = if unit.is_empty() && number == 0 { 1 } else { factor(&SPAN_UNITS, unit)? };
    number.checked_mul(factor).map(Duration::from_millis)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Writes a number of bytes with the largest unit that divides it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_units(f, self.0, &SIZE_UNITS, "")
    }
}

/// Writes a duration of whole milliseconds with the largest unit that divides it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_in_units(f, millis, &SPAN_UNITS, "ms")
    }
}

fn write_in_units(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    units: &[(&str, u64)],
    smallest: &str,
) -> fmt::Result {
    let unit = units.iter().rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => write!(f, "{}{name}", number / factor),
        None => write!(f, "{number}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_unless_it_is_zero() {
        assert_eq!(parse_span("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_span("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_span("0"), Some(Duration::ZERO));
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1s ",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_in_bytes_or_binary_units() {
        assert_eq!(parse_size("16KiB"), Some(16_384));
        assert_eq!(parse_size("7"), Some(7));
        for text in ["", "KiB", "1KB", "1k", "-1", "0x10", "1.5MiB", "18446744073709551615KiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn bounds_belong_to_what_is_allowed() {
        let kind = Kind::Count { min: 1, max: 3 };
        assert_eq!(kind.parse("1"), Ok(Value::Number(1)));
        assert_eq!(kind.parse("3"), Ok(Value::Number(3)));
        assert_eq!(kind.parse("0"), Err("too small".to_owned()));
        assert_eq!(kind.parse("4"), Err("too large".to_owned()));
    }

    #[test]
    fn sizes_and_spans_are_written_as_people_write_them() {
        assert_eq!(Size(16_384).to_string(), "16KiB");
        assert_eq!(Size(100).to_string(), "100");
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
    }
}
