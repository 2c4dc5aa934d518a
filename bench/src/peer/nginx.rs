//! nginx in two roles: the proxy that is compared, and the backend every proxy is measured against.
//! One worker, no access log, and no limit that would close a connection within a measurement.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::tls::certificate;
use crate::work::{Job, Protocol, Speech, keys};

const KEEP_ALIVE: &str = "keepalive_timeout 1h; keepalive_time 24h; keepalive_requests 1000000000;";

const HTTP1_RELAY: &str = "proxy_pass http://$chosen; proxy_http_version 1.1; proxy_max_temp_file_size 0; \
                           proxy_set_header Connection \"\"; proxy_set_header Host $http_host;";

const TLS_RELAY: &str = "proxy_pass https://$chosen; proxy_http_version 1.1; proxy_max_temp_file_size 0; \
                         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;";

/// Its default, and more with more keys.
const HASH_SLOTS_MIN: u32 = 2048;

/// Where Debian's `libnginx-mod-stream` puts it.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A larger body cannot stand in the configuration and comes from a file.
const TEXT_BYTES_MAX: usize = 3500;

/// Where a backend tells how many connections and requests it has seen.
pub(crate) const STATUS_PATH: &str = "/bench-status";

/// What its guide to WebSocket proxying asks for besides [`HTTP1_RELAY`]; it takes the place of that.
const UPGRADE_RELAY: &str = "proxy_pass http://$chosen; proxy_http_version 1.1; proxy_max_temp_file_size 0; \
                             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; \
                             proxy_set_header Host $http_host; proxy_read_timeout 1h;";

/// The proxy: 128 kept upstream connections. The key is taken out of `baggage` by the expression of one `map` and looked up in the hash of another
/// (modules ngx_http_map, ngx_http_upstream "keepalive"; its `map_hash_*` are what it asks for when they are too small).
pub(super) fn proxy(job: &Job, count: u32) -> Result<Command> {
    let Job { dir, listen, baseline, fork, connections, .. } = job;
    if job.protocol == Protocol::Tcp {
        return tcp_proxy(job);
    }
    let upstream = |name: &str, server: &SocketAddr| {
        format!("upstream {name} {{ server {server}; keepalive 128; {KEEP_ALIVE} }}\n")
    };
    let trust = match job.protocol {
        Protocol::TlsToUpstream => format!(
            "proxy_ssl_protocols TLSv1.3; proxy_ssl_trusted_certificate {}; proxy_ssl_verify on; proxy_ssl_name {NAME}; proxy_ssl_server_name on;",
            dir.join(certificate::CHAIN).display(),
            NAME = certificate::NAME,
        ),
        _ => String::new(),
    };
    let (speech, relay) = match job.protocol {
        // Its ordinary proxy module speaks HTTP/1 only to upstreams; the one for gRPC takes any request.
        Protocol::Http2 => (" http2", "grpc_pass grpc://$chosen;"),
        Protocol::Tls => (" ssl", HTTP1_RELAY),
        Protocol::TlsToUpstream => ("", TLS_RELAY),
        Protocol::WebSocket => ("", UPGRADE_RELAY),
        Protocol::Http1 | Protocol::Tcp => ("", HTTP1_RELAY),
    };
    let shown = if job.protocol == Protocol::Tls { tls(dir) } else { String::new() };
    let mut http = format!(
        "map_hash_max_size {}; map_hash_bucket_size 128;
map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
map $http_baggage $key {{ default ''; '~(?:^|,)\\s*sd-routing-key\\s*=\\s*(?<value>[^,;\\s]*)' $value; }}
map $key $chosen {{ default baseline;\n",
        HASH_SLOTS_MIN.max(2 * count)
    );
    for key in keys(count) {
        http.push_str(&format!("{key} fork;\n"));
    }
    http.push_str("}\n");
    http.push_str(&upstream("baseline", baseline));
    http.push_str(&upstream("fork", fork));
    http.push_str(&format!(
        "server {{ listen {listen}{speech} backlog=4096; {shown} client_max_body_size 0;\nlocation / {{ {relay} {trust} }} }}\n"
    ));
    command(dir, "nginx", &http, *connections)
}

/// Bytes as they come, by its stream module.
fn tcp_proxy(job: &Job) -> Result<Command> {
    ensure!(Path::new(STREAM_MODULE).is_file(), "nginx's stream module is missing: run bench/setup.sh");
    let stream = format!(
        "server {{ listen {} backlog=4096; proxy_pass {}; proxy_timeout 1h; tcp_nodelay on; }}\n",
        job.listen, job.baseline
    );
    let modules = format!("load_module {STREAM_MODULE};\n");
    write(&job.dir, "nginx", &format!("{modules}{}stream {{\n{stream}}}\n", head(job.connections)))
}

/// Before 1.23.4 nginx speaks no TLS 1.3 unless it is told to, and resuming a session of 1.2 takes no key exchange.
fn tls(dir: &Path) -> String {
    let (chain, key) = (dir.join(certificate::CHAIN), dir.join(certificate::KEY));
    format!(
        "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {}; ssl_session_cache shared:bench:10m;",
        chain.display(),
        key.display()
    )
}

/// A backend to be started.
pub(crate) struct Server<'a> {
    pub(crate) name: &'a str,
    pub(crate) speech: Speech,
    pub(crate) listen: SocketAddr,
    /// In the clear, and with [`STATUS_PATH`].
    pub(crate) status: SocketAddr,
    /// Of every answer.
    pub(crate) body: &'a str,
}

/// A backend that answers every request with a fixed body.
pub(crate) fn backend(dir: &Path, server: &Server<'_>, connections: u32) -> Result<Command> {
    let Server { name, speech, listen, status, body } = server;
    let answer = if body.len() <= TEXT_BYTES_MAX {
        format!("return 200 \"{body}\";")
    } else {
        let file = format!("body-{name}");
        fs::create_dir_all(dir)?;
        fs::write(dir.join(&file), body)?;
        format!("root {}; sendfile on; try_files /{file} =404;", dir.display())
    };
    let (ssl, shown) = match speech {
        Speech::Clear => ("", String::new()),
        Speech::Tls => (" ssl", tls(dir)),
    };
    let http = format!(
        "server {{ listen {listen}{ssl} backlog=4096; {shown} location / {{ {answer} }} }}
server {{ listen {status}; location / {{ {answer} }} location = {STATUS_PATH} {{ stub_status; }} }}\n"
    );
    command(dir, &format!("backend-{name}"), &http, connections)
}

fn command(dir: &Path, name: &str, http: &str, connections: u32) -> Result<Command> {
    let config = format!(
        "{}http {{
access_log off; {KEEP_ALIVE}
client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
{http}}}
",
        head(connections)
    );
    write(dir, name, &config)
}

fn head(connections: u32) -> String {
    // Downstream and upstream of each connection, and the listeners.
    let worker_connections = 2 * connections + 256;
    format!(
        "daemon off; worker_processes 1; pcre_jit on; pid nginx.pid; error_log stderr;
events {{ worker_connections {worker_connections}; }}
"
    )
}

fn write(dir: &Path, name: &str, config: &str) -> Result<Command> {
    let prefix = dir.join(name);
    fs::create_dir_all(&prefix)?;
    let path = prefix.join("nginx.conf");
    fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&prefix).arg("-c").arg(path);
    Ok(command)
}
