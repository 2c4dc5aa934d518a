//! HAProxy: one thread, HTTP mode, upstream connections shared and kept, no logs, the key looked for in `baggage`.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::tls::certificate;
use crate::work::{Job, Protocol, ROUTING_KEY};

/// HAProxy stops keeping upstream connections once a fifth of its descriptors are in use, and derives those from
/// `maxconn`: a limit close to the load would make it connect anew for every request.
/// Where the limit of descriptors is lower than it wants for that, it warns and goes on.
const CONNECTIONS_MAX: u32 = 4000;

pub(super) fn command(job: &Job) -> Result<Command> {
    let path = job.dir.join("haproxy.cfg");
    fs::write(&path, config(job))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn config(job: &Job) -> String {
    let Job { listen, baseline, fork, connections, dir, .. } = job;
    let (bind, server) = match job.protocol {
        Protocol::Http1 => (String::new(), ""),
        Protocol::Http2 => (" proto h2".to_owned(), " proto h2"),
        Protocol::Tls => (format!(" ssl crt {}", dir.join(certificate::PEM).display()), ""),
    };
    let connections_max = CONNECTIONS_MAX.max(connections + 100);
    format!(
        "global
    nbthread 1
    no strict-limits
    maxconn {connections_max}
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 1s
    timeout client 5m
    timeout server 5m
    timeout http-request 10s
    timeout http-keep-alive 5m
frontend bench
    bind {listen}{bind}
    acl forked req.hdr(baggage) -m sub sd-routing-key={ROUTING_KEY}
    use_backend fork if forked
    default_backend baseline
backend baseline
    server app {baseline}{server}
backend fork
    server app {fork}{server}
"
    )
}
