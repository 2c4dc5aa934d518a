//! A second reading of `routing.proto`: what a client has to take, and what it has to reject.
//!
//! Where the text leaves it open the verdict is [`Verdict::Either`], so that a mistake of ours is not held against the
//! client.

use std::collections::HashSet;

use prost::Message;

use super::routing::{Baseline, KeyOwner, Override, Port};
use super::{BASELINE, KEY_OWNER, OVERRIDE, Resource, Response};

/// What a client has to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Use it.
    Take,
    /// What the text does not say.
    Either,
    /// Name it in a rejection and keep what it had.
    Reject,
}

/// The most endpoints of a port.
const ENDPOINTS_MAX: usize = 1024;

/// What a client has to do with a resource of a response.
pub fn judge(response: &Response, resource: &Resource) -> Verdict {
    let same = response.resources.iter().filter(|other| other.name == resource.name).count() > 1;
    if same || response.removed_resources.contains(&resource.name) {
        return Verdict::Either;
    }
    let Some(any) = &resource.resource else { return Verdict::Either };
    if any.type_url != response.type_url {
        return Verdict::Reject;
    }
    let body = match response.type_url.as_str() {
        OVERRIDE => Override::decode(any.value.clone()).map(|one| over_ride(&resource.name, &one)),
        BASELINE => Baseline::decode(any.value.clone()).map(|one| baseline(&resource.name, &one)),
        KEY_OWNER => KeyOwner::decode(any.value.clone()).map(|one| key_owner(&resource.name, &one)),
        _ => Ok(Verdict::Either),
    };
    let open = resource.version.is_empty() || resource.ttl.is_some() || !resource.aliases.is_empty();
    let body = body.unwrap_or(Verdict::Reject);
    if body == Verdict::Take && open { Verdict::Either } else { body }
}

fn over_ride(name: &str, body: &Override) -> Verdict {
    let Some((workload, key)) = name.rsplit_once('/') else { return Verdict::Reject };
    wrong(!is_workload(workload) || !is_key(key))
        .max(wrong(!is_name(&body.sandbox) || !is_name(&body.fork)))
        .max(ports(&body.ports))
}

fn baseline(name: &str, body: &Baseline) -> Verdict {
    wrong(!is_workload(name) || body.ports.is_empty()).max(ports(&body.ports))
}

fn key_owner(name: &str, body: &KeyOwner) -> Verdict {
    wrong(!is_key(name) || !is_name(&body.name))
}

fn ports(ports: &[Port]) -> Verdict {
    let mut seen = HashSet::new();
    let mut verdict = Verdict::Take;
    for port in ports {
        verdict = verdict
            .max(wrong(port.port > 65_535 || !seen.insert(port.port)))
            .max(wrong(port.endpoints.len() > ENDPOINTS_MAX));
        for endpoint in &port.endpoints {
            let address = matches!(endpoint.ip.len(), 4 | 16);
            verdict = verdict.max(wrong(!address || !(1..=65_535).contains(&endpoint.port)));
        }
    }
    verdict
}

fn wrong(is_wrong: bool) -> Verdict {
    if is_wrong { Verdict::Reject } else { Verdict::Take }
}

fn is_key(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@".contains(&byte);
    (1..=800).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_workload(name: &str) -> bool {
    let parts: Vec<_> = name.split('/').collect();
    let &[namespace, kind, name] = parts.as_slice() else { return false };
    let is_kind = kind.len() <= 63
        && kind.starts_with(|first: char| first.is_ascii_alphabetic())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_label(namespace) && is_kind && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}
