//! From the bytes of one resource to what it says, or to what is wrong with it.
//!
//! Pure and total: any bytes give one or the other. Fields that this version does not know are skipped, values of
//! enumerations that it does not know are read as the safest one.

use std::{net::SocketAddr, sync::Arc};

use prost::Message;
use spurline_api::spurline::routing::v1 as wire;
use spurline_route::{Endpoint, OnUnavailable, Override, PortMatch, RoutingKey, Workload};

use crate::ResourceType;

/// The most endpoints of one port.
pub const ENDPOINTS_MAX: usize = 1024;
/// The longest name of a sandbox, route group or fork.
pub const NAME_BYTES_MAX: usize = 800;

/// What the name of a resource says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The owner of a key.
    KeyOwner(RoutingKey),
    /// The baseline of a workload.
    Baseline(Workload),
    /// The override for a workload and a key.
    Override(Workload, RoutingKey),
}

/// What a resource says of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The sandbox or route group that has the key, and when it ends.
    KeyOwner(Arc<str>, Option<u64>),
    /// Endpoints by port.
    Baseline(Vec<(PortMatch, Arc<[Endpoint]>)>),
    /// The rule, and when it ends.
    Override(Override, Option<u64>),
}

/// Endpoints by port.
type Ports = Vec<(PortMatch, Arc<[Endpoint]>)>;

/// What is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not decode.
    #[error("not a message of its type: {0}")]
    Encoding(String),
    /// Its body is of another type than the response.
    #[error("its body is of another type")]
    OtherType,
    /// It has no body.
    #[error("it has no body")]
    NoBody,
    /// Nobody could ask for it again.
    #[error("its version is empty or longer than 255 bytes")]
    Version,
    /// Its name does not follow the grammar of its type.
    #[error("its name: {0}")]
    Name(String),
    /// Its name occurs twice in one response.
    #[error("it is named twice in one response")]
    Twice,
    /// It was not asked for.
    #[error("it is not subscribed to")]
    NotSubscribed,
    /// There is no room for it.
    #[error("{0} resources are kept, the most that is allowed")]
    TooMany(usize),
    /// There is no room for its bytes.
    #[error("it does not fit into {0} bytes of resources, the most that is kept")]
    TooLarge(usize),
    /// A name in it breaks the grammar.
    #[error("{0} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - / @")]
    BadName(&'static str),
    /// A port is out of range.
    #[error("port {0}; allowed: 1 to 65535, or 0 for the rest")]
    Port(u32),
    /// A port has two lists.
    #[error("port {0} is mapped twice")]
    PortTwice(PortMatch),
    /// No port has a list.
    #[error("it has no port")]
    NoPorts,
    /// A port has too many endpoints.
    #[error("port {port} has {count} endpoints; allowed: up to {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// The port.
        port: PortMatch,
        /// How many.
        count: usize,
    },
    /// The address of an endpoint has a length that no address has.
    #[error("an endpoint's address has {0} bytes; allowed: 4 or 16")]
    Address(usize),
    /// The port of an endpoint is out of range.
    #[error("an endpoint's port is {0}; allowed: 1 to 65535")]
    EndpointPort(u32),
}

/// Reads the name of a resource.
///
/// # Errors
/// When it does not follow the grammar of its type.
pub fn read_name(ty: ResourceType, name: &str) -> Result<Subject, Fault> {
    let key = |text: &str| RoutingKey::parse(text.as_bytes()).map_err(|error| Fault::Name(error.to_string()));
    let workload = |text: &str| Workload::parse(text).map_err(|error| Fault::Name(error.to_string()));
    match ty {
        ResourceType::KeyOwner => Ok(Subject::KeyOwner(key(name)?)),
        ResourceType::Baseline => Ok(Subject::Baseline(workload(name)?)),
        ResourceType::Override => {
            let shape = || Fault::Name("an override is named namespace/Kind/name/key".to_owned());
            let (of, by) = name.rsplit_once('/').ok_or_else(shape)?;
            Ok(Subject::Override(workload(of)?, key(by)?))
        }
    }
}

/// Reads the body of a resource.
///
/// # Errors
/// When it does not decode, or says what makes no sense.
pub fn read_body(ty: ResourceType, body: &[u8]) -> Result<Content, Fault> {
    match ty {
        ResourceType::KeyOwner => {
            let owner: wire::KeyOwner = decode(body)?;
            Ok(Content::KeyOwner(name("name", &owner.name)?, end(owner.expires_unix_s)))
        }
        ResourceType::Baseline => {
            let baseline: wire::Baseline = decode(body)?;
            if baseline.ports.is_empty() {
                return Err(Fault::NoPorts);
            }
            Ok(Content::Baseline(ports(&baseline.ports)?))
        }
        ResourceType::Override => {
            let rule: wire::Override = decode(body)?;
            let on_unavailable = match rule.on_unavailable() {
                wire::OnUnavailable::Baseline => OnUnavailable::Baseline,
                wire::OnUnavailable::Reject | wire::OnUnavailable::Unspecified => OnUnavailable::Reject,
            };
            let (fork, sandbox) = (name("fork", &rule.fork)?, name("sandbox", &rule.sandbox)?);
            let ports = ports(&rule.ports)?;
            Ok(Content::Override(Override { fork, sandbox, on_unavailable, ports }, end(rule.expires_unix_s)))
        }
    }
}

fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Fault> {
    M::decode(body).map_err(|error| Fault::Encoding(error.to_string()))
}

/// A name that may stand in a header: it is shown to clients that ask for an explanation.
fn name(what: &'static str, text: &str) -> Result<Arc<str>, Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@".contains(&byte);
    let good = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
    if good { Ok(text.into()) } else { Err(Fault::BadName(what)) }
}

fn ports(wire: &[wire::Port]) -> Result<Ports, Fault> {
    let mut ports = Vec::with_capacity(wire.len());
    for entry in wire {
        let port = match u16::try_from(entry.port) {
            Ok(0) => PortMatch::Any,
            Ok(port) => PortMatch::Port(port),
            Err(_) => return Err(Fault::Port(entry.port)),
        };
        let count = entry.endpoints.len();
        if count > ENDPOINTS_MAX {
            return Err(Fault::TooManyEndpoints { port, count });
        }
        let endpoints: Vec<Endpoint> = entry.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?;
        ports.push((port, Arc::from(endpoints)));
    }
    ports.sort_unstable_by_key(|(port, _)| *port);
    match ports.iter().zip(ports.iter().skip(1)).find(|(one, next)| one.0 == next.0) {
        Some(((port, _), _)) => Err(Fault::PortTwice(*port)),
        None => Ok(ports),
    }
}

fn endpoint(wire: &wire::Endpoint) -> Result<Endpoint, Fault> {
    let port = u16::try_from(wire.port).ok().filter(|port| *port != 0);
    let port = port.ok_or(Fault::EndpointPort(wire.port))?;
    let ip = &*wire.ip;
    let v4 = <[u8; 4]>::try_from(ip).map(|ip| SocketAddr::from((ip, port)));
    let v6 = <[u8; 16]>::try_from(ip).map(|ip| SocketAddr::from((ip, port)));
    let addr = v4.or(v6).map_err(|_| Fault::Address(ip.len()))?;
    Ok(Endpoint { addr })
}

/// When a resource ends, without checking the rest of what it says.
pub(crate) fn expiry(ty: ResourceType, body: &[u8]) -> Option<u64> {
    match ty {
        ResourceType::KeyOwner => end(wire::KeyOwner::decode(body).ok()?.expires_unix_s),
        ResourceType::Override => end(wire::Override::decode(body).ok()?.expires_unix_s),
        ResourceType::Baseline => None,
    }
}

/// 0 is never.
fn end(expires_unix_s: u64) -> Option<u64> {
    Some(expires_unix_s).filter(|expires| *expires != 0)
}
