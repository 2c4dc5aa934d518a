//! A scrape in the Prometheus text format.

/// The series of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    series: Vec<(String, f64)>,
    text: String,
}

impl Metrics {
    /// Reads an exposition; panics on a line that is none.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a series: {line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a value: {line:?}")))
        });
        Self { series: series.collect(), text: text.to_owned() }
    }

    /// The sum of the series of `family` whose labels contain all of `labels`; 0 when there is none.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let matching = self.series.iter().filter(|(series, _)| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            name == family && wanted.iter().all(|label| rest.contains(label.as_str()))
        });
        matching.map(|(_, value)| value).sum()
    }

    /// How many series there are.
    pub fn count(&self) -> usize {
        self.series.len()
    }

    /// The exposition as it came.
    pub fn text(&self) -> &str {
        &self.text
    }
}
