//! From what was typed to what is meant: every value read, every rule between values checked, every mistake kept.

mod control;
mod http2;
mod tls;
mod values;

use std::{net::SocketAddr, path::PathBuf};

use spurline_route::{
    CarrierConfig, CarrierError, Extractor, GatewayCarrier, GatewayCarriers, HostPattern, OnConflict, Trust,
    Workload,
};

use self::values::Values;
use crate::{
    Command,
    config::{
        AccessLogTarget, Config, Drain, Inbound, Limits, Log, LogFormat, LogLevel, SignedKeys, Timeouts,
        Upstream,
    },
    defs::Id,
    error::{Exit, Problem},
    listener::{Defaults, Listener, Role, UpstreamProtocol, parse_addr},
    raw::{Raw, Sources},
};

/// Reads every setting; `problems` holds what is already known to be wrong.
pub(crate) fn resolve(raw: &Raw, problems: Vec<Problem>) -> Result<Command, Exit> {
    let mut values = Values { raw, problems };
    let check = values.switch(Id::Check);
    let upstream = upstream(&mut values);
    let defaults = Defaults { upstream_protocol: upstream.protocol, grpc_web: values.switch(Id::GrpcWeb) };
    let mut config = Config {
        workers: values.size_or_auto(Id::Workers),
        inbound: inbound(&mut values),
        listeners: values.maps(Id::Listener, |raw| Listener::from_raw(raw, defaults)),
        tls: None,
        upstream_tls: None,
        admin: admin(&mut values),
        routes: values.text(Id::Routes).map(PathBuf::from),
        routes_poll_interval: values.span(Id::RoutesPollInterval),
        control: control::control(&mut values),
        carriers: carriers(&mut values),
        signed_keys: signed_keys(&mut values),
        limits: limits(&mut values),
        http2: http2::http2(&mut values),
        timeouts: timeouts(&mut values),
        upstream,
        drain: drain(&mut values),
        log: log(&mut values),
        sources: Sources::of(raw),
    };
    config.tls = tls::tls(&config.listeners, &mut values);
    config.upstream_tls = tls::upstream_tls(&config.listeners, &mut values);
    check_grpc_web(&config.listeners, &mut values);
    check_listeners(&config, &mut values);
    match (values.problems.is_empty(), check) {
        (false, _) => Err(Exit::usage(&values.problems)),
        (true, true) => Ok(Command::Check(Box::new(config))),
        (true, false) => Ok(Command::Run(Box::new(config))),
    }
}

fn inbound(values: &mut Values<'_>) -> Option<Inbound> {
    let listen = values.parsed(Id::InboundListen, parse_addr);
    let workload =
        values.parsed(Id::InboundWorkload, |text| Workload::parse(text).map_err(|error| error.to_string()));
    if workload.is_some() && !values.is_given(Id::InboundListen) {
        values.problem(Id::InboundWorkload, "inbound_listen is not set");
    }
    Some(Inbound { listen: listen?, workload })
}

fn admin(values: &mut Values<'_>) -> Option<SocketAddr> {
    let allow_remote = values.switch(Id::AdminAllowRemote);
    let parse = |text: &str| if text == "off" { Ok(None) } else { parse_addr(text).map(Some) };
    let admin = values.parsed(Id::AdminListen, parse)??;
    if !admin.ip().to_canonical().is_loopback() && !allow_remote {
        values.problem(Id::AdminListen, "not a loopback address, and admin_allow_remote is not true");
    }
    Some(admin)
}

fn carriers(values: &mut Values<'_>) -> CarrierConfig {
    let config = CarrierConfig {
        custom_headers: values.list(Id::RoutingHeaders),
        member: values.text(Id::BaggageMember).unwrap_or_default(),
        legacy_members: values.list(Id::LegacyMembers),
        gateway: gateway(values),
        on_conflict: match values.text(Id::OnConflict).as_deref() {
            Some("reject") => OnConflict::Reject,
            _ => OnConflict::FirstWins,
        },
        own_key: None,
    };
    // The route crate knows the rules; here only the setting is named that breaks one.
    if let Err(error) = Extractor::new(config.clone()) {
        let id = match &error {
            CarrierError::MemberName(name) if *name == config.member => Id::BaggageMember,
            CarrierError::MemberName(_) | CarrierError::MemberCount(_) => Id::LegacyMembers,
            CarrierError::Duplicate(name) if config.legacy_members.contains(name) => Id::LegacyMembers,
            CarrierError::GatewayName(GatewayCarrier::Query, _) => Id::GatewayQuery,
            CarrierError::GatewayName(GatewayCarrier::Cookie, _) => Id::GatewayCookie,
            CarrierError::GatewayName(GatewayCarrier::Host, _) => Id::GatewayHostPattern,
            CarrierError::GatewayUnset(_) => Id::GatewayKeyOrder,
            _ => Id::RoutingHeaders,
        };
        values.problem(id, &error.to_string());
    }
    config
}

fn gateway(values: &mut Values<'_>) -> GatewayCarriers {
    let host_pattern = values
        .parsed(Id::GatewayHostPattern, |text| HostPattern::parse(text).map_err(|error| error.to_string()));
    let query = values.text(Id::GatewayQuery);
    let cookie = values.text(Id::GatewayCookie);
    let mut order = Vec::new();
    for word in values.list(Id::GatewayKeyOrder) {
        let (carrier, configured) = match word.as_str() {
            "host" => (GatewayCarrier::Host, host_pattern.is_some()),
            "query" => (GatewayCarrier::Query, query.is_some()),
            "cookie" => (GatewayCarrier::Cookie, cookie.is_some()),
            _ => {
                values.problem(Id::GatewayKeyOrder, &format!("{word:?} is unknown"));
                continue;
            }
        };
        if order.contains(&carrier) {
            values.problem(Id::GatewayKeyOrder, &format!("{word} is given twice"));
        } else if configured {
            order.push(carrier);
        }
    }
    GatewayCarriers { order, host_pattern, query, cookie }
}

fn signed_keys(values: &mut Values<'_>) -> Option<SignedKeys> {
    let file = values.text(Id::SignedKeysFile);
    let audience = values.text(Id::SignedKeysAudience);
    if file.is_some() && audience.is_none() {
        values.problem(Id::SignedKeysAudience, "required with signed_keys_file");
    }
    Some(SignedKeys { file: PathBuf::from(file?), audience: audience? })
}

fn limits(values: &mut Values<'_>) -> Limits {
    let limits = Limits {
        head_bytes_max: values.size(Id::HeadBytesMax),
        fields_max: values.size(Id::FieldsMax),
        target_bytes_max: values.size(Id::TargetBytesMax),
        chunk_extension_bytes_max: values.size(Id::ChunkExtensionBytesMax),
        trailer_bytes_max: values.size(Id::TrailerBytesMax),
        trailer_fields_max: values.size(Id::TrailerFieldsMax),
        informational_max: values.size(Id::InformationalMax),
        drain_body_bytes_max: values.size(Id::DrainBodyBytesMax),
        buffer_bytes: values.size(Id::BufferBytes),
        connections_max: values.size_or_auto(Id::ConnectionsMax),
        listen_backlog: values.count(Id::ListenBacklog),
    };
    if limits.target_bytes_max > limits.head_bytes_max {
        values.problem(Id::TargetBytesMax, "larger than head_bytes_max, which holds the target too");
    }
    limits
}

fn timeouts(values: &mut Values<'_>) -> Timeouts {
    Timeouts {
        detect: values.span(Id::DetectTimeout),
        head: values.timeout(Id::HeadTimeout),
        idle: values.timeout(Id::IdleTimeout),
        body_idle: values.timeout(Id::BodyIdleTimeout),
        response_idle: values.timeout(Id::ResponseIdleTimeout),
        client_fin: values.span(Id::ClientFinTimeout),
        tunnel_grace: values.span(Id::TunnelGrace),
        connect: values.span(Id::ConnectTimeout),
        response: values.timeout(Id::ResponseTimeout),
        request: values.timeout(Id::RequestTimeout),
        tunnel_idle: values.timeout(Id::TunnelIdleTimeout),
        upstream_idle: values.timeout(Id::UpstreamIdleTimeout),
    }
}

fn upstream(values: &mut Values<'_>) -> Upstream {
    Upstream {
        // The table allows no other words.
        protocol: values
            .parsed(Id::UpstreamProtocol, UpstreamProtocol::parse)
            .unwrap_or(UpstreamProtocol::Auto),
        idle_max: values.size(Id::UpstreamIdleMax),
        connections_max: values.count(Id::UpstreamConnectionsMax),
        pending_max: values.count(Id::UpstreamPendingMax),
        requests_max: values.count(Id::UpstreamRequestsMax),
        retries_max: values.count(Id::RetriesMax),
        retry_budget_percent: values.count(Id::RetryBudgetPercent),
        retry_min_per_second: values.count(Id::RetryMinPerSecond),
        ejection_failures: Some(values.count(Id::EjectionFailures)).filter(|failures| *failures > 0),
        ejection_time: values.span(Id::EjectionTime),
        ejection_max_percent: values.count(Id::EjectionMaxPercent),
        panic_threshold_percent: values.count(Id::PanicThresholdPercent),
    }
}

fn drain(values: &mut Values<'_>) -> Drain {
    let drain = Drain { delay: values.span(Id::DrainDelay), timeout: values.span(Id::DrainTimeout) };
    if drain.timeout <= drain.delay {
        values.problem(Id::DrainTimeout, "not longer than drain_delay, so nothing in flight could finish");
    }
    drain
}

fn log(values: &mut Values<'_>) -> Log {
    Log {
        level: match values.text(Id::LogLevel).as_deref() {
            Some("off") => LogLevel::Off,
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        },
        format: match values.text(Id::LogFormat).as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        },
        access: match values.text(Id::AccessLog).as_deref() {
            None | Some("off") => AccessLogTarget::Off,
            Some("stdout") => AccessLogTarget::Stdout,
            Some("stderr") => AccessLogTarget::Stderr,
            Some(path) => AccessLogTarget::File(PathBuf::from(path)),
        },
    }
}

/// Whoever set it meant to have a gateway.
fn check_grpc_web(listeners: &[Listener], values: &mut Values<'_>) {
    let is_gateway = |listener: &Listener| listener.role == Role::Gateway;
    // A listener that could not be read may be the gateway.
    if values.problems.is_empty() && values.switch(Id::GrpcWeb) && !listeners.iter().any(is_gateway) {
        values.problem(Id::GrpcWeb, "no listener has role=gateway");
    }
}

/// Rules between listeners, and between them and the rest.
fn check_listeners(config: &Config, values: &mut Values<'_>) {
    let nothing = values.raw.maps(Id::Listener).next().is_none() && !values.is_given(Id::InboundListen);
    let mut problem = |line: String| values.problems.push(Problem::new(line));
    if nothing {
        problem("nothing to listen on: set inbound_listen, or at least one listener".to_owned());
    }
    let mut names: Vec<&str> = Vec::new();
    for Listener { name, trust, .. } in &config.listeners {
        if names.contains(&name.as_str()) {
            problem(format!("listener: two are named {name:?}"));
        }
        names.push(name);
        if *trust == Trust::Signed && config.signed_keys.is_none() {
            problem(format!(
                "listener {name:?}: trust=signed needs signed_keys_file and signed_keys_audience"
            ));
        }
    }
    let own =
        config.listeners.iter().map(|listener| (format!("listener {:?}", listener.name), listener.listen));
    let inbound = config.inbound.iter().map(|inbound| ("inbound_listen".to_owned(), inbound.listen));
    let admin = config.admin.iter().map(|admin| ("admin_listen".to_owned(), *admin));
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    for (name, addr) in own.chain(inbound).chain(admin).filter(|(_, addr)| addr.port() != 0) {
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == addr) {
            problem(format!("{name} and {other} have the same address {addr}"));
        }
        taken.push((name, addr));
    }
}
