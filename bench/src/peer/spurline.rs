//! Spurline: one worker, every limit and time-out but those of idle connections at its default, the protocol detected,
//! metrics and admin on.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::host::spurline_proxy;
use crate::tls::certificate;
use crate::work::{Job, Protocol, keys};

const WORKLOAD: &str = "bench/Deployment/cart";

pub(super) fn command(job: &Job, overrides: u32) -> Result<Command> {
    let Job { dir, listen, admin, baseline, fork, connections, .. } = job;
    let routes = dir.join("routes.yaml");
    fs::write(&routes, routes_file(&fork.to_string(), overrides))?;
    let mut listener =
        format!("name=bench,listen={listen},workload={WORKLOAD},port=8080,baseline={baseline}");
    let mut command = Command::new(spurline_proxy()?);
    if job.protocol == Protocol::Tcp {
        listener.push_str(",protocol=tcp");
    }
    if job.protocol == Protocol::Tls {
        let (chain, key) = (dir.join(certificate::CHAIN), dir.join(certificate::KEY));
        listener.push_str(",tls=terminate");
        let shown = format!("names=*,cert={},key={}", chain.display(), key.display());
        command.args(["--tls-certificate", &shown]);
    }
    if job.protocol == Protocol::TlsToUpstream {
        listener.push_str(",upstream_tls=on");
        command.arg("--upstream-tls-ca-file").arg(dir.join(certificate::CHAIN));
        command.args(["--upstream-tls-name", certificate::NAME]);
    }
    command.args(["--workers", "1", "--listener", &listener, "--admin-listen", &admin.to_string()]);
    // As the peers are told: by default it is half of the descriptors, and idle connections make room for new ones.
    command.args(["--connections-max", &(connections + 256).to_string()]);
    command.args(["--idle-timeout", "5m", "--routes"]).arg(routes);
    Ok(command)
}

/// `overrides` sandboxes that each fork the workload; the last has the key the load sends.
fn routes_file(fork: &str, overrides: u32) -> String {
    let keys: Vec<String> = keys(overrides).collect();
    let mut text = String::from("sandboxes:\n");
    for key in &keys {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - {{ name: sandbox-{key}, key: {key} }}");
    }
    text.push_str("overrides:\n");
    for key in &keys {
        let _ = writeln!(
            text,
            "  - {{ workload: {WORKLOAD}, sandbox: sandbox-{key}, ports: {{ 8080: [\"{fork}\"] }} }}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::ROUTING_KEY;

    #[test]
    fn the_measured_key_is_the_last_of_the_table() {
        let text = routes_file("127.0.0.1:9", 3);
        assert_eq!(text.matches("workload:").count(), 3);
        assert!(text.lines().last().unwrap().contains(ROUTING_KEY));
    }
}
