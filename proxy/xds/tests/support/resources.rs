//! Resources as a control service makes them.
#![allow(dead_code, reason = "no suite needs all of it")]

use prost::Message;
use spurline_api::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource},
    google::protobuf::Any,
    spurline::routing::v1 as wire,
};
use spurline_route::Workload;
use spurline_xds::{ResourceType, Scope};

pub(crate) const CART: &str = "shop/Deployment/cart";

pub(crate) fn cart() -> Workload {
    CART.parse().unwrap()
}

/// Forks and the baseline of one workload.
pub(crate) fn scope() -> Scope {
    Scope::new([cart()], [cart()])
}

/// A resource whose version follows from its body.
pub(crate) fn resource(ty: ResourceType, name: &str, body: &impl Message) -> Resource {
    let value = body.encode_to_vec();
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&value));
    let body = Any { type_url: ty.type_url().to_owned(), value: value.into() };
    Resource { version, resource: Some(body), name: name.to_owned(), ..Resource::default() }
}

pub(crate) fn key_owner(key: &str, name: &str) -> Resource {
    key_owner_until(key, name, 0)
}

pub(crate) fn key_owner_until(key: &str, name: &str, expires_unix_s: u64) -> Resource {
    let body = wire::KeyOwner { name: name.to_owned(), expires_unix_s, ..wire::KeyOwner::default() };
    resource(ResourceType::KeyOwner, key, &body)
}

pub(crate) fn ports(port: u16) -> Vec<wire::Port> {
    let endpoint = wire::Endpoint { ip: vec![127, 0, 0, 1].into(), port: port.into() };
    vec![wire::Port { port: 0, endpoints: vec![endpoint] }]
}

pub(crate) fn baseline(port: u16) -> Resource {
    resource(ResourceType::Baseline, CART, &wire::Baseline { ports: ports(port) })
}

/// The override of the cart for a key, which leads to a port of loopback.
pub(crate) fn rule(key: &str, port: u16, expires_unix_s: Option<u64>) -> Resource {
    let body = wire::Override {
        sandbox: format!("sandbox-{key}"),
        fork: format!("cart-{key}"),
        ports: ports(port),
        expires_unix_s: expires_unix_s.unwrap_or(0),
        ..wire::Override::default()
    };
    resource(ResourceType::Override, &format!("{CART}/{key}"), &body)
}

/// A response that brings the client up to date.
pub(crate) fn response(ty: ResourceType, nonce: &str, resources: Vec<Resource>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        system_version_info: "test/1".to_owned(),
        resources,
        type_url: ty.type_url().to_owned(),
        nonce: nonce.to_owned(),
        removed_resources: Vec::new(),
    }
}
