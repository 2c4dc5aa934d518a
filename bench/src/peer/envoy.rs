//! Envoy: one worker, the limits of its guide for edge proxies, no access log, no request ids, one match on `baggage`.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::host;
use crate::work::{Job, Protocol, ROUTING_KEY};

pub(super) fn command(job: &Job) -> Result<Command> {
    ensure!(job.protocol != Protocol::Tls, "Envoy is not set up for TLS here");
    let path = job.dir.join("envoy.yaml");
    fs::write(&path, config(job))?;
    let mut command = Command::new(host::envoy()?);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
    command.arg("--config-path").arg(path);
    Ok(command)
}

fn config(job: &Job) -> String {
    let clusters =
        [("baseline", job.baseline), ("fork", job.fork)].map(|(name, at)| cluster(name, at, job.protocol));
    format!(
        "static_resources:
  listeners:
  - name: bench
    address: {listen}
    per_connection_buffer_limit_bytes: 32768
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: {codec}
          generate_request_id: false
          http2_protocol_options:
            max_concurrent_streams: 100
            initial_stream_window_size: 65536
            initial_connection_window_size: 1048576
          stream_idle_timeout: 300s
          request_timeout: 300s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match:
                  prefix: /
                  headers: [{{ name: baggage, string_match: {{ contains: sd-routing-key={ROUTING_KEY} }} }}]
                route: {{ cluster: fork, timeout: 0s }}
              - match: {{ prefix: / }}
                route: {{ cluster: baseline, timeout: 0s }}
  clusters:
{clusters}",
        listen = address(job.listen),
        codec = match job.protocol {
            Protocol::Http2 => "HTTP2",
            Protocol::Http1 | Protocol::Tls => "HTTP1",
        },
        clusters = clusters.concat(),
    )
}

fn cluster(name: &str, server: SocketAddr, protocol: Protocol) -> String {
    let options = match protocol {
        Protocol::Http2 => {
            "http2_protocol_options: { initial_stream_window_size: 65536, initial_connection_window_size: 1048576 }"
        }
        Protocol::Http1 | Protocol::Tls => "http_protocol_options: {}",
    };
    format!(
        "  - name: {name}
    type: STATIC
    connect_timeout: 1s
    per_connection_buffer_limit_bytes: 32768
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {options} }}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}]
",
        address = address(server),
    )
}

fn address(of: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", of.ip(), of.port())
}
