//! A relay as one writes it on Pingora: its proxy service with one thread, its pool of upstream connections at its default of 128.
//! It takes the routing key out of `baggage`, looks it up among the keys of a file and chooses between two upstreams.
//!
//! `pingora-relay LISTEN BASELINE FORK KEYS [h2c]`. Settings are those of Pingora's user guide (configuration, peer options); with `h2c` both
//! sides speak HTTP/2 by prior knowledge, 100 streams a connection. It knows nothing of strictness, other carriers or writing the key.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::prelude::HttpPeer;
use pingora::protocols::ALPN;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

const MEMBER: &str = "sd-routing-key";
/// Longer than a measurement, as every peer has it; Pingora's own default is 60 s.
const KEEP_ALIVE_SECONDS: u64 = 300;
const STREAMS_MAX: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (addresses, http2) = match arguments.as_slice() {
        [addresses @ .., last] if last == "h2c" => (addresses, true),
        all => (all, false),
    };
    let [listen, baseline, fork, keys] = addresses else {
        return Err("usage: pingora-relay LISTEN BASELINE FORK KEYS [h2c]".into());
    };
    let relay = Relay {
        keys: fs::read_to_string(keys)?.lines().map(str::to_owned).collect(),
        baseline: baseline.parse()?,
        fork: fork.parse()?,
        http2,
    };
    let settings = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, relay);
    if http2 {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        let proxy = service.app_logic_mut().ok_or("the service has no proxy")?;
        proxy.server_options = Some(options);
    }
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}

struct Relay {
    keys: HashSet<String>,
    baseline: SocketAddr,
    fork: SocketAddr,
    http2: bool,
}

#[async_trait]
impl ProxyHttp for Relay {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<()> {
        session.set_keepalive(Some(KEEP_ALIVE_SECONDS));
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        let lines = session.req_header().headers.get_all("baggage").iter();
        let key = lines.filter_map(|line| line.to_str().ok()).find_map(key_of);
        let target = if key.is_some_and(|key| self.keys.contains(key)) { self.fork } else { self.baseline };
        let mut peer = HttpPeer::new(target, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(1));
        if self.http2 {
            peer.options.alpn = ALPN::H2;
            peer.options.max_h2_streams = STREAMS_MAX;
        }
        Ok(Box::new(peer))
    }
}

/// The value of the member that carries the key, in one line of `baggage`, without its properties.
fn key_of(line: &str) -> Option<&str> {
    line.split(',').find_map(|member| {
        let (name, value) = member.split_once('=')?;
        let value = value.split(';').next()?;
        (name.trim() == MEMBER).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_among_other_members() {
        assert_eq!(key_of("tenant=acme, sd-routing-key = k1 ;ttl=3,x=y"), Some("k1"));
        assert_eq!(key_of("tenant=acme,xsd-routing-key=k1"), None);
    }
}
