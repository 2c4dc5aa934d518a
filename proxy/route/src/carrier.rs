//! Carriers: the places in a message where a routing key travels, and which of them are configured.
//!
//! Names and order only; reading them is [`Extractor`](crate::Extractor)'s work.

use std::fmt;

use crate::{HostPattern, RoutingKey};

/// A place where a routing key travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// A configured header whose value is the bare key, by its position in [`CarrierConfig::custom_headers`].
    Header(u8),
    /// The `baggage` member of the configured name (W3C Baggage section 3.3).
    Baggage,
    /// The `tracestate` member of the configured name (W3C Trace Context section 3.3).
    Tracestate,
    /// `ot-baggage-<member>: <key>` (OpenTracing, Datadog).
    OtBaggage,
    /// `uberctx-<member>: <key>` (Jaeger).
    Uberctx,
    /// `baggage-<member>: <key>`.
    BaggageHeader,
    /// One of the five above, under a member name of [`CarrierConfig::legacy_members`].
    Legacy(MemberCarrier),
    /// The host name, by a [`HostPattern`]; gateways only.
    Host,
    /// A query parameter; gateways only.
    Query,
    /// A cookie; gateways only.
    Cookie,
    /// Nothing in the message: the key of the fork that sends it.
    Own,
    /// Nothing in the message: found again by its trace id.
    Trace,
}

/// The carriers which hold a key under a member name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberCarrier {
    /// See [`Carrier::Baggage`].
    Baggage,
    /// See [`Carrier::Tracestate`].
    Tracestate,
    /// See [`Carrier::OtBaggage`].
    OtBaggage,
    /// See [`Carrier::Uberctx`].
    Uberctx,
    /// See [`Carrier::BaggageHeader`].
    BaggageHeader,
}

/// A set of carriers. Custom headers count as one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CarrierSet(u32);

/// Which carriers are read and written.
///
/// The order of reading is fixed: custom headers as listed, `baggage`, `tracestate`, `ot-baggage-*`, `uberctx-*`,
/// `baggage-*`; then the same five for each legacy member; then the gateway's, in its order; then the own key.
#[derive(Clone, Debug)]
pub struct CarrierConfig {
    /// Headers whose value is the bare key; at most [`CarrierConfig::CUSTOM_HEADERS_MAX`].
    pub custom_headers: Vec<String>,
    /// The member that holds the key in `baggage` and its kin.
    pub member: String,
    /// Further member names that are read, and kept consistent, but never added; at most
    /// [`CarrierConfig::LEGACY_MEMBERS_MAX`].
    pub legacy_members: Vec<String>,
    /// What a gateway reads besides.
    pub gateway: GatewayCarriers,
    /// What becomes of a request whose carriers disagree.
    pub on_conflict: OnConflict,
    /// The key of the fork whose outbound requests are read; `None` for inbound ones.
    pub own_key: Option<RoutingKey>,
}

/// The carriers of a gateway. Empty by default: a sidecar reads none of them.
#[derive(Clone, Debug, Default)]
pub struct GatewayCarriers {
    /// Which are read, first hit first.
    pub order: Vec<GatewayCarrier>,
    /// The host names that hold a key; needed by [`GatewayCarrier::Host`].
    pub host_pattern: Option<HostPattern>,
    /// The query parameter's name; needed by [`GatewayCarrier::Query`].
    pub query: Option<String>,
    /// The cookie's name; needed by [`GatewayCarrier::Cookie`].
    pub cookie: Option<String>,
}

/// See [`GatewayCarriers::order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayCarrier {
    /// See [`Carrier::Host`].
    Host,
    /// See [`Carrier::Query`].
    Query,
    /// See [`Carrier::Cookie`].
    Cookie,
}

/// What becomes of a request whose carriers hold different keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnConflict {
    /// The order of the carriers decides; the loser is reported.
    #[default]
    FirstWins,
    /// The request is to be refused; see [`Extractor::refusal`](crate::Extractor::refusal).
    Reject,
}

/// Why a [`CarrierConfig`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// Not a field name, or too long for one of ours.
    #[error("custom header {0:?} is not a field name of 1 to 63 token characters")]
    HeaderName(String),
    /// A header with a meaning of its own.
    #[error("custom header {0:?} has a meaning of its own in HTTP, tracing or this proxy")]
    HeaderReserved(String),
    /// More than [`CarrierConfig::CUSTOM_HEADERS_MAX`].
    #[error("{0} custom headers; at most 8 are allowed")]
    HeaderCount(usize),
    /// Not usable in `baggage`, `tracestate` and a field name alike.
    #[error("member name {0:?} is not 1 to 48 of a-z 0-9 _ -, starting with a letter")]
    MemberName(String),
    /// More than [`CarrierConfig::LEGACY_MEMBERS_MAX`].
    #[error("{0} legacy members; at most 4 are allowed")]
    MemberCount(usize),
    /// A gateway carrier without its pattern, parameter or cookie name.
    #[error("gateway carrier {0:?} is in the order but its name or pattern is not configured")]
    GatewayUnset(GatewayCarrier),
    /// A parameter or cookie name that would need encoding.
    #[error("gateway {0:?} name {1:?} is not 1 to 63 of A-Z a-z 0-9 . _ - ~")]
    GatewayName(GatewayCarrier, String),
    /// The same name twice, header names compared without regard to case.
    #[error("{0:?} is configured twice")]
    Duplicate(String),
}

// === impl Carrier ===

impl Carrier {
    /// The carrier's name in metrics and logs: one of a closed set, never a configured name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Baggage => "baggage",
            Self::Tracestate => "tracestate",
            Self::OtBaggage => "ot-baggage",
            Self::Uberctx => "uberctx",
            Self::BaggageHeader => "baggage-header",
            Self::Legacy(MemberCarrier::Baggage) => "legacy-baggage",
            Self::Legacy(MemberCarrier::Tracestate) => "legacy-tracestate",
            Self::Legacy(MemberCarrier::OtBaggage) => "legacy-ot-baggage",
            Self::Legacy(MemberCarrier::Uberctx) => "legacy-uberctx",
            Self::Legacy(MemberCarrier::BaggageHeader) => "legacy-baggage-header",
            Self::Host => "host",
            Self::Query => "query",
            Self::Cookie => "cookie",
            Self::Own => "own",
            Self::Trace => "trace",
        }
    }

    /// Every carrier, custom headers as one, for tables of series.
    pub const ALL: [Self; 16] = [
        Self::Header(0),
        Self::Baggage,
        Self::Tracestate,
        Self::OtBaggage,
        Self::Uberctx,
        Self::BaggageHeader,
        Self::Legacy(MemberCarrier::Baggage),
        Self::Legacy(MemberCarrier::Tracestate),
        Self::Legacy(MemberCarrier::OtBaggage),
        Self::Legacy(MemberCarrier::Uberctx),
        Self::Legacy(MemberCarrier::BaggageHeader),
        Self::Host,
        Self::Query,
        Self::Cookie,
        Self::Own,
        Self::Trace,
    ];

    /// Whether the key stands in a header field, so that the next hop reads it too.
    pub(crate) fn is_forwarded(self) -> bool {
        !matches!(self, Self::Host | Self::Query | Self::Cookie | Self::Own | Self::Trace)
    }

    fn bit(self) -> u32 {
        let position = match self {
            Self::Header(_) => 0,
            Self::Baggage => 1,
            Self::Tracestate => 2,
            Self::OtBaggage => 3,
            Self::Uberctx => 4,
            Self::BaggageHeader => 5,
            Self::Legacy(MemberCarrier::Baggage) => 6,
            Self::Legacy(MemberCarrier::Tracestate) => 7,
            Self::Legacy(MemberCarrier::OtBaggage) => 8,
            Self::Legacy(MemberCarrier::Uberctx) => 9,
            Self::Legacy(MemberCarrier::BaggageHeader) => 10,
            Self::Host => 11,
            Self::Query => 12,
            Self::Cookie => 13,
            Self::Own => 14,
            Self::Trace => 15,
        };
        1 << position
    }
}

// === impl MemberCarrier ===

impl MemberCarrier {
    /// In the order of reading.
    pub(crate) const ALL: [Self; 5] =
        [Self::Baggage, Self::Tracestate, Self::OtBaggage, Self::Uberctx, Self::BaggageHeader];

    /// The field-name prefix of those that are a header of their own.
    pub(crate) fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Baggage | Self::Tracestate => None,
            Self::OtBaggage => Some("ot-baggage-"),
            Self::Uberctx => Some("uberctx-"),
            Self::BaggageHeader => Some("baggage-"),
        }
    }

    /// The carrier of member number `member`, where 0 is the main one and the others are legacy.
    pub(crate) fn carrier(self, member: usize) -> Carrier {
        match (member, self) {
            (0, Self::Baggage) => Carrier::Baggage,
            (0, Self::Tracestate) => Carrier::Tracestate,
            (0, Self::OtBaggage) => Carrier::OtBaggage,
            (0, Self::Uberctx) => Carrier::Uberctx,
            (0, Self::BaggageHeader) => Carrier::BaggageHeader,
            (_, legacy) => Carrier::Legacy(legacy),
        }
    }
}

// === impl CarrierSet ===

impl CarrierSet {
    /// Adds a carrier.
    pub fn insert(&mut self, carrier: Carrier) {
        self.0 |= carrier.bit();
    }

    /// Whether a carrier is in the set; any custom header stands for all of them.
    #[must_use]
    pub fn contains(self, carrier: Carrier) -> bool {
        self.0 & carrier.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The carriers in the order of [`Carrier::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Carrier> {
        Carrier::ALL.into_iter().filter(move |&carrier| self.contains(carrier))
    }
}

impl fmt::Debug for CarrierSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Carrier::label)).finish()
    }
}

// === impl CarrierConfig ===

impl CarrierConfig {
    /// How many custom headers can be configured.
    pub const CUSTOM_HEADERS_MAX: usize = 8;

    /// How many legacy member names can be configured.
    pub const LEGACY_MEMBERS_MAX: usize = 4;
}

impl Default for CarrierConfig {
    /// What Signadot's clients, SDKs and browser extensions send: works with them unchanged.
    fn default() -> Self {
        Self {
            custom_headers: vec!["sd-routing-key".to_owned()],
            member: "sd-routing-key".to_owned(),
            legacy_members: vec!["sd-sandbox".to_owned(), "sd-workspace".to_owned()],
            gateway: GatewayCarriers::default(),
            on_conflict: OnConflict::default(),
            own_key: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_carrier_has_a_label_and_a_bit_of_its_own() {
        let labels: HashSet<_> = Carrier::ALL.iter().map(|carrier| carrier.label()).collect();
        let bits: HashSet<_> = Carrier::ALL.iter().map(|carrier| carrier.bit()).collect();
        assert_eq!((labels.len(), bits.len()), (Carrier::ALL.len(), Carrier::ALL.len()));
    }

    #[test]
    fn a_set_holds_what_was_inserted() {
        let mut set = CarrierSet::default();
        assert!(set.is_empty());
        set.insert(Carrier::Header(3));
        set.insert(Carrier::Cookie);
        assert!(set.contains(Carrier::Header(0)) && !set.contains(Carrier::Host));
        assert_eq!(format!("{set:?}"), r#"{"header", "cookie"}"#);
    }
}
