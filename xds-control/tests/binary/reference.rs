//! The metrics of a service, and the page about them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A line for each metric: its name, its type, its labels and what it means.
fn reference(metrics: &str) -> String {
    let mut lines = Vec::new();
    for metric in metrics.split("# HELP ").skip(1) {
        let (name, rest) = metric.split_once(' ').unwrap();
        let (help, rest) = rest.split_once('\n').unwrap();
        let (declared, samples) = rest.split_once('\n').unwrap();
        let kind = declared.rsplit(' ').next().unwrap();
        let total = if kind == "counter" { "_total" } else { "" };
        let mut labels: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let of_samples = samples.lines().filter_map(|sample| sample.split_once('{')?.1.split_once('}'));
        for label in of_samples.flat_map(|(labels, _)| labels.split(',')) {
            let (label, value) = label.split_once('=').unwrap();
            labels.entry(label).or_default().insert(value.trim_matches('"'));
        }
        let labels = labels.into_iter().filter(|(label, _)| *label != "le");
        let labels: Vec<String> = labels
            .map(|(label, values)| {
                format!("`{label}`: {}", values.into_iter().collect::<Vec<_>>().join(", "))
            })
            .collect();
        let help = help.trim_end_matches('.');
        lines.push(format!("| `{name}{total}` | {kind} | {} | {help} |", labels.join("; ")));
    }
    lines.sort();
    lines.join("\n") + "\n"
}

#[test]
fn every_metric_is_there_from_the_start_and_in_the_reference() {
    let folder = Folder::new();
    let routes = folder.path().join("routes");
    fs::create_dir(&routes).unwrap();
    let service = Service::start(&[&format!("--directory={}", routes.display())]).ready();
    let metrics = service.admin("/metrics").1;
    let (_, metrics) = metrics.split_once("\r\n\r\n").unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/control-metrics.md");
    let expected = format!("{REFERENCE_HEAD}{}", reference(metrics));
    if std::env::var_os("SPURLINE_UPDATE_REFERENCE").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == expected,
        "stale: SPURLINE_UPDATE_REFERENCE=1 cargo test -p spurline-control\n{expected}"
    );
    let guide = include_str!("../../../docs/guide/control.md");
    for name in ["ads_streams", "ads_rejections", "store_failures", "directory_rejected", "panics"] {
        assert!(guide.contains(name) && expected.contains(name), "{name}");
    }
}

const REFERENCE_HEAD: &str = "# Metrics of spurline-control

Generated from what the service serves; do not edit. Regenerate it with
`SPURLINE_UPDATE_REFERENCE=1 cargo test -p spurline-control`.

Served at `/metrics` of `--admin-listen` in the OpenMetrics text format. Every series exists from the start with the value 0; those that begin with
`spurline_control_directory_` only with `--directory`. No routing key, document, token or proxy is ever a label. What to watch is said in
[the guide](../guide/control.md).

| metric | type | labels | what it counts |
|---|---|---|---|
";
