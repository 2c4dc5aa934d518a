//! Envoy: one worker, the limits of its guide for edge proxies, no access log, no request ids. Where bytes are the work its buffers and
//! windows are its defaults: those of the guide are small, to bound what many connections hold.
//!
//! It chooses in one of two ways. As a list it has one route for each key, each with a match on `baggage`. Its matcher tree looks a whole header up in a map,
//! and there is none that holds the key alone: a Lua filter, its documented way to derive a header, takes it out of `baggage` first.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use crate::host;
use crate::tls::certificate;
use crate::work::{Job, Protocol, Tuning, keys};

/// How it chooses, and among how many keys.
#[derive(Clone, Copy)]
pub(super) enum Routes {
    List(u32),
    Matcher(u32),
}

/// Its circuit breakers let 1,024 connections and requests through by default, which a scenario may exceed.
const AT_ONCE_MAX: u32 = 1_000_000;

/// The guide's, of HTTP/2.
const WINDOWS: [&str; 2] = ["initial_stream_window_size: 65536", "initial_connection_window_size: 1048576"];

const LUA: &str = r#"          - name: envoy.filters.http.lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code:
                inline_string: |
                  function envoy_on_request(handle)
                    local headers = handle:headers()
                    local baggage = headers:get("baggage")
                    if baggage then
                      local key = string.match("," .. baggage, ",%s*sd%-routing%-key=([^,;]*)")
                      if key then headers:replace("x-routing-key", key) end
                    end
                  end
"#;

const MATCHER: &str = r#"              matcher:
                matcher_tree:
                  input:
                    name: key
                    typed_config:
                      "@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput
                      header_name: x-routing-key
                  exact_match_map:
                    map:
"#;

pub(super) fn command(job: &Job, routes: Routes) -> Result<Command> {
    let path = job.dir.join("envoy.yaml");
    fs::write(&path, config(job, routes))?;
    let mut command = Command::new(host::envoy()?);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
    command.arg("--config-path").arg(path);
    Ok(command)
}

fn config(job: &Job, routes: Routes) -> String {
    let clusters = [("baseline", job.baseline), ("fork", job.fork)].map(|(name, at)| cluster(name, at, job));
    let filter = match job.protocol {
        Protocol::Tcp => TCP_FILTER.to_owned(),
        _ => http_filter(job, routes),
    };
    format!(
        "static_resources:
  listeners:
  - name: bench
    address: {listen}
{buffers}    filter_chains:
    - filters:
{filter}{socket}  clusters:
{clusters}",
        listen = address(job.listen),
        buffers = buffers(job.tuning),
        socket = if job.protocol == Protocol::Tls { transport_socket(job) } else { String::new() },
        clusters = clusters.concat(),
    )
}

const TCP_FILTER: &str = r#"      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: baseline
"#;

fn http_filter(job: &Job, routes: Routes) -> String {
    let (derive, choose) = match routes {
        Routes::List(count) => ("", list(count)),
        Routes::Matcher(count) => (LUA, matcher(count)),
    };
    format!(
        "      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: {codec}
          generate_request_id: false
          http2_protocol_options:
            max_concurrent_streams: 100
{windows}          stream_idle_timeout: 300s
          request_timeout: 300s
          upgrade_configs: [{{ upgrade_type: websocket }}]
          http_filters:
{derive}          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
{choose}",
        windows = match job.tuning {
            Tuning::Requests => WINDOWS.map(|line| format!("            {line}\n")).concat(),
            Tuning::Bytes => String::new(),
        },
        codec = if job.protocol == Protocol::Http2 { "HTTP2" } else { "HTTP1" },
    )
}

/// One route for each key, the last one's last, then that of the baseline.
fn list(count: u32) -> String {
    let mut text = String::from("              routes:\n");
    for key in keys(count) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "              - {{ match: {{ prefix: /, headers: [{{ name: baggage, string_match: {{ contains: sd-routing-key={key} }} }}] }}, \
             route: {{ cluster: fork, timeout: 0s }} }}"
        );
    }
    text + "              - { match: { prefix: / }, route: { cluster: baseline, timeout: 0s } }\n"
}

/// A map from key to route, and the route of the baseline for what is not in it.
fn matcher(count: u32) -> String {
    let action = |cluster: &str| {
        format!(
            "action: {{ name: {cluster}, typed_config: {{ \"@type\": type.googleapis.com/envoy.config.route.v3.Route, \
             match: {{ prefix: / }}, route: {{ cluster: {cluster}, timeout: 0s }} }} }}"
        )
    };
    let (fork, baseline) = (action("fork"), action("baseline"));
    let mut text = MATCHER.to_owned();
    for key in keys(count) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "                      {key}: {{ {fork} }}");
    }
    text + &format!("                on_no_match: {{ {baseline} }}\n")
}

fn transport_socket(job: &Job) -> String {
    format!(
        "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates: [{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}]
",
        job.dir.join(certificate::CHAIN).display(),
        job.dir.join(certificate::KEY).display(),
    )
}

fn cluster(name: &str, server: SocketAddr, job: &Job) -> String {
    let options = match job.protocol {
        Protocol::Http2 if job.tuning == Tuning::Requests => {
            format!("http2_protocol_options: {{ {} }}", WINDOWS.join(", "))
        }
        Protocol::Http2 => "http2_protocol_options: {}".to_owned(),
        _ => "http_protocol_options: {}".to_owned(),
    };
    format!(
        "  - name: {name}
    type: STATIC
    connect_timeout: 1s
{buffers}{socket}    circuit_breakers: {{ thresholds: [{{ max_connections: {AT_ONCE_MAX}, max_pending_requests: {AT_ONCE_MAX}, max_requests: {AT_ONCE_MAX} }}] }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {options} }}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}]
",
        address = address(server),
        buffers = buffers(job.tuning),
        socket = if job.protocol == Protocol::TlsToUpstream { upstream_socket(job) } else { String::new() },
    )
}

fn upstream_socket(job: &Job) -> String {
    format!(
        "    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {name}
        common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          validation_context:
            trusted_ca: {{ filename: {trust} }}
            match_typed_subject_alt_names: [{{ san_type: DNS, matcher: {{ exact: {name} }} }}]
",
        name = certificate::NAME,
        trust = job.dir.join(certificate::CHAIN).display(),
    )
}

/// Of a listener or a cluster.
fn buffers(tuning: Tuning) -> &'static str {
    match tuning {
        Tuning::Requests => "    per_connection_buffer_limit_bytes: 32768\n",
        Tuning::Bytes => "",
    }
}

fn address(of: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", of.ip(), of.port())
}
