//! From a [`CarrierConfig`] to an [`Extractor`]: what is checked, and in which order carriers are read.

use super::{Extractor, Step};
use crate::{
    Carrier, CarrierConfig, CarrierError, GatewayCarrier, GatewayCarriers, MemberCarrier,
    scan::{NAME_LEN_MAX, Names, Role},
};

/// Leaves room for the longest prefix within [`NAME_LEN_MAX`].
const MEMBER_LEN_MAX: usize = 48;

/// Headers that mean something to HTTP, to tracing or to this proxy, and so cannot mean a routing key.
const RESERVED: [&str; 22] = [
    "accept",
    "authorization",
    "baggage",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

const RESERVED_PREFIXES: [&str; 2] = ["x-forwarded-", "x-spurline-"];

pub(super) fn extractor(config: CarrierConfig) -> Result<Extractor, CarrierError> {
    let CarrierConfig { mut custom_headers, member, legacy_members, gateway, on_conflict, own_key } = config;
    for header in &mut custom_headers {
        check_header(header)?;
        header.make_ascii_lowercase();
    }
    if custom_headers.len() > CarrierConfig::CUSTOM_HEADERS_MAX {
        return Err(CarrierError::HeaderCount(custom_headers.len()));
    }
    if legacy_members.len() > CarrierConfig::LEGACY_MEMBERS_MAX {
        return Err(CarrierError::MemberCount(legacy_members.len()));
    }
    let members: Vec<String> = std::iter::once(member).chain(legacy_members).collect();
    members.iter().try_for_each(|member| check_member(member))?;
    check_gateway(&gateway)?;
    check_unique(members.iter())?;
    let names = names(custom_headers, &members, &gateway);
    check_unique(names.iter().map(|(name, _)| name))?;
    let names = Names::new(names);
    let steps = steps(&names, members.len(), &gateway);
    let keyed = names.iter().filter(|(_, _, role)| matches!(role, Role::Key(_)));
    let keyed = keyed.fold(0, |keyed, (at, _, _)| keyed | 1 << at);
    Ok(Extractor { names, members, gateway, keyed, steps, on_conflict, own_key })
}

/// Custom headers first, so that a custom header's index is its position.
fn names(headers: Vec<String>, members: &[String], gateway: &GatewayCarriers) -> Vec<(String, Role)> {
    let custom = (0u8..).zip(headers).map(|(at, header)| (header, Role::Key(Carrier::Header(at))));
    let prefixed = members.iter().enumerate().flat_map(|(at, member)| {
        let named = move |kind: MemberCarrier| {
            kind.prefix().map(|prefix| (format!("{prefix}{member}"), Role::Key(kind.carrier(at))))
        };
        MemberCarrier::ALL.into_iter().filter_map(named)
    });
    let cookie = gateway.order.contains(&GatewayCarrier::Cookie).then_some(("cookie", Role::Cookie));
    let fixed = [
        ("baggage", Role::Baggage),
        ("tracestate", Role::Tracestate),
        ("x-spurline-strict", Role::Strict),
        ("x-spurline-explain", Role::Explain),
    ];
    let fixed = fixed.into_iter().chain(cookie).map(|(name, role)| (name.to_owned(), role));
    custom.chain(prefixed).chain(fixed).collect()
}

fn steps(names: &Names, members: usize, gateway: &GatewayCarriers) -> Vec<Step> {
    let fields: Vec<(u8, Carrier)> = names
        .iter()
        .filter_map(|(at, _, role)| match role {
            Role::Key(carrier) => Some((at, carrier)),
            _ => None,
        })
        .collect();
    let (custom, prefixed): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(_, carrier)| matches!(carrier, Carrier::Header(_)));
    let mut prefixed = prefixed.into_iter();
    let mut steps: Vec<Step> = custom.into_iter().map(|(at, carrier)| Step::Field(at, carrier)).collect();
    for member in 0..members {
        steps.push(Step::Baggage(member, MemberCarrier::Baggage.carrier(member)));
        steps.push(Step::Tracestate(member, MemberCarrier::Tracestate.carrier(member)));
        // The three with a prefix stand in the names in the same order.
        steps.extend(prefixed.by_ref().take(3).map(|(at, carrier)| Step::Field(at, carrier)));
    }
    steps.extend(gateway.order.iter().map(|&carrier| Step::Gateway(carrier)));
    steps
}

fn check_header(header: &str) -> Result<(), CarrierError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if header.is_empty() || header.len() > NAME_LEN_MAX || !header.bytes().all(is_token) {
        return Err(CarrierError::HeaderName(header.to_owned()));
    }
    let lower = header.to_ascii_lowercase();
    let reserved = RESERVED.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if reserved { Err(CarrierError::HeaderReserved(header.to_owned())) } else { Ok(()) }
}

/// The grammar of a `tracestate` key (W3C Trace Context section 3.3.1.3.1), less what a field name cannot hold.
fn check_member(member: &str) -> Result<(), CarrierError> {
    let fits = (1..=MEMBER_LEN_MAX).contains(&member.len())
        && member.starts_with(|first: char| first.is_ascii_lowercase())
        && member
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
    if fits { Ok(()) } else { Err(CarrierError::MemberName(member.to_owned())) }
}

fn check_gateway(gateway: &GatewayCarriers) -> Result<(), CarrierError> {
    let GatewayCarriers { order, host_pattern, query, cookie } = gateway;
    for (at, &carrier) in order.iter().enumerate() {
        if order.iter().take(at).any(|&earlier| earlier == carrier) {
            return Err(CarrierError::Duplicate(format!("{carrier:?}")));
        }
        let name = match carrier {
            GatewayCarrier::Host if host_pattern.is_some() => continue,
            GatewayCarrier::Host => None,
            GatewayCarrier::Query => query.as_deref(),
            GatewayCarrier::Cookie => cookie.as_deref(),
        };
        let name = name.ok_or(CarrierError::GatewayUnset(carrier))?;
        // The unreserved characters of RFC 3986 section 2.3: nothing that a client would encode.
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
        if !(1..=NAME_LEN_MAX).contains(&name.len()) || !name.bytes().all(unreserved) {
            return Err(CarrierError::GatewayName(carrier, name.to_owned()));
        }
    }
    Ok(())
}

fn check_unique<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), CarrierError> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    match names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
        Some((twice, _)) => Err(CarrierError::Duplicate((*twice).clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut CarrierConfig)) -> Option<CarrierError> {
        let mut config = CarrierConfig::default();
        change(&mut config);
        Extractor::new(config).err()
    }

    #[test]
    fn the_default_and_the_largest_configuration_compile() {
        assert_eq!(error(|_| ()), None);
        let largest = error(|config| {
            config.custom_headers = (0..8).map(|at| format!("X-Key-{at}")).collect();
            config.legacy_members = (0..4).map(|at| format!("old-{at}")).collect();
            config.member = "m".repeat(MEMBER_LEN_MAX);
            config.gateway.order = vec![GatewayCarrier::Cookie];
            config.gateway.cookie = Some("sd".to_owned());
        });
        assert_eq!(largest, None);
    }

    #[test]
    fn names_that_cannot_be_used_are_refused() {
        for header in ["", "a b", "x:y", &"x".repeat(64)] {
            let found = error(|config| config.custom_headers = vec![header.to_owned()]);
            assert_eq!(found, Some(CarrierError::HeaderName(header.to_owned())));
        }
        for header in ["Host", "baggage", "X-Forwarded-For", "x-spurline-key"] {
            let found = error(|config| config.custom_headers = vec![header.to_owned()]);
            assert_eq!(found, Some(CarrierError::HeaderReserved(header.to_owned())));
        }
        for member in ["", "Key", "1k", "a=b", &"m".repeat(49)] {
            let found = error(|config| config.legacy_members = vec![member.to_owned()]);
            assert_eq!(found, Some(CarrierError::MemberName(member.to_owned())));
        }
    }

    #[test]
    fn nothing_is_configured_twice() {
        let duplicate = |name: &str| Some(CarrierError::Duplicate(name.to_owned()));
        let twice = error(|config| config.custom_headers = vec!["X-Key".to_owned(), "x-key".to_owned()]);
        assert_eq!(twice, duplicate("x-key"));
        let twice = error(|config| config.legacy_members = vec!["sd-routing-key".to_owned()]);
        assert_eq!(twice, duplicate("sd-routing-key"));
        let twice = error(|config| config.custom_headers = vec!["uberctx-sd-sandbox".to_owned()]);
        assert_eq!(twice, duplicate("uberctx-sd-sandbox"));
        let twice = error(|config| {
            config.gateway.query = Some("sd".to_owned());
            config.gateway.order = vec![GatewayCarrier::Query; 2];
        });
        assert_eq!(twice, duplicate("Query"));
    }

    #[test]
    fn there_are_limits_to_how_many_names_there_are() {
        let found = error(|config| config.custom_headers = (0..9).map(|at| format!("x-{at}")).collect());
        assert_eq!(found, Some(CarrierError::HeaderCount(9)));
        let found = error(|config| config.legacy_members = (0..5).map(|at| format!("x-{at}")).collect());
        assert_eq!(found, Some(CarrierError::MemberCount(5)));
    }

    #[test]
    fn a_gateway_carrier_in_the_order_needs_its_name() {
        for carrier in [GatewayCarrier::Host, GatewayCarrier::Query, GatewayCarrier::Cookie] {
            let found = error(|config| config.gateway.order = vec![carrier]);
            assert_eq!(found, Some(CarrierError::GatewayUnset(carrier)));
        }
        let found = error(|config| {
            config.gateway.order = vec![GatewayCarrier::Cookie];
            config.gateway.cookie = Some("a;b".to_owned());
        });
        assert_eq!(found, Some(CarrierError::GatewayName(GatewayCarrier::Cookie, "a;b".to_owned())));
    }
}
