//! The reference page in the manual is what the table says.

use std::{fs, path::Path};

#[test]
fn the_metrics_page_is_fresh() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let expected = spurline_telemetry::metrics::reference();
    if std::env::var_os("SPURLINE_UPDATE_REFERENCE").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&page).unwrap_or_default() == expected,
        "docs/reference/metrics.md is stale: SPURLINE_UPDATE_REFERENCE=1 cargo test -p spurline-telemetry"
    );
}
