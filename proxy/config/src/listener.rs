//! Listeners with an address of their own, and the text that describes one.

use std::{net::SocketAddr, str::FromStr};

use spurline_route::{Trust, Workload};

use crate::{fields::Fields, raw::RawMap};

/// One address that accepts connections for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique among the listeners of a proxy; in logs.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whose baseline this is; always there unless `protocol` is [`Protocol::Tcp`].
    pub workload: Option<Workload>,
    /// The workload's port that requests are for; overrides name it.
    pub port: u16,
    /// Where unsteered requests go; empty: to the endpoints that the route table has for the workload.
    pub baseline: Vec<SocketAddr>,
    /// What is spoken here.
    pub protocol: Protocol,
    /// What the proxy is for these connections.
    pub role: Role,
    /// Whose routing keys count.
    pub trust: Trust,
    /// Whether TLS ends here.
    pub tls: ListenerTls,
    /// Whether TLS is spoken with the baseline, and with the forks in its place.
    pub upstream_tls: bool,
    /// What is spoken with the baseline and the forks when it is HTTP.
    pub upstream_protocol: UpstreamProtocol,
    /// Whether gRPC-web is translated to gRPC; only at a gateway.
    pub grpc_web: bool,
}

/// What holds for listeners that do not say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) upstream_protocol: UpstreamProtocol,
    /// Of gateways.
    pub(crate) grpc_web: bool,
}

/// What a listener does with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// It is opaque bytes like others.
    Off,
    /// It ends here for names that there is a certificate for.
    Terminate {
        /// What becomes of the others.
        unmatched: Unmatched,
    },
}

/// What becomes of TLS for names without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// To the baseline, untouched.
    Pass,
    /// It is refused with the alert `unrecognized_name`.
    Refuse,
}

/// What a listener's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Decided by the first bytes of each connection.
    Detect,
    /// HTTP; anything else is refused.
    Http,
    /// Opaque bytes; nothing is read or steered.
    Tcp,
}

/// Which version of HTTP is spoken with upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// That of the client; in TLS whichever the upstream agrees to.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in the clear by prior knowledge (RFC 9113 section 3.3).
    Http2,
}

/// What the proxy is for a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside an app inside the mesh.
    Sidecar,
    /// At the edge: reads the gateway's carriers too.
    Gateway,
}

/// The form of a listener on the command line.
pub(crate) const SYNTAX: &str = "name=NAME,listen=ADDRESS:PORT,workload=NAMESPACE/KIND/NAME,port=PORT,\
baseline=ADDRESS:PORT+...,protocol=detect|http|tcp,role=sidecar|gateway,trust=all|signed|none,tls=off|terminate,\
tls_unmatched=pass|refuse,upstream_tls=off|on,upstream_protocol=auto|http1|http2,grpc_web=off|on";

const NAME_LEN_MAX: usize = 63;

const KEYS: [&str; 13] = [
    "name",
    "listen",
    "workload",
    "port",
    "baseline",
    "protocol",
    "role",
    "trust",
    "tls",
    "tls_unmatched",
    "upstream_tls",
    "upstream_protocol",
    "grpc_web",
];

impl Listener {
    /// Checks what was typed. The error holds every reason, each naming its key.
    pub(crate) fn from_raw(raw: &RawMap, defaults: Defaults) -> Result<Self, Vec<String>> {
        let mut fields = Fields::new(raw, &KEYS);
        let name = fields.get("name", parse_name);
        let listen = fields.get("listen", parse_addr);
        let workload = fields.get("workload", parse_as::<Workload>);
        let port = fields.get("port", parse_port);
        let baseline = fields.get("baseline", parse_addrs);
        let role = fields.get("role", Role::parse).unwrap_or(Role::Sidecar);
        let trust = fields.get("trust", parse_trust).unwrap_or(match role {
            Role::Sidecar => Trust::All,
            Role::Gateway => Trust::None,
        });
        // What is passed through unread is neither stripped nor checked, so an edge does not guess.
        let is_edge = role == Role::Gateway || trust != Trust::All;
        let default = if is_edge { Protocol::Http } else { Protocol::Detect };
        let protocol = fields.get("protocol", Protocol::parse).unwrap_or(default);
        if is_edge && protocol == Protocol::Detect {
            let reason = "protocol=detect would let untrusted connections through unread; allowed with role=gateway or \
                          trust=signed|none: http, tcp";
            fields.reasons.push(reason.to_owned());
        }
        let tls = parse_tls(&mut fields, role);
        let upstream_tls = fields.get("upstream_tls", parse_switch).unwrap_or(false);
        let upstream_protocol =
            parse_upstream_protocol(&mut fields, protocol).unwrap_or(defaults.upstream_protocol);
        let grpc_web = parse_grpc_web(&mut fields, role, protocol)
            .unwrap_or_else(|| defaults.grpc_web && serves_grpc_web(role, protocol));
        if grpc_web && upstream_protocol == UpstreamProtocol::Http1 {
            fields.reasons.push("upstream_protocol=http1 cannot carry the gRPC of grpc_web".to_owned());
        }
        fields.require("name");
        fields.require("listen");
        if protocol != Protocol::Tcp {
            fields.require("workload");
        } else if baseline.as_ref().is_none_or(Vec::is_empty) && workload.is_none() {
            fields.reasons.push("protocol=tcp needs baseline or workload".to_owned());
        }
        match (name, listen, fields.reasons.is_empty()) {
            (Some(name), Some(listen), true) => Ok(Self {
                name,
                listen,
                workload,
                port: port.unwrap_or_else(|| listen.port()),
                baseline: baseline.unwrap_or_default(),
                protocol,
                role,
                trust,
                tls,
                upstream_tls,
                upstream_protocol,
                grpc_web,
            }),
            _ => Err(fields.reasons),
        }
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "off" => Ok(false),
        "on" => Ok(true),
        _ => Err(format!("{text:?} is not off or on")),
    }
}

fn parse_upstream_protocol(fields: &mut Fields<'_>, protocol: Protocol) -> Option<UpstreamProtocol> {
    let given = fields.get("upstream_protocol", UpstreamProtocol::parse);
    if given.is_some() && protocol == Protocol::Tcp {
        fields.reasons.push("upstream_protocol is of HTTP, and protocol=tcp reads none".to_owned());
    }
    given
}

fn parse_grpc_web(fields: &mut Fields<'_>, role: Role, protocol: Protocol) -> Option<bool> {
    let given = fields.get("grpc_web", parse_switch);
    if given == Some(true) && !serves_grpc_web(role, protocol) {
        fields.reasons.push("grpc_web=on needs role=gateway and protocol=http".to_owned());
    }
    given
}

/// Browsers are let in at the edge.
fn serves_grpc_web(role: Role, protocol: Protocol) -> bool {
    role == Role::Gateway && protocol != Protocol::Tcp
}

fn parse_tls(fields: &mut Fields<'_>, role: Role) -> ListenerTls {
    let terminates = fields.get("tls", |text| match text {
        "off" => Ok(false),
        "terminate" => Ok(true),
        _ => Err(format!("{text:?} is not off or terminate")),
    });
    let unmatched = fields.get("tls_unmatched", |text| match text {
        "pass" => Ok(Unmatched::Pass),
        "refuse" => Ok(Unmatched::Refuse),
        _ => Err(format!("{text:?} is not pass or refuse")),
    });
    if unmatched.is_some() && terminates != Some(true) {
        fields.reasons.push("tls_unmatched needs tls=terminate".to_owned());
    }
    let default = if role == Role::Gateway { Unmatched::Refuse } else { Unmatched::Pass };
    match terminates {
        Some(true) => ListenerTls::Terminate { unmatched: unmatched.unwrap_or(default) },
        _ => ListenerTls::Off,
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not 1 to {NAME_LEN_MAX} letters, digits, '-', '_' or '.'"))
    }
}

/// An address and port in digits: names would need resolving, and would be resolved once and go stale.
pub(crate) fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not ADDRESS:PORT in digits, such as 127.0.0.1:8080 or [::1]:8080"))
}

fn parse_addrs(text: &str) -> Result<Vec<SocketAddr>, String> {
    text.split('+').map(parse_addr).collect()
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{text:?} is not 1 to 65535"))
}

fn parse_as<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("{text:?}: {}", error.to_string()))
}

fn parse_trust(text: &str) -> Result<Trust, String> {
    match text {
        "all" => Ok(Trust::All),
        "signed" => Ok(Trust::Signed),
        "none" => Ok(Trust::None),
        _ => Err(format!("{text:?} is not all, signed or none")),
    }
}

impl Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "detect" => Ok(Self::Detect),
            "http" => Ok(Self::Http),
            "tcp" => Ok(Self::Tcp),
            _ => Err(format!("{text:?} is not detect, http or tcp")),
        }
    }
}

impl UpstreamProtocol {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "http1" => Ok(Self::Http1),
            "http2" => Ok(Self::Http2),
            _ => Err(format!("{text:?} is not auto, http1 or http2")),
        }
    }
}

impl Role {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sidecar" => Ok(Self::Sidecar),
            "gateway" => Ok(Self::Gateway),
            _ => Err(format!("{text:?} is not sidecar or gateway")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{defs::Id, raw::Source};

    const DEFAULTS: Defaults = Defaults { upstream_protocol: UpstreamProtocol::Auto, grpc_web: false };

    fn listener(text: &str) -> Result<Listener, Vec<String>> {
        listener_with(text, DEFAULTS)
    }

    fn listener_with(text: &str, defaults: Defaults) -> Result<Listener, Vec<String>> {
        Listener::from_raw(&RawMap::from_text(Id::Listener, text, Source::Flag).unwrap(), defaults)
    }

    #[test]
    fn only_name_address_and_workload_are_needed() {
        let listener = listener("name=cart,listen=127.0.0.1:9001,workload=shop/Deployment/cart").unwrap();
        assert_eq!(listener.port, 9001);
        assert_eq!(listener.baseline, []);
        assert_eq!(listener.protocol, Protocol::Detect);
        assert_eq!((listener.role, listener.trust), (Role::Sidecar, Trust::All));
    }

    #[test]
    fn every_key_is_read() {
        let listener = listener(
            "name=edge,listen=[::1]:80,workload=shop/Deployment/web,port=8080,baseline=127.0.0.1:1+127.0.0.1:2,\
             protocol=http,role=gateway,trust=signed",
        )
        .unwrap();
        assert_eq!(listener.port, 8080);
        assert_eq!(listener.baseline.len(), 2);
        assert_eq!((listener.protocol, listener.role), (Protocol::Http, Role::Gateway));
        assert_eq!(listener.trust, Trust::Signed);
    }

    #[test]
    fn a_gateway_trusts_nobody_unless_told() {
        let listener = listener("name=a,listen=127.0.0.1:1,workload=n/Deployment/a,role=gateway").unwrap();
        assert_eq!(listener.trust, Trust::None);
    }

    #[test]
    fn a_workload_is_needed_unless_bytes_are_opaque() {
        assert_eq!(listener("name=a,listen=127.0.0.1:1").unwrap_err(), ["workload is missing"]);
        assert!(listener("name=a,listen=127.0.0.1:1,protocol=tcp,baseline=127.0.0.1:2").is_ok());
        assert_eq!(
            listener("name=a,listen=127.0.0.1:1,protocol=tcp").unwrap_err(),
            ["protocol=tcp needs baseline or workload"]
        );
    }

    #[test]
    fn what_has_no_certificate_passes_a_sidecar_and_not_a_gateway() {
        let tls = |more: &str| {
            listener(&format!("name=a,listen=127.0.0.1:1,workload=n/Deployment/a{more}")).map(|it| it.tls)
        };
        let terminate = |unmatched| Ok(ListenerTls::Terminate { unmatched });
        assert_eq!(tls(""), Ok(ListenerTls::Off));
        assert_eq!(tls(",tls=terminate"), terminate(Unmatched::Pass));
        assert_eq!(tls(",tls=terminate,tls_unmatched=refuse"), terminate(Unmatched::Refuse));
        assert_eq!(tls(",tls=terminate,role=gateway"), terminate(Unmatched::Refuse));
        assert_eq!(tls(",tls_unmatched=pass"), Err(vec!["tls_unmatched needs tls=terminate".to_owned()]));
    }

    #[test]
    fn what_is_spoken_upstream_is_the_listener_s_affair_and_else_that_of_all() {
        let upstream = |more: &str, upstream_protocol| {
            let text = format!("name=a,listen=127.0.0.1:1,workload=n/Deployment/a{more}");
            listener_with(&text, Defaults { upstream_protocol, ..DEFAULTS }).map(|it| it.upstream_protocol)
        };
        assert_eq!(upstream("", UpstreamProtocol::Auto), Ok(UpstreamProtocol::Auto));
        assert_eq!(upstream("", UpstreamProtocol::Http2), Ok(UpstreamProtocol::Http2));
        assert_eq!(
            upstream(",upstream_protocol=http1", UpstreamProtocol::Http2),
            Ok(UpstreamProtocol::Http1)
        );
        assert_eq!(upstream(",upstream_protocol=auto", UpstreamProtocol::Http2), Ok(UpstreamProtocol::Auto));
        assert!(upstream(",upstream_protocol=h2", UpstreamProtocol::Auto).is_err());
        assert!(upstream(",protocol=tcp,upstream_protocol=http2", UpstreamProtocol::Auto).is_err());
        assert!(upstream(",protocol=tcp", UpstreamProtocol::Http2).is_ok());
    }

    #[test]
    fn grpc_web_is_translated_at_gateways_alone() {
        let grpc_web = |more: &str, grpc_web| {
            let text = format!("name=a,listen=127.0.0.1:1,workload=n/Deployment/a{more}");
            listener_with(&text, Defaults { grpc_web, ..DEFAULTS }).map(|it| it.grpc_web)
        };
        assert_eq!(grpc_web(",role=gateway", false), Ok(false));
        assert_eq!(grpc_web(",role=gateway", true), Ok(true));
        assert_eq!(grpc_web(",role=gateway,grpc_web=on", false), Ok(true));
        assert_eq!(grpc_web(",role=gateway,grpc_web=off", true), Ok(false));
        assert_eq!(grpc_web("", true), Ok(false));
        assert_eq!(grpc_web(",role=gateway,protocol=tcp", true), Ok(false));
        for wrong in [
            ",grpc_web=on",
            ",role=gateway,protocol=tcp,grpc_web=on",
            ",role=gateway,upstream_protocol=http1,grpc_web=on",
        ] {
            assert_eq!(grpc_web(wrong, false).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn all_mistakes_of_a_listener_are_told_at_once() {
        let reasons =
            listener("name=a b,listen=localhost:1,port=0,role=edge,colour=red,role=gateway").unwrap_err();
        assert_eq!(reasons.len(), 7, "{reasons:#?}");
    }
}
