//! One scenario as text for a terminal.

use std::fmt::Write as _;

use anyhow::Result;

use crate::record::{Column, Performed};
use crate::stats::Summary;

/// Of the title of a metric above its column.
const TITLE_CHARS: usize = 18;

/// A heading, and a line for each peer: median, spread, Spurline's ratio to it, and the medians of all other metrics.
pub(crate) fn render(performed: &Performed) -> Result<String> {
    let mut text = format!("\n{}: {}\n", performed.id, performed.title);
    if let Some(error) = &performed.error {
        writeln!(text, "not measured: {error}")?;
        return Ok(text);
    }
    let Some((first, others)) = performed.metrics.split_first() else { return Ok(text) };
    writeln!(text, "{} ({}{})", first.title, first.unit, first.better.words())?;
    write!(text, "{:<15}{:>10}{:>11}  {:<21}{:>9}", "", "median", "MAD", "min..max", "ours ÷ it")?;
    for metric in others {
        let title: String = format!("{} {}", metric.unit, metric.title).chars().take(TITLE_CHARS).collect();
        write!(text, "  {title:>TITLE_CHARS$}")?;
    }
    text.push('\n');
    for column in &performed.peers {
        write!(text, "  {:<13}", column.peer)?;
        render_column(&mut text, performed, column)?;
        text.push('\n');
    }
    Ok(text)
}

fn render_column(text: &mut String, performed: &Performed, column: &Column) -> Result<()> {
    let Some(summary) = column.summary(0) else {
        write!(text, "not measured: {}", column.reason().unwrap_or_default())?;
        return Ok(());
    };
    let Summary { median, min, max, .. } = summary;
    let spread = format!("{}..{}", figure(min), figure(max));
    let ours = performed.ours().filter(|ours| *ours != column.peer);
    let ratio = ours.and_then(|ours| performed.ratio(ours, &column.peer, 0));
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    write!(text, "{:>10}{:>11}  {spread:<21}{ratio:>9}", figure(median), summary.spread(figure))?;
    for metric in 1..performed.metrics.len() {
        let median = column.summary(metric).map_or_else(|| "-".to_owned(), |summary| figure(summary.median));
        write!(text, "  {median:>TITLE_CHARS$}")?;
    }
    if !column.errors.is_empty() {
        write!(text, "  ({} rounds failed)", column.errors.len())?;
    }
    Ok(())
}

/// Three digits or a few more; thousands apart.
pub(crate) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let plain = format!("{value:.digits$}");
    let whole = plain.split('.').next().unwrap_or_default().trim_start_matches('-').len();
    if whole < 5 {
        return plain;
    }
    let mut text = String::new();
    for (place, digit) in plain.chars().rev().enumerate() {
        if place > 0 && place % 3 == 0 && digit != '-' {
            text.push(',');
        }
        text.push(digit);
    }
    text.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_apart_thousands() {
        let values = [0.0, 0.12345, 1.2345, 12.345, 123.45, 9_999.4, 1_234_567.0, -12_345.0];
        let texts = ["0", "0.123", "1.23", "12.3", "123", "9999", "1,234,567", "-12,345"];
        assert_eq!(values.map(figure), texts);
    }
}
