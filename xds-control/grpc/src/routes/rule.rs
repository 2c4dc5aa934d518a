//! Rules and services as the Routes API writes them.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use spurline_api::{
    envoy::service::discovery::v3::Resource,
    routes::{
        BaselineWorkload, ClusterService, ClusterServicePort, DestinationSandbox, Location,
        SandboxedClusterService, WorkloadPortMapping, WorkloadRoutingRule, WorkloadRoutingRulesRequest,
    },
    spurline::routing::v1::{self as wire, Override},
};
use spurline_core::{
    catalog::{Entry, Pattern},
    document::Baseline,
    model::{Model, Rule, RuleFilter},
};
use spurline_route::{PortMatch, RoutingKey, Workload};

/// What a watch compares with, without asking the model.
#[derive(Debug)]
pub(super) struct Wanted {
    routing_key: String,
    sandbox: String,
    baseline: BaselineWorkload,
}

/// What the request asks for. `None` when nothing can pass: its key cannot be one.
pub(super) fn filter(request: &WorkloadRoutingRulesRequest) -> Option<RuleFilter> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let baseline = request.baseline_workload.as_ref();
    let routing_key = match request.routing_key.as_str() {
        "" => None,
        key => Some(RoutingKey::parse(key.as_bytes()).ok()?),
    };
    Some(RuleFilter {
        routing_key,
        sandbox: request.destination_sandbox.as_ref().and_then(|sandbox| text(&sandbox.name)),
        namespace: baseline.and_then(|baseline| text(&baseline.namespace)),
        kind: baseline.and_then(|baseline| text(&baseline.kind)),
        name: baseline.and_then(|baseline| text(&baseline.name)),
    })
}

pub(super) fn to_wire(rule: &Rule<'_>) -> WorkloadRoutingRule {
    WorkloadRoutingRule {
        routing_key: rule.key.as_str().to_owned(),
        baseline: Some(baseline(rule.workload)),
        destination_sandbox: Some(DestinationSandbox { name: rule.sandbox.to_string() }),
        mappings: rule.ports.iter().map(|(port, endpoints)| mapping(*port, endpoints)).collect(),
    }
}

fn baseline(workload: &Workload) -> BaselineWorkload {
    BaselineWorkload {
        kind: workload.kind().to_owned(),
        namespace: workload.namespace().to_owned(),
        name: workload.name().to_owned(),
    }
}

fn number(port: PortMatch) -> u32 {
    match port {
        PortMatch::Any => 0,
        PortMatch::Port(port) => port.into(),
    }
}

fn mapping(port: PortMatch, endpoints: &[spurline_route::Endpoint]) -> WorkloadPortMapping {
    let location = |endpoint: &spurline_route::Endpoint| Location {
        host: endpoint.addr.ip().to_string(),
        port: endpoint.addr.port().into(),
    };
    WorkloadPortMapping {
        workload_port: number(port),
        destinations: endpoints.iter().map(location).collect(),
    }
}

/// The services of baselines, then of forks; at most `max`.
///
/// A baseline is known by its host name and the ports it has there. A fork has no name of its own, only addresses: it
/// is listed once per address, with the ports it listens on there.
pub(super) fn services(model: &Model, max: usize) -> Vec<ClusterService> {
    let baselines = model.baselines().map(of_baseline);
    let hostnames: BTreeMap<&Workload, String> =
        model.baselines().map(|baseline| (&baseline.workload, baseline.hostname().to_string())).collect();
    let everything = RuleFilter::default();
    let forks = model.rules(&everything).flat_map(|rule| {
        let hostname = hostnames
            .get(rule.workload)
            .cloned()
            .unwrap_or_else(|| format!("{}.{}.svc", rule.workload.name(), rule.workload.namespace()));
        of_fork(&rule, &hostname)
    });
    baselines.chain(forks).take(max).collect()
}

fn of_baseline(baseline: &Baseline) -> ClusterService {
    let protocol = baseline.app_protocol.as_deref().unwrap_or_default();
    let ports = baseline.ports.iter().filter_map(|(port, _)| match port {
        PortMatch::Any => None,
        PortMatch::Port(port) => Some(tcp(*port, protocol)),
    });
    ClusterService {
        service_ip: String::new(),
        hostname: baseline.hostname().to_string(),
        ports: ports.collect(),
        sandbox_info: None,
    }
}

fn of_fork(rule: &Rule<'_>, baseline_hostname: &str) -> Vec<ClusterService> {
    let mut addresses: BTreeMap<std::net::IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for endpoint in rule.ports.iter().flat_map(|(_, endpoints)| endpoints.iter()) {
        addresses.entry(endpoint.addr.ip()).or_default().insert(endpoint.addr.port());
    }
    let service = |(ip, ports): (std::net::IpAddr, BTreeSet<u16>)| ClusterService {
        service_ip: ip.to_string(),
        hostname: String::new(),
        ports: ports.into_iter().map(|port| tcp(port, "")).collect(),
        sandbox_info: Some(SandboxedClusterService {
            sandbox_routing_key: rule.key.as_str().to_owned(),
            baseline_hostname: baseline_hostname.to_owned(),
        }),
    };
    addresses.into_iter().map(service).collect()
}

fn tcp(port: u16, app_protocol: &str) -> ClusterServicePort {
    ClusterServicePort {
        name: String::new(),
        port: port.into(),
        protocol: "TCP".to_owned(),
        app_protocol: app_protocol.to_owned(),
    }
}

impl Wanted {
    pub(super) fn new(request: WorkloadRoutingRulesRequest) -> Self {
        Self {
            routing_key: request.routing_key,
            sandbox: request.destination_sandbox.unwrap_or_default().name,
            baseline: request.baseline_workload.unwrap_or_default(),
        }
    }

    /// The fewest overrides that hold everything wanted.
    pub(super) fn pattern(&self) -> Pattern {
        let BaselineWorkload { kind, namespace, name } = &self.baseline;
        if [kind, namespace, name].iter().any(|part| part.is_empty()) {
            return Pattern::All;
        }
        let last = if self.routing_key.is_empty() { "*" } else { &self.routing_key };
        // What is no pattern is no name either; then everything is looked at and nothing passes.
        Pattern::parse(&format!("{namespace}/{kind}/{name}/{last}")).unwrap_or(Pattern::All)
    }

    /// The rule of this override, if it is wanted.
    pub(super) fn rule(&self, entry: &Entry) -> Option<WorkloadRoutingRule> {
        let mut rule = self.named(entry.name())?;
        let body = Resource::decode(entry.resource().clone()).ok()?.resource?;
        let body = Override::decode(body.value).ok()?;
        if !passes(&self.sandbox, &body.sandbox) {
            return None;
        }
        rule.destination_sandbox = Some(DestinationSandbox { name: body.sandbox });
        rule.mappings = body.ports.iter().map(of_wire).collect();
        Some(rule)
    }

    /// What an override's name says of its rule, if that is wanted.
    pub(super) fn named(&self, name: &str) -> Option<WorkloadRoutingRule> {
        let (workload, key) = name.rsplit_once('/')?;
        let workload = Workload::parse(workload).ok()?;
        let wanted = passes(&self.routing_key, key)
            && passes(&self.baseline.namespace, workload.namespace())
            && passes(&self.baseline.kind, workload.kind())
            && passes(&self.baseline.name, workload.name());
        wanted.then(|| WorkloadRoutingRule {
            routing_key: key.to_owned(),
            baseline: Some(baseline(&workload)),
            destination_sandbox: None,
            mappings: Vec::new(),
        })
    }
}

fn passes(wanted: &str, value: &str) -> bool {
    wanted.is_empty() || wanted == value
}

fn of_wire(port: &wire::Port) -> WorkloadPortMapping {
    let location = |endpoint: &wire::Endpoint| {
        let ip: std::net::IpAddr = match *endpoint.ip {
            [a, b, c, d] => [a, b, c, d].into(),
            ref sixteen => <[u8; 16]>::try_from(sixteen).ok()?.into(),
        };
        Some(Location { host: ip.to_string(), port: endpoint.port })
    };
    WorkloadPortMapping {
        workload_port: port.port,
        destinations: port.endpoints.iter().filter_map(location).collect(),
    }
}
