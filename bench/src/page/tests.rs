use super::*;
use crate::host::{Machine, Versions};
use crate::record::{Column, Figure};
use crate::scenario::Better;

fn figure(name: &str, unit: &str, better: Better) -> Figure {
    Figure { name: name.to_owned(), title: format!("the {unit}"), unit: unit.to_owned(), better }
}

fn column(peer: &str, values: &[[f64; 2]]) -> Column {
    let samples = values.iter().enumerate().map(|(round, pair)| (round as u32 + 1, pair.to_vec()));
    Column { peer: peer.to_owned(), samples: samples.collect(), ..Column::default() }
}

fn record() -> Record {
    let mut gone = column("envoy", &[]);
    gone.errors.insert(1, "no Envoy: run\n  bench/setup.sh | or not".to_owned());
    let text = |text: &str| text.to_owned();
    Record {
        schema: 1,
        begin: text("2026-01-02T03:04:05Z"),
        end: text("2026-01-02T03:05:00Z"),
        command: text("spurline-bench run http1-13B"),
        pace: text("full"),
        build: text("release"),
        commit: text("0123456789ab"),
        is_dirty: false,
        machine: Machine {
            cpu: text("A processor"),
            cores: 2,
            memory_mebibytes: 4096,
            kernel: text("6.1"),
            governor: text("performance"),
            is_virtual: true,
            proxy_core: 0,
            load_core: 1,
            load_before: 0.1,
        },
        versions: Versions {
            spurline: text("spurline-proxy 0.1.0"),
            control: text("spurline-control 0.1.0"),
            haproxy: text("HAProxy 3"),
            nginx: text("nginx 1"),
            envoy: text("not found"),
            hyper: text("hyper 1"),
            pingora: text("pingora 0"),
            wrk: text("wrk 4"),
            h2load: text("h2load 1"),
        },
        scenarios: vec![Performed {
            id: text("http1-13B"),
            group: text("HTTP/1.1"),
            title: text("Keep-alive"),
            about: text("What is done."),
            rounds: 3,
            error: None,
            metrics: vec![
                figure("cpu_micros_per_request", "µs", Better::Lower),
                figure("busy_percent", "%", Better::Neither),
            ],
            peers: vec![
                column("floor", &[[5.0, 50.0], [5.0, 50.0], [5.0, 50.0]]),
                column("spurline", &[[6.0, 60.0], [60.0, 61.0], [6.2, 62.0]]),
                column("haproxy", &[[10.0, 70.0], [100.0, 70.0], [10.4, 70.0]]),
                column("nginx", &[[3.0, 70.0], [3.1, 70.0], [3.0, 70.0]]),
                gone,
            ],
        }],
    }
}

#[test]
fn a_small_record_makes_the_expected_page() {
    let page = render(&record(), "").unwrap();
    for line in [
        "[2026-01-02T030405-0123456789ab.json](2026-01-02T030405-0123456789ab.json)",
        "A processor, 2 cores (virtual), 4.0 GiB of memory",
        "1 of 3 aims are met, 3 have no figure: not measured, or no measurable difference.",
        "| HTTP/1.1, bodies of 13 bytes, CPU per request | 6.20 µs | **1.24 ✗** (≤ 1.15) | 0.60 ✓ (≤ 0.80) | **2.07 ✗** (≤ 0.75) \
         | ? (≤ 0.75) | ? (≤ 0.75) | ? (≤ 0.25) |",
        "| | floor | haproxy | nginx |",
        "| `http1-13B`: the µs | 1.24 | 0.60 | **2.07** |",
        "* beside **haproxy** in 1: http1-13B: cpu_micros_per_request 0.60×",
        "* beside **nginx** in 1: http1-13B: cpu_micros_per_request 2.07×",
        "![HTTP/1.1](http-1-1.svg)",
        "3 rounds; again: `target/release/spurline-bench run http1-13B`",
        "| the µs (µs, lower is better) | median | MAD | min..max | spurline ÷ it |",
        "| **spurline** | 6.20 | 0.200 | 6.00..60.0 |  |",
        "| haproxy | 10.4 | 0.400 | 10.0..100 | 0.60 |",
        "| envoy | not measured | | | |",
        "| spurline | 61.0 ± 1.00 |",
        "envoy: not measured: no Envoy: run bench/setup.sh \\| or not",
        "| HAProxy | HAProxy 3 |",
    ] {
        assert!(page.contains(line), "{line}\nis missing in\n{page}");
    }
    assert!(!page.contains("Read with care"));
}

#[test]
fn a_cost_below_zero_meets_no_aim() {
    let mut record = record();
    let performed = record.scenarios.first_mut().unwrap();
    performed.id = "latency-low".to_owned();
    performed.metrics[0].name = "added_p50_micros".to_owned();
    performed.peers = vec![
        column("spurline", &[[-9.0, 0.0], [-8.0, 0.0], [-7.0, 0.0]]),
        column("haproxy", &[[10.0, 0.0], [11.0, 0.0], [12.0, 0.0]]),
    ];
    let page = render(&record, "").unwrap();
    assert!(page.contains("\n0 of 0 aims are met"), "{page}");
    assert!(!page.contains('✓'));
    assert!(
        page.contains("no ratio\n\nIn 1 of 1")
            && page.contains("beside **haproxy** in 1: latency-low: added_p50_micros\n")
    );
}

#[test]
fn a_page_says_what_makes_its_figures_weak() {
    let mut record = record();
    record.pace = "quick".to_owned();
    record.is_dirty = true;
    let page = render(&record, "").unwrap();
    assert!(page.contains("**Read with care:** it was a quick run"));
    assert!(page.contains("not in the commit"));
}

#[test]
fn one_round_that_puts_spurline_ahead_of_the_floor_compares_with_nobody() {
    let mut record = record();
    let performed = record.scenarios.first_mut().unwrap();
    let peers = |floor: f64| {
        vec![
            column("floor", &[[floor, 0.0]]),
            column("spurline", &[[5.0, 0.0]]),
            column("haproxy", &[[10.0, 0.0]]),
        ]
    };
    performed.peers = peers(4.0);
    assert!(
        render(&record, "")
            .unwrap()
            .contains("* beside **haproxy** in 1: http1-13B: cpu_micros_per_request 0.50×")
    );
    record.scenarios.first_mut().unwrap().peers = peers(9.0);
    let page = render(&record, "").unwrap();
    assert!(page.contains("beside **haproxy** in 1: http1-13B: cpu_micros_per_request\n"), "{page}");
}

#[test]
fn two_samples_are_no_median_and_win_by_ten_percent_only() {
    let mut record = record();
    let performed = record.scenarios.first_mut().unwrap();
    performed.peers = vec![
        column("spurline", &[[95.0, 0.0], [95.0, 0.0]]),
        column("haproxy", &[[100.0, 0.0]]),
        column("nginx", &[[110.0, 7.0], [110.0, 7.0]]),
    ];
    let page = render(&record, "").unwrap();
    for line in ["| haproxy | 100 | 1 sample |", "| nginx | 7.00 (2 samples) |"] {
        assert!(page.contains(line), "{line}\nis missing in\n{page}");
    }
    assert!(page.contains("no difference\n\nIn 1 of 2") && page.contains("wins\n\nIn 1 of 2"), "{page}");
}

#[test]
fn what_was_written_about_missed_aims_stands_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(MISSED), "### Why\n\nBecause.\n").unwrap();
    let page = fs::read_to_string(write(&record(), dir.path()).unwrap()).unwrap();
    let places =
        ["## The aims", "### Why\n\nBecause.", "## Where Spurline wins"].map(|text| page.find(text).unwrap());
    assert!(places.is_sorted());
}

#[test]
fn a_record_that_was_saved_makes_the_same_page_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = record().save(dir.path()).unwrap();
    let page = fs::read_to_string(write(&record(), dir.path()).unwrap()).unwrap();
    again(&path).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(PAGE)).unwrap(), page);
    assert!(fs::read_to_string(dir.path().join("http-1-1.svg")).unwrap().starts_with("<svg "));
}

#[test]
fn a_document_that_is_no_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, "{}").unwrap();
    assert!(Record::read(&path).unwrap_err().to_string().contains("is no record"));
}
