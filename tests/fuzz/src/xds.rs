//! What must hold for `spurline-xds`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken.

use std::{collections::BTreeMap, net::IpAddr, slice::Iter, sync::Arc, time::Duration};

use prost::Message;
use spurline_api::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource},
    google::protobuf::Any,
    spurline::routing::v1 as wire,
};
use spurline_route::{Endpoint, OnUnavailable, PortMatch, RouteTable};
use spurline_xds::{
    Known, Node, ResourceType, Scope,
    decode::{self, Content},
    mirror::Mirror,
    session::Session,
    snapshot,
};

const CART: &str = "shop/Deployment/cart";
const NAMES: [&str; 9] = [
    "shop/Deployment/cart/k1",
    "shop/Deployment/cart/k2",
    "shop/Deployment/pay/k1",
    "shop/Deployment/cart",
    "k1",
    "k2",
    "",
    "a b",
    "shop/Deployment/other/k1",
];
/// Few enough that there is no room at times.
const RESOURCES_MAX: usize = 5;
const NOW: u64 = 1000;
const AGE_MAX: Duration = Duration::from_secs(60);
/// Magic, format and checksum of a snapshot.
const HEADER_BYTES: usize = 20;

/// The first byte says which type, the rest is the body of a resource.
pub fn resource(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let ty = ResourceType::ALL[usize::from(*choice) % ResourceType::ALL.len()];
    if let Ok(content) = decode::read_body(ty, body) {
        assert_eq!(decode::read_body(ty, &encode(&content)), Ok(content));
    }
    let name = NAMES[usize::from(*choice) / 4 % NAMES.len()];
    let mut mirror = mirror();
    let mut batch = mirror.batch(NOW);
    let taken = batch.put(ty, &wire_resource(ty, name, "1", body)).is_ok();
    batch.finish();
    assert_eq!(mirror.known().get(ty, name).is_some_and(|record| record.body() == body), taken);
    check_table(&mirror, NOW);
}

/// The data is the file of a snapshot, then what follows a checksum that fits, then damage to one that is whole.
pub fn snapshot(data: &[u8]) {
    let decode = |bytes: &[u8]| snapshot::decode(bytes, &scope(), NOW, AGE_MAX);
    let _ = decode(data);
    let whole = snapshot::encode(good().known(), &scope(), NOW);
    let prefix = whole.get(..HEADER_BYTES).expect("a snapshot has a header");
    let mut sealed = [prefix, data].concat();
    sealed[12..HEADER_BYTES].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(data).to_le_bytes());
    if let Ok(snapshot) = decode(&sealed) {
        let mut mirror = mirror();
        let mut batch = mirror.batch(NOW);
        for (ty, record) in &snapshot.records {
            let _ = batch.restore(*ty, record);
        }
        batch.finish();
        check_table(&mirror, NOW);
    }
    let mut damaged = whole.clone();
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (damaged.len() + 1);
        match damaged.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None if change[2] % 2 == 0 => damaged.push(change[2]),
            None => damaged.truncate(damaged.len() - 1),
        }
    }
    assert_eq!(decode(&damaged).is_ok(), damaged == whole, "what is not what was written is not used");
}

/// The data says what the server sends, when streams end and how time goes by.
pub fn client_session(data: &[u8]) {
    let mut bytes = data.iter();
    let mut mirror = mirror();
    let mut session = Session::new(Node::default(), &scope());
    session.open(mirror.known());
    let mut now = NOW;
    while !bytes.as_slice().is_empty() {
        let responses: Vec<_> = (0..next(&mut bytes) % 3).filter_map(|_| response(&mut bytes)).collect();
        let mut batch = mirror.batch(now);
        for response in &responses {
            let before = versions(batch.known());
            let Ok(answer) = session.receive(response.clone(), &mut batch) else { continue };
            assert_eq!(answer.request.response_nonce, response.nonce);
            let is_rejected = !answer.rejected.is_empty() || answer.refused.is_some();
            assert_eq!(answer.request.error_detail.is_some(), is_rejected);
            let after = versions(batch.known());
            for (name, _) in &answer.rejected {
                let of = |versions: &Versions| {
                    versions.iter().find(|((_, of), _)| of == name).map(|(_, v)| v.clone())
                };
                assert_eq!(of(&before), of(&after), "a rejected resource changes nothing");
            }
            assert!(answer.refused.is_none() || before == after);
        }
        batch.finish();
        assert!(mirror.known().len() <= RESOURCES_MAX);
        check_table(&mirror, now);
        match next(&mut bytes) % 8 {
            0 => now += u64::from(next(&mut bytes) % 8),
            1 => {
                for request in session.open(mirror.known()) {
                    let told = request.initial_resource_versions;
                    let ty = ResourceType::from_type_url(&request.type_url).expect("a type of ours");
                    assert_eq!(told.len(), mirror.known().iter(ty).count());
                }
                assert!(!session.is_complete());
            }
            _ => {}
        }
    }
    let bytes = snapshot::encode(mirror.known(), &scope(), now);
    let saved = snapshot::decode(&bytes, &scope(), now, AGE_MAX).expect("what was written is read");
    assert_eq!(saved.records.len(), mirror.known().len());
}

type Versions = BTreeMap<(u8, String), (String, Vec<u8>)>;

fn versions(known: &Known) -> Versions {
    let of = |(at, ty)| {
        known.iter(ty).map(move |record| {
            ((at, record.name().to_owned()), (record.version().to_owned(), record.body().to_owned()))
        })
    };
    (0..).zip(ResourceType::ALL).flat_map(of).collect()
}

/// The table is the one that a fresh start with what is known would give.
fn check_table(mirror: &Mirror, now: u64) {
    let mut fresh = self::mirror();
    let mut batch = fresh.batch(now);
    for ty in ResourceType::ALL {
        for record in mirror.known().iter(ty) {
            batch.restore(ty, record).expect("what was taken once is taken again");
        }
    }
    batch.finish();
    let lines = |table: &RouteTable| {
        let mut lines: Vec<String> =
            table.overrides().map(|(workload, key, rule)| format!("{workload} {key} {rule:?}")).collect();
        lines.extend(table.owners().map(|(key, _)| format!("{key}")));
        let cart = CART.parse().expect("a workload");
        lines.extend([1, 80].map(|port| format!("{:?}", table.baseline(&cart, port))));
        lines.sort();
        lines
    };
    assert_eq!(lines(mirror.table()), lines(fresh.table()));
    assert_eq!(mirror.table().len(), mirror.table().overrides().count());
}

fn scope() -> Scope {
    let workload = |name: &str| name.parse().expect("a workload");
    Scope::new([workload(CART), workload("shop/Deployment/pay")], [workload(CART)])
}

fn mirror() -> Mirror {
    Mirror::new(scope(), Arc::new(RouteTable::empty())).with_resources_max(RESOURCES_MAX)
}

/// One that knows something of each type.
fn good() -> Mirror {
    let mut mirror = mirror();
    let mut batch = mirror.batch(NOW);
    for (ty, name) in [(ResourceType::Override, 0), (ResourceType::Baseline, 3), (ResourceType::KeyOwner, 4)]
    {
        batch.put(ty, &wire_resource(ty, NAMES[name], "1", &body(ty, 80, 0))).expect("it is good");
    }
    batch.finish();
    mirror
}

fn response(bytes: &mut Iter<'_, u8>) -> Option<DeltaDiscoveryResponse> {
    let choice = next(bytes);
    if choice >= 0xc0 {
        let len = usize::from(next(bytes));
        let raw: Vec<u8> = bytes.by_ref().take(len).copied().collect();
        return DeltaDiscoveryResponse::decode(&*raw).ok();
    }
    let ty = ResourceType::ALL[usize::from(choice) % 3];
    let resources = (0..choice / 3 % 4).map(|_| {
        let (name, kind, body) = (next(bytes), next(bytes), next(bytes));
        let of = if kind < 0xf0 { ty } else { ResourceType::KeyOwner };
        let value = match kind % 8 {
            0 => bytes.by_ref().take(usize::from(body % 32)).copied().collect(),
            1 => self::body(ty, 70_000, 0),
            2 => self::body(ty, u32::from(body), NOW + u64::from(body % 16)),
            _ => self::body(ty, u32::from(body % 4), 0),
        };
        let mut resource = wire_resource(of, NAMES[usize::from(name) % NAMES.len()], "1", &value);
        resource.version = xxhash_rust::xxh3::xxh3_64(&value).to_string();
        if kind % 32 == 9 {
            resource.version = "v".repeat(usize::from(body) * 2);
        }
        if kind % 32 == 10 {
            resource.resource = None;
        }
        resource
    });
    let resources = resources.collect();
    let removed =
        (0..next(bytes) % 3).map(|_| NAMES[usize::from(next(bytes)) % NAMES.len()].to_owned()).collect();
    let end = next(bytes);
    Some(DeltaDiscoveryResponse {
        resources,
        type_url: if end == 0xff { "other".to_owned() } else { ty.type_url().to_owned() },
        removed_resources: removed,
        nonce: "n".repeat(usize::from(end % 4)),
        system_version_info: if end % 8 < 4 { "1".to_owned() } else { String::new() },
    })
}

fn wire_resource(ty: ResourceType, name: &str, version: &str, body: &[u8]) -> Resource {
    let body = Any { type_url: ty.type_url().to_owned(), value: body.to_vec().into() };
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(body),
        ..Resource::default()
    }
}

/// A body that is good unless the port is not.
fn body(ty: ResourceType, port: u32, expires_unix_s: u64) -> Vec<u8> {
    let endpoint = wire::Endpoint { ip: vec![127, 0, 0, 1].into(), port: 1 };
    let ports = vec![wire::Port { port, endpoints: vec![endpoint] }];
    let (sandbox, fork) = (format!("s{}", port % 2), "f".to_owned());
    match ty {
        ResourceType::Override => {
            wire::Override { sandbox, fork, ports, expires_unix_s, on_unavailable: 0 }.encode_to_vec()
        }
        ResourceType::Baseline => wire::Baseline { ports }.encode_to_vec(),
        ResourceType::KeyOwner => wire::KeyOwner { name: sandbox, kind: 1, expires_unix_s }.encode_to_vec(),
    }
}

/// As a control service would say it.
fn encode(content: &Content) -> Vec<u8> {
    match content {
        Content::KeyOwner(name, expires) => {
            let expires_unix_s = expires.unwrap_or(0);
            wire::KeyOwner { name: name.to_string(), kind: 0, expires_unix_s }.encode_to_vec()
        }
        Content::Baseline(ports) => wire::Baseline { ports: wire_ports(ports) }.encode_to_vec(),
        Content::Override(rule, expires) => {
            let on_unavailable = match rule.on_unavailable {
                OnUnavailable::Reject => wire::OnUnavailable::Reject,
                OnUnavailable::Baseline => wire::OnUnavailable::Baseline,
            };
            let rule = wire::Override {
                sandbox: rule.sandbox.to_string(),
                fork: rule.fork.to_string(),
                on_unavailable: on_unavailable.into(),
                ports: wire_ports(&rule.ports),
                expires_unix_s: expires.unwrap_or(0),
            };
            rule.encode_to_vec()
        }
    }
}

fn wire_ports(ports: &[(PortMatch, Arc<[Endpoint]>)]) -> Vec<wire::Port> {
    let endpoint = |endpoint: &Endpoint| {
        let ip = match endpoint.addr.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        wire::Endpoint { ip: ip.into(), port: endpoint.addr.port().into() }
    };
    let port = |(port, endpoints): &(PortMatch, Arc<[Endpoint]>)| {
        let port = match port {
            PortMatch::Port(port) => u32::from(*port),
            PortMatch::Any => 0,
        };
        wire::Port { port, endpoints: endpoints.iter().map(endpoint).collect() }
    };
    ports.iter().map(port).collect()
}

/// The next byte, 0 after the last.
fn next(bytes: &mut Iter<'_, u8>) -> u8 {
    bytes.next().copied().unwrap_or(0)
}
