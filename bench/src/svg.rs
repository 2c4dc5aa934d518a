//! Bars as SVG, for light and for dark pages: one panel per scenario, one bar per peer, a line from the least to the most
//! sample across its end.

use std::fmt::Write as _;

use crate::stats::Summary;
use crate::table::figure;

const WIDTH: u32 = 760;
const MARGIN: u32 = 16;
const NAME_WIDTH: u32 = 110;
/// Right of the longest bar: its figure.
const FIGURE_WIDTH: u32 = 90;
const BAR_STEP: u32 = 24;
const BAR_HEIGHT: u32 = 14;
const HEAD_HEIGHT: u32 = 44;
const PANEL_GAP: u32 = 18;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.paper { fill: #ffffff; }
.head { font-size: 14px; font-weight: 600; }
.soft { fill: #59636e; }
.ours { fill: #0969da; }
.other { fill: #b1bac4; }
.spread { stroke: #1f2328; stroke-width: 1.5; }
.axis { stroke: #d1d9e0; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .paper { fill: #0d1117; }
  .soft { fill: #9198a1; }
  .ours { fill: #4493f8; }
  .other { fill: #545d68; }
  .spread { stroke: #e6edf3; }
  .axis { stroke: #3d444d; }
}
";

/// The bars of one scenario.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    /// What the bars are, with the unit.
    pub(crate) measure: String,
    pub(crate) bars: Vec<Bar<'a>>,
}

pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_ours: bool,
    /// `None`: not measured.
    pub(crate) summary: Option<Summary>,
}

/// The panels below each other, as one document.
pub(crate) fn render(title: &str, panels: &[Panel<'_>]) -> String {
    let height = MARGIN + panels.iter().map(Panel::height).sum::<u32>();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escape(title)
    );
    let mut top = MARGIN;
    for panel in panels {
        // Writing to a String cannot fail.
        let _ = panel.render(&mut text, top);
        top += panel.height();
    }
    text + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

// === impl Panel ===

impl Panel<'_> {
    fn height(&self) -> u32 {
        HEAD_HEIGHT + BAR_STEP * self.bars.len() as u32 + PANEL_GAP
    }

    fn render(&self, text: &mut String, top: u32) -> std::fmt::Result {
        let (title, measure) = (escape(self.title), escape(&self.measure));
        writeln!(text, "<text class=\"head\" x=\"{MARGIN}\" y=\"{}\">{title}</text>", top + 12)?;
        writeln!(text, "<text class=\"soft\" x=\"{MARGIN}\" y=\"{}\">{measure}</text>", top + 30)?;
        let left = MARGIN + NAME_WIDTH;
        let (first, last) = (top + HEAD_HEIGHT, top + HEAD_HEIGHT + BAR_STEP * self.bars.len() as u32);
        writeln!(text, "<line class=\"axis\" x1=\"{left}\" y1=\"{first}\" x2=\"{left}\" y2=\"{last}\"/>")?;
        let most = self.bars.iter().filter_map(|bar| Some(bar.summary?.max)).fold(0.0, f64::max);
        for (bar, top) in self.bars.iter().zip((first..).step_by(BAR_STEP as usize)) {
            bar.render(text, top, most)?;
        }
        Ok(())
    }
}

// === impl Bar ===

impl Bar<'_> {
    /// With `most` as the figure of the longest bar.
    fn render(&self, text: &mut String, top: u32, most: f64) -> std::fmt::Result {
        let (left, base) = (MARGIN + NAME_WIDTH, top + 16);
        let name = escape(self.name);
        writeln!(text, "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>", left - 8)?;
        let Some(Summary { median, min, max, .. }) = self.summary else {
            return writeln!(
                text,
                "<text class=\"soft\" x=\"{}\" y=\"{base}\">not measured</text>",
                left + 8
            );
        };
        let width = f64::from(WIDTH - MARGIN - left - FIGURE_WIDTH);
        let length = |value: f64| if most > 0.0 { width * value.max(0.0) / most } else { 0.0 };
        let class = if self.is_ours { "ours" } else { "other" };
        writeln!(
            text,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>",
            top + 5,
            length(median).max(1.0)
        )?;
        let left = f64::from(left);
        let (from, to) = (left + length(min), left + length(max));
        writeln!(
            text,
            "<line class=\"spread\" x1=\"{from:.1}\" y1=\"{0}\" x2=\"{to:.1}\" y2=\"{0}\"/>",
            top + 12
        )?;
        let figure_left = left + length(median).max(length(max)) + 8.0;
        writeln!(text, "<text x=\"{figure_left:.1}\" y=\"{base}\">{}</text>", figure(median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element that is opened is closed, in order; what is between is escaped.
    fn is_well_formed(text: &str) -> bool {
        let mut open = Vec::new();
        for part in text.split('<').skip(1) {
            let Some((tag, between)) = part.split_once('>') else { return false };
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
            match tag {
                _ if tag.starts_with('/') => {
                    if open.pop() != Some(name) {
                        return false;
                    }
                }
                _ if tag.ends_with('/') => {}
                _ => open.push(name),
            }
            let is_escaped =
                |rest: &str| ["amp;", "lt;", "gt;", "quot;"].iter().any(|it| rest.starts_with(it));
            if tag.matches('"').count() % 2 != 0 || !between.split('&').skip(1).all(is_escaped) {
                return false;
            }
        }
        open.is_empty()
    }

    #[test]
    fn a_plot_is_well_formed_whatever_the_names_are() {
        let summary = Summary { median: 10.0, mad: 1.0, min: 8.0, max: 20.0, count: 5 };
        let bar = |name, summary| Bar { name, is_ours: name == "spurline", summary };
        let panel = Panel {
            title: "a < b & \"c\"",
            measure: "CPU time (µs)".to_owned(),
            bars: vec![bar("spurline", Some(summary)), bar("<other>", Some(summary)), bar("gone", None)],
        };
        let text = render("T & T", &[panel]);
        assert!(is_well_formed(&text), "{text}");
        assert!(!is_well_formed("<svg><text>a & b</text></svg>") && !is_well_formed("<svg><text></svg>"));
        assert_eq!(text.matches("class=\"ours\"").count(), 1);
        assert!(text.contains("not measured") && text.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_longest_bar_leaves_room_for_its_figure() {
        let summary = Summary { median: 5.0, mad: 0.0, min: 5.0, max: 5.0, count: 5 };
        let panel = |bars| Panel { title: "t", measure: String::new(), bars };
        let text = render("t", &[panel(vec![Bar { name: "a", is_ours: false, summary: Some(summary) }])]);
        let width = WIDTH - 2 * MARGIN - NAME_WIDTH - FIGURE_WIDTH;
        assert!(text.contains(&format!("width=\"{width}.0\"")), "{text}");
    }
}
