//! HAProxy: one thread, HTTP mode, upstream connections shared and kept, no logs; `splice-auto` where bytes are the work. The key is taken out of `baggage` with `regsub`
//! and looked up in a map file that names the backend (configuration manual, "Converters"; maps are its documented way to large tables).

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::tls::certificate;
use crate::work::{Job, Protocol, Tuning, keys};

/// HAProxy stops keeping upstream connections once a fifth of its descriptors are in use, and derives those from
/// `maxconn`: a limit close to the load would make it connect anew for every request.
/// Where the limit of descriptors is lower than it wants for that, it warns and goes on.
const CONNECTIONS_MAX: u32 = 4000;

/// The value of the member of `baggage` that carries the key. Requests without one are spared it.
const KEY: &str = r#"regsub("^(?:.*,)?\s*sd-routing-key=([^,;]*).*$","\1")"#;

pub(super) fn command(job: &Job, count: u32) -> Result<Command> {
    let (path, map) = (job.dir.join("haproxy.cfg"), job.dir.join("haproxy.map"));
    fs::write(&map, keys(count).map(|key| key + " fork\n").collect::<String>())?;
    let choice = format!("'%[req.fhdr(baggage),{KEY},map_str({},baseline)]'", map.display());
    fs::write(&path, config(job, &choice))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn config(job: &Job, choice: &str) -> String {
    let Job { listen, baseline, fork, connections, dir, .. } = job;
    let trust = dir.join(certificate::CHAIN);
    let name = certificate::NAME;
    let (bind, server) = match job.protocol {
        Protocol::Http1 | Protocol::WebSocket | Protocol::Tcp => (String::new(), String::new()),
        Protocol::Http2 => (" proto h2".to_owned(), " proto h2".to_owned()),
        Protocol::Tls => (format!(" ssl crt {}", dir.join(certificate::PEM).display()), String::new()),
        Protocol::TlsToUpstream => (
            String::new(),
            format!(" ssl verify required ca-file {} sni str({name}) verifyhost {name}", trust.display()),
        ),
    };
    let (mode, rule) = match job.protocol {
        Protocol::Tcp => ("tcp", String::new()),
        _ => (
            "http\n    option http-keep-alive\n    http-reuse always",
            format!("use_backend {choice} if {{ req.fhdr(baggage) -m sub sd-routing-key= }}"),
        ),
    };
    let splice = if job.tuning == Tuning::Bytes { "\n    option splice-auto" } else { "" };
    let connections_max = CONNECTIONS_MAX.max(connections + 100);
    format!(
        "global
    nbthread 1
    no strict-limits
    maxconn {connections_max}
defaults
    mode {mode}{splice}
    timeout connect 1s
    timeout client 5m
    timeout server 5m
    timeout http-request 10s
    timeout http-keep-alive 5m
    timeout tunnel 1h
frontend bench
    bind {listen}{bind}
    {rule}
    default_backend baseline
backend baseline
    server app {baseline}{server}
backend fork
    server app {fork}{server}
"
    )
}
