//! The resources themselves: messages of `spurline.routing.v1`, encoded.
//!
//! The same content gives the same bytes: ports are sorted, endpoints stand as written, and prost writes fields in the
//! order of their numbers.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use prost::Message;
use spurline_api::spurline::routing::v1 as wire;
use spurline_route::{Endpoint, OnUnavailable, PortMatch, RoutingKey};

use crate::{
    catalog::{ResourceName, ResourceType},
    document::{Document, Id, Kind, Ports},
};

use super::{Change, Dirty, Model, override_name, rules::Rule};

// === impl Model ===

impl Model {
    /// Derives what may differ.
    pub(super) fn changes(&self, dirty: Dirty) -> Vec<Change> {
        let Dirty { workloads_by_key, baselines } = dirty;
        let mut changes = Vec::new();
        for (key, workloads) in workloads_by_key {
            let name = ResourceName { ty: ResourceType::KeyOwner, name: key.as_str().into() };
            changes.push(Change { name, body: self.key_owner(&key) });
            changes.extend(workloads.into_iter().map(|workload| Change {
                name: override_name(&workload, &key),
                body: self.rule(&workload, &key).map(|rule| encode_rule(&rule)),
            }));
        }
        changes.extend(baselines.into_iter().map(|id| {
            let body = self.baseline(&id);
            Change { name: ResourceName { ty: ResourceType::Baseline, name: id.name }, body }
        }));
        changes
    }

    fn key_owner(&self, key: &RoutingKey) -> Option<Bytes> {
        let id = self.owner(key)?;
        let kind = match id.kind {
            Kind::Sandbox => wire::key_owner::Kind::Sandbox,
            Kind::RouteGroup => wire::key_owner::Kind::RouteGroup,
            Kind::Workload => return None,
        };
        let expires_unix_s = self.get(id)?.expires_unix_s.unwrap_or_default();
        let owner = wire::KeyOwner { kind: kind.into(), name: id.name.to_string(), expires_unix_s };
        Some(owner.encode_to_vec().into())
    }

    fn baseline(&self, id: &Id) -> Option<Bytes> {
        let Document::Workload(baseline) = &self.get(id)?.document else { return None };
        Some(wire::Baseline { ports: encode_ports(&baseline.ports) }.encode_to_vec().into())
    }
}

fn encode_rule(rule: &Rule<'_>) -> Bytes {
    let on_unavailable = match rule.on_unavailable {
        OnUnavailable::Reject => wire::OnUnavailable::Reject,
        OnUnavailable::Baseline => wire::OnUnavailable::Baseline,
    };
    let message = wire::Override {
        sandbox: rule.sandbox.to_string(),
        fork: rule.fork_name().to_string(),
        on_unavailable: on_unavailable.into(),
        ports: encode_ports(rule.ports),
        expires_unix_s: rule.expires_unix_s.unwrap_or_default(),
    };
    message.encode_to_vec().into()
}

fn encode_ports(ports: &Ports) -> Vec<wire::Port> {
    let encode = |(port, endpoints): &(PortMatch, Arc<[Endpoint]>)| {
        let port = match port {
            PortMatch::Port(port) => u32::from(*port),
            PortMatch::Any => 0,
        };
        wire::Port { port, endpoints: encode_endpoints(endpoints) }
    };
    ports.iter().map(encode).collect()
}

fn encode_endpoints(endpoints: &[Endpoint]) -> Vec<wire::Endpoint> {
    let encode = |endpoint: &Endpoint| {
        let ip = match endpoint.addr.ip() {
            IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
        };
        wire::Endpoint { ip, port: endpoint.addr.port().into() }
    };
    endpoints.iter().map(encode).collect()
}
