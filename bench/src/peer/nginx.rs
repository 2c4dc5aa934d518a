//! nginx in two roles: the proxy that is compared, and the backend every proxy is measured against.
//! One worker, no access log, and no limit that would close a connection within a measurement.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tls::certificate;
use crate::work::{Job, Protocol, ROUTING_KEY};

const KEEP_ALIVE: &str = "keepalive_timeout 1h; keepalive_time 24h; keepalive_requests 1000000000;";

const HTTP1_RELAY: &str = "proxy_pass http://$chosen; proxy_http_version 1.1; proxy_max_temp_file_size 0; \
                           proxy_set_header Connection \"\"; proxy_set_header Host $http_host;";

/// A larger body cannot stand in the configuration and comes from a file.
const TEXT_BYTES_MAX: usize = 3500;

/// Where a backend tells how many connections it accepted.
pub(crate) const STATUS_PATH: &str = "/bench-status";

/// The proxy: 128 kept upstream connections, the key looked for in `baggage`.
pub(super) fn proxy(job: &Job) -> Result<Command> {
    let Job { dir, listen, baseline, fork, connections, .. } = job;
    let upstream = |name: &str, server: &SocketAddr| {
        format!("upstream {name} {{ server {server}; keepalive 128; {KEEP_ALIVE} }}\n")
    };
    let (speech, relay) = match job.protocol {
        Protocol::Http1 => (String::new(), HTTP1_RELAY),
        // Its ordinary proxy module speaks HTTP/1 only to upstreams; the one for gRPC takes any request.
        Protocol::Http2 => (" http2".to_owned(), "grpc_pass grpc://$chosen;"),
        Protocol::Tls => (" ssl".to_owned(), HTTP1_RELAY),
    };
    let shown = match job.protocol {
        Protocol::Tls => tls(dir),
        _ => String::new(),
    };
    let http = [
        format!("map $http_baggage $chosen {{ default baseline; ~sd-routing-key={ROUTING_KEY} fork; }}\n"),
        upstream("baseline", baseline),
        upstream("fork", fork),
        format!("server {{ listen {listen}{speech} backlog=4096; {shown} client_max_body_size 0;\n"),
        format!("location / {{ {relay} }} }}\n"),
    ];
    command(dir, "nginx", &http.concat(), *connections)
}

fn tls(dir: &Path) -> String {
    let (chain, key) = (dir.join(certificate::CHAIN), dir.join(certificate::KEY));
    format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_session_cache shared:bench:10m;",
        chain.display(),
        key.display()
    )
}

/// A backend that answers every request with a fixed body, one per address.
pub(crate) fn backend(dir: &Path, servers: [(SocketAddr, &String); 2], connections: u32) -> Result<Command> {
    let mut http = String::new();
    for (listen, body) in servers {
        let answer = if body.len() <= TEXT_BYTES_MAX {
            format!("return 200 \"{body}\";")
        } else {
            let name = format!("body-{}", listen.port());
            fs::create_dir_all(dir)?;
            fs::write(dir.join(&name), body)?;
            format!("root {}; sendfile on; try_files /{name} =404;", dir.display())
        };
        http.push_str(&format!(
            "server {{ listen {listen} backlog=4096; location / {{ {answer} }} \
             location = {STATUS_PATH} {{ stub_status; }} }}\n"
        ));
    }
    command(dir, "backend", &http, connections)
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
