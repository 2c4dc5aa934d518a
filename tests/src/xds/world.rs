//! What a control service knows, as a test wants it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Any, OVERRIDE, Resource, covers, routing};
use crate::recorder::hex;

/// Bodies by type and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World(BTreeMap<(String, String), Bytes>);

impl World {
    /// Adds or replaces a resource.
    pub fn put(&mut self, type_url: &str, name: &str, body: &impl Message) {
        self.put_bytes(type_url, name, body.encode_to_vec().into());
    }

    /// The same with a body that need not be one.
    pub fn put_bytes(&mut self, type_url: &str, name: &str, body: Bytes) {
        self.0.insert((type_url.to_owned(), name.to_owned()), body);
    }

    /// Adds or replaces the override of port 8080 of a workload for a key.
    pub fn put_override(&mut self, workload: &str, key: &str, fork: &str, endpoints: &[SocketAddr]) {
        self.put(OVERRIDE, &format!("{workload}/{key}"), &over_ride(fork, endpoints));
    }

    /// Takes a resource away.
    pub fn remove(&mut self, type_url: &str, name: &str) {
        self.0.remove(&(type_url.to_owned(), name.to_owned()));
    }

    /// What a subscription to `patterns` covers: name and resource, by name.
    pub fn matching(&self, type_url: &str, patterns: &[String]) -> BTreeMap<String, Resource> {
        let of_type = self.0.iter().filter(|((ty, _), _)| ty == type_url);
        let covered = of_type.filter(|((_, name), _)| patterns.iter().any(|pattern| covers(pattern, name)));
        covered.map(|((ty, name), body)| (name.clone(), resource(ty, name, body.clone()))).collect()
    }

    /// One resource as it goes over the wire.
    pub fn resource(&self, type_url: &str, name: &str) -> Resource {
        let body = self.0.get(&(type_url.to_owned(), name.to_owned())).expect("a resource of this world");
        resource(type_url, name, body.clone())
    }

    /// The names of a type.
    pub fn names(&self, type_url: &str) -> Vec<String> {
        self.0.keys().filter(|(ty, _)| ty == type_url).map(|(_, name)| name.clone()).collect()
    }
}

/// An override of port 8080.
pub fn over_ride(fork: &str, endpoints: &[SocketAddr]) -> routing::Override {
    let endpoints = endpoints.iter().map(|address| routing::Endpoint {
        ip: match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec().into(),
            IpAddr::V6(ip) => ip.octets().to_vec().into(),
        },
        port: address.port().into(),
    });
    routing::Override {
        sandbox: format!("sandbox-of-{fork}"),
        fork: fork.to_owned(),
        on_unavailable: routing::OnUnavailable::Reject.into(),
        ports: vec![routing::Port { port: 8080, endpoints: endpoints.collect() }],
        expires_unix_s: 0,
    }
}

/// A version that depends on the content only.
pub fn version_of(body: &[u8]) -> String {
    hex(&Sha256::digest(body))[..16].to_owned()
}

fn resource(type_url: &str, name: &str, body: Bytes) -> Resource {
    Resource {
        version: version_of(&body),
        resource: Some(Any { type_url: type_url.to_owned(), value: body }),
        name: name.to_owned(),
        ..Resource::default()
    }
}
