//! The words inside documents: names, labels, durations, ports, addresses.

use std::{net::SocketAddr, sync::Arc};

use spurline_route::PortMatch;

use super::{FORK_LEN_MAX, TTL_S_MAX};

/// Units of durations in seconds, longest first.
const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// A parser of text that is kept as it is.
pub(super) fn if_so(holds: fn(&str) -> bool) -> impl Fn(&str) -> Option<Arc<str>> {
    move |text| holds(text).then(|| Arc::from(text))
}

/// RFC 1123, in lower case.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_dns_subdomain(text)
}

/// As the name of a workload: it may hold empty labels, which resolvers refuse, but begins and ends with a letter or
/// digit.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253 && is_word(text, lower, b"-.")
}

/// As Kubernetes has it: a name, and before it, if need be, a DNS subdomain and a slash.
pub(super) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || text.len() <= 63 && is_word(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

pub(super) fn is_fork(text: &str) -> bool {
    (1..=FORK_LEN_MAX).contains(&text.len()) && is_of(text, b"._-/@")
}

pub(super) fn is_app_protocol(text: &str) -> bool {
    (1..=63).contains(&text.len()) && is_of(text, b"._-+/")
}

/// One way of writing each port, so that no two members of an object are the same port.
pub(super) fn port(text: &str) -> Option<PortMatch> {
    if text == "*" {
        return Some(PortMatch::Any);
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).map(PortMatch::Port)
}

/// An address in digits. Flow labels and scopes of IPv6 do not travel to proxies.
pub(super) fn addr(text: &str) -> Option<SocketAddr> {
    let addr: SocketAddr = text.parse().ok()?;
    let scoped = matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0 || text.contains('%'));
    (addr.port() != 0 && !scoped).then_some(addr)
}

pub(super) fn duration_s(text: &str) -> Option<u64> {
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let total = number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(seconds)?;
    (1..=TTL_S_MAX).contains(&total).then_some(total)
}

/// In the longest unit that needs no fraction.
pub(super) fn duration(total_s: u64) -> String {
    let fits = UNITS.into_iter().find(|(_, seconds)| total_s.is_multiple_of(*seconds));
    let (unit, seconds) = fits.unwrap_or(("s", 1));
    format!("{}{unit}", total_s / seconds)
}

fn is_of(text: &str, others: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

/// Letters and others, and a letter at either end.
fn is_word(text: &str, letter: impl Fn(u8) -> bool, others: &[u8]) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(&letter);
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|byte| letter(byte) || others.contains(&byte))
}
