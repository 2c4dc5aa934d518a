//! The house rules as tests: dependency arrows, sizes, names, words. What cargo, clippy and rustfmt already say is not
//! said again, except where a lint can be allowed away. Each checker is itself shown to catch a bad snippet.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a checker that stumbles is a test that fails"
)]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use std::collections::BTreeSet;

use tree::File;

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}

fn over_all(rule: impl Fn(&File) -> Vec<String>) -> Vec<String> {
    tree::files().iter().flat_map(rule).collect()
}

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
}

// === The tree ===

#[test]
fn dependencies_follow_the_arrows() {
    let metadata = arrows::metadata();
    assert_none(&arrows::unlisted_members(&metadata));
    assert_none(&arrows::wrong_edges(&arrows::edges(&metadata)));
}

#[test]
fn pure_crates_reach_no_runtime() {
    assert_none(&arrows::runtimes_in_pure_crates());
}

#[test]
fn pure_crates_name_no_socket_clock_or_environment() {
    assert_none(&over_all(arrows::impure_code));
}

#[test]
fn every_version_stands_once_in_the_workspace_table() {
    assert_none(&over_all(arrows::versions_outside_the_table));
    assert_none(&arrows::unused_table_entries(&tree::files()));
}

#[test]
fn files_are_short() {
    assert_none(&over_all(rules::long_files));
}

#[test]
fn functions_are_short() {
    assert_none(&over_all(rules::long_functions));
}

#[test]
fn modules_are_named_for_what_they_hold() {
    assert_none(&over_all(rules::vague_names));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(&over_all(rules::unfinished));
    assert_none(&over_all(rules::leftovers));
}

#[test]
fn no_path_of_a_machine_is_in_the_tree() {
    assert_none(&over_all(rules::machine_paths));
}

#[test]
fn the_data_plane_does_not_unwrap() {
    assert_none(&over_all(rules::unwraps));
}

#[test]
fn binary_files_are_small() {
    assert_none(&over_all(rules::large_binaries));
}

#[test]
fn every_suite_is_listed() {
    assert_none(&rules::unlisted_suites(&tree::files()));
}

#[test]
fn every_link_leads_somewhere() {
    let files = tree::files();
    assert_none(&files.iter().flat_map(|file| rules::broken_links(&files, file)).collect::<Vec<_>>());
}

#[test]
fn every_test_that_holds_an_invariant_exists() {
    assert_none(&rules::missing_tests(&tree::files()));
}

#[test]
fn every_reason_is_explained() {
    assert_none(&rules::unexplained_reasons(&tree::files()));
}

#[test]
fn every_metric_that_operators_are_told_of_exists() {
    let files = tree::files();
    assert_none(&files.iter().flat_map(|file| rules::unknown_metrics(&files, file)).collect::<Vec<_>>());
}

// === The checkers ===

#[test]
fn an_arrow_upwards_is_caught() {
    let edge = |from: &str, to: &str| BTreeSet::from([(from.to_owned(), to.to_owned())]);
    assert_eq!(arrows::wrong_edges(&edge("spurline-route", "spurline-app")).len(), 1);
    assert_eq!(arrows::wrong_edges(&edge("spurline-http", "spurline-route")).len(), 1);
    assert_none(&arrows::wrong_edges(&edge("spurline-app", "spurline-route")));
}

#[test]
fn a_clock_in_a_pure_crate_is_caught() {
    let clock = "fn f() {\n    let t = Instant::now();\n}\n";
    assert_eq!(arrows::impure_code(&file("proxy/route/src/a.rs", clock)).len(), 1);
    assert_eq!(
        arrows::impure_code(&file("proxy/http/src/a.rs", "use std::net::{SocketAddr, TcpStream};")).len(),
        1
    );
    assert_none(&arrows::impure_code(&file("proxy/app/src/a.rs", clock)));
    assert_none(&arrows::impure_code(&file(
        "proxy/route/src/a.rs",
        "use std::net::SocketAddr; // no TcpStream\n",
    )));
    assert_none(&arrows::impure_code(&file(
        "proxy/route/src/a.rs",
        &format!("#[cfg(test)]\nmod t {{\n{clock}}}\n"),
    )));
}

#[test]
fn a_version_in_a_member_is_caught() {
    let text = "[package]\nversion = \"1\"\n[dev-dependencies]\na = { workspace = true }\nb = \"1.0\"\n";
    assert_eq!(arrows::versions_outside_the_table(&file("proxy/Cargo.toml", text)).len(), 1);
}

#[test]
fn an_unused_table_entry_is_caught() {
    let root = file(
        "Cargo.toml",
        "[workspace.dependencies]\n# Why.\na = \"1\"\nb = { version = \"1\" }\n\n[profile.dev]\nx = 1\n",
    );
    let member = file("proxy/Cargo.toml", "[dependencies]\na = { workspace = true }\n");
    assert_eq!(arrows::unused_table_entries(&[root, member]).len(), 1);
}

#[test]
fn a_long_file_is_caught_unless_its_length_is_tests_or_comments() {
    assert_eq!(rules::long_files(&file("proxy/src/a.rs", &"fn f() {}\n".repeat(401))).len(), 1);
    assert_none(&rules::long_files(&file("proxy/src/a.rs", &"// Why.\nfn f() {}\n".repeat(400))));
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(700));
    assert_none(&rules::long_files(&file("proxy/src/a.rs", &tests)));
}

#[test]
fn a_long_function_is_caught() {
    let function =
        |lines: usize| file("proxy/src/a.rs", &format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines)));
    assert_eq!(rules::long_functions(&function(71)).len(), 1);
    assert_none(&rules::long_functions(&function(70)));
}

#[test]
fn a_vague_name_is_caught() {
    for path in ["proxy/src/util.rs", "proxy/src/a/mod.rs", "proxy/src/helpers/a.rs"] {
        assert_eq!(rules::vague_names(&file(path, "")).len(), 1, "{path}");
    }
}

#[test]
fn what_is_unfinished_is_caught() {
    let word = concat!("TO", "DO");
    assert_eq!(rules::unfinished(&file("a.md", &format!("one {word}: more\n"))).len(), 1);
    assert_none(&rules::unfinished(&file("a.md", &format!("a{word}s\n"))));
    assert_eq!(rules::unfinished(&file("a.rs", concat!("// Good enough for", " now.\n"))).len(), 1);
    assert_none(&rules::unfinished(&file("a.rs", concat!("for", " now in [1, 2] {}\n"))));
    assert_eq!(rules::leftovers(&file("a.rs", "#[test]\n#[ignore]\nfn f() {\n    dbg!(1);\n}\n")).len(), 2);
    assert_none(&rules::leftovers(&file("a.rs", "#[ignore = \"takes an hour\"]\nfn f() {}\n")));
}

#[test]
fn a_machine_path_is_caught() {
    assert_eq!(rules::machine_paths(&file("a.md", concat!("see /ho", "me/me/notes\n"))).len(), 1);
}

#[test]
fn an_unwrap_that_ships_is_caught() {
    assert_eq!(rules::unwraps(&file("proxy/net/src/a.rs", "fn f() {\n    g().unwrap()\n}\n")).len(), 1);
    assert_none(&rules::unwraps(&file("proxy/net/tests/a.rs", "fn f() {\n    g().unwrap()\n}\n")));
    assert_none(&rules::unwraps(&file("proxy/net/src/a.rs", "/// Like `g().unwrap()`.\nfn f() {}\n")));
}

#[test]
fn a_large_binary_is_caught() {
    let binary = |bytes: usize| File { path: "a.bin".to_owned(), bytes: vec![0; bytes] };
    assert_eq!(rules::large_binaries(&binary(100_001)).len(), 1);
    assert_none(&rules::large_binaries(&binary(100_000)));
}

#[test]
fn an_unlisted_suite_is_caught() {
    let listed = [file("tests/README.md", "* `a`: one\n"), file("tests/tests/a.rs", "")];
    let unlisted = [file("tests/tests/b.rs", ""), file("tests/tests/b/part.rs", "")];
    let files: Vec<File> = listed.into_iter().chain(unlisted).collect();
    assert_eq!(rules::unlisted_suites(&files), ["tests/README.md: does not list `b`"]);
}

#[test]
fn a_broken_link_is_caught() {
    let page = file("docs/a.md", "[x](../README.md) [y](b.md#part) [z](https://example.com/) [w](c.md)\n");
    let files = [file("README.md", ""), file("docs/b.md", "")];
    assert_eq!(rules::broken_links(&files, &page), ["docs/a.md: `c.md` leads nowhere"]);
}

#[test]
fn a_test_that_is_named_but_missing_is_caught() {
    let page = file("ARCHITECTURE.md", "held by `a_is_b()` and `b_is_c()`, see `other`\n");
    assert_eq!(rules::missing_tests(&[page, file("a.rs", "fn a_is_b() {}\n")]).len(), 1);
}

#[test]
fn an_unexplained_reason_is_caught() {
    let labels = "    Reason {\n        /// Why.\n        A = \"first\",\n        /// Why.\n        B = \"second\",\n    }\n    Other {\n        C = \"third\",\n    }\n";
    let files = [
        file("proxy/telemetry/src/metrics/labels.rs", &format!("\n{labels}")),
        file("docs/guide/operations.md", "| `first` | why |\n"),
    ];
    assert_eq!(rules::unexplained_reasons(&files), ["docs/guide/operations.md: does not explain `second`"]);
}

#[test]
fn an_unknown_metric_is_caught() {
    let table = file("proxy/telemetry/src/metrics/defs.rs", "A = \"spurline_a\";\n");
    let page = file("docs/guide/a.md", "`spurline_a_total{x=\"y\"}` and spurline_b\n");
    assert_eq!(rules::unknown_metrics(&[table], &page), ["docs/guide/a.md: there is no metric `spurline_b`"]);
}
