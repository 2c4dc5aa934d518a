//! nginx in two roles: the proxy that is compared, and the backend every proxy is measured against.
//! One worker, no access log, and no limit that would close a connection within a measurement.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::work::{Job, ROUTING_KEY};

const KEEP_ALIVE: &str = "keepalive_timeout 1h; keepalive_time 24h; keepalive_requests 1000000000;";

/// Where a backend tells how many connections it accepted.
pub(crate) const STATUS_PATH: &str = "/bench-status";

/// The proxy: 128 kept upstream connections, the key looked for in `baggage`.
pub(super) fn proxy(job: &Job) -> Result<Command> {
    let Job { dir, listen, baseline, fork, connections, admin: _ } = job;
    let upstream = |name: &str, server: &SocketAddr| {
        format!("upstream {name} {{ server {server}; keepalive 128; {KEEP_ALIVE} }}\n")
    };
    let http = [
        format!("map $http_baggage $chosen {{ default baseline; ~sd-routing-key={ROUTING_KEY} fork; }}\n"),
        upstream("baseline", baseline),
        upstream("fork", fork),
        format!("server {{ listen {listen} backlog=4096; location / {{ proxy_pass http://$chosen;"),
        " proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; } }\n"
            .to_owned(),
    ];
    command(dir, "nginx", &http.concat(), *connections)
}

/// A backend that answers every request with a fixed body, one per address.
pub(crate) fn backend(dir: &Path, servers: [(SocketAddr, &String); 2], connections: u32) -> Result<Command> {
    let http = servers.map(|(listen, body)| {
        format!(
            "server {{ listen {listen} backlog=4096; location / {{ return 200 \"{body}\"; }} \
             location = {STATUS_PATH} {{ stub_status; }} }}\n"
        )
    });
    command(dir, "backend", &http.concat(), connections)
}

fn command(dir: &Path, name: &str, http: &str, connections: u32) -> Result<Command> {
    let prefix = dir.join(name);
    fs::create_dir_all(&prefix)?;
    let path = prefix.join("nginx.conf");
    // Downstream and upstream of each connection, and the listeners.
    let worker_connections = 2 * connections + 256;
    let config = format!(
        "daemon off; worker_processes 1; pcre_jit on; pid nginx.pid; error_log stderr;
events {{ worker_connections {worker_connections}; }}
http {{
access_log off; {KEEP_ALIVE}
client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
{http}}}
"
    );
    fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&prefix).arg("-c").arg(path);
    Ok(command)
}
