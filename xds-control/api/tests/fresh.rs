//! The generated code is what the `.proto` files give. `SPURLINE_UPDATE_REFERENCE=1` writes it anew.

#![allow(clippy::expect_used, reason = "a checker that stumbles is a test that fails")]

use std::{collections::BTreeMap, env, fs, path::Path};

const PROTOS: [&str; 3] = [
    "envoy/service/discovery/v3/discovery.proto",
    "routes/routes.proto",
    "spurline/routing/v1/routing.proto",
];
const SERVICES_ONLY: &str = "#[cfg(feature = \"grpc\")]";

fn generate(root: &Path) -> BTreeMap<String, String> {
    let files = protox::compile(PROTOS, [root.join("proto")]).expect("the files compile");
    let out = tempfile::tempdir().expect("a directory for the output");
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_well_known_types(true)
        .client_mod_attribute(".", SERVICES_ONLY)
        .server_mod_attribute(".", SERVICES_ONLY)
        .out_dir(out.path())
        .compile_fds(files)
        .expect("code is generated");
    read(out.path())
}

fn read(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is readable");
    entries
        .map(|entry| {
            let entry = entry.expect("the entry is readable");
            let name = entry.file_name().into_string().expect("file names are text");
            (name, fs::read_to_string(entry.path()).expect("the file is text"))
        })
        .collect()
}

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("src/generated");
    let wanted = generate(root);
    if env::var_os("SPURLINE_UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(&folder).expect("the folder can be made");
        for stale in read(&folder).keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(folder.join(stale)).expect("a stale file can be removed");
        }
        for (name, code) in &wanted {
            fs::write(folder.join(name), code).expect("the file can be written");
        }
    }
    let found = read(&folder);
    let hint = "SPURLINE_UPDATE_REFERENCE=1 cargo test -p spurline-api writes it";
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{hint}");
    for (name, code) in &wanted {
        assert!(found.get(name) == Some(code), "{name} is not what its .proto gives; {hint}");
    }
}
