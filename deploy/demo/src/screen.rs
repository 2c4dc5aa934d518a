//! What the demo prints: progress lines and tables, in colour only on a terminal that wants it.

use std::io::{IsTerminal, Write};

/// Standard output. A reader that has gone away (a closed pipe) is not an error of the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    colour: Colour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Off,
    On,
}

/// How a piece of text is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Fork,
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

// === impl Screen ===

impl Screen {
    /// Colours need a terminal, and neither `NO_COLOR` (no-color.org: set and not empty) nor a dumb terminal.
    pub(crate) fn of_this_process() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = if std::io::stdout().is_terminal() && !refused { Colour::On } else { Colour::Off };
        Self { colour }
    }

    pub(crate) fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    pub(crate) fn heading(self, text: &str) {
        self.line(&format!("\n{}", self.paint(text, Style::Bold)));
    }

    /// A line of the story: what has just happened.
    pub(crate) fn step(self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// A check that held or did not.
    pub(crate) fn verdict(self, held: bool, text: &str) {
        let mark = self.mark(held);
        self.line(&format!("  {mark} {text}"));
    }

    pub(crate) fn mark(self, held: bool) -> String {
        if held { self.paint("✓", Style::Good) } else { self.paint("✗", Style::Bad) }
    }

    pub(crate) fn paint(self, text: &str, style: Style) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Fork => "33",
        };
        match self.colour {
            Colour::Off => text.to_owned(),
            Colour::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// Prints `rows` under `header`, each column as wide as its widest cell.
    pub(crate) fn table(self, header: &[&str], rows: &[Vec<Cell>]) {
        let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let titles: Vec<Cell> = header.iter().map(|title| Cell::new(*title, Style::Dim)).collect();
        self.row(&titles, &widths);
        for row in rows {
            self.row(row, &widths);
        }
    }

    fn row(self, cells: &[Cell], widths: &[usize]) {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let padding = width.saturating_sub(cell.text.chars().count());
            text.push_str(&self.paint(&cell.text, cell.style));
            text.extend(std::iter::repeat_n(' ', padding + 2));
        }
        self.line(&format!("  {}", text.trim_end()));
    }
}

// === impl Cell ===

impl Cell {
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Style::Plain)
    }

    pub(crate) fn mark(held: bool) -> Self {
        if held { Self::new("✓", Style::Good) } else { Self::new("✗", Style::Bad) }
    }
}
