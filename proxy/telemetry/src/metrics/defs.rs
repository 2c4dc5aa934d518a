//! The table of series: one entry per family with its name, labels and help. Everything else is derived from it.

use super::labels::{
    Breaker, By, CarrierLabel, Closing, ConnectResult, ControlDirection, Detected, Direction, FileUpdate,
    Flood, Handshake, Limit, ListenerKind, Reason, Refusal, ResourceUpdate, RetryReason, SelectionLabel,
    Side, SnapshotEvent, StatusClass, StreamEnd, TableUpdate, TunnelKind,
};

/// One metric family. A family without labels has one series, others one per combination of label values.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the `_total` that the text format appends to counters.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [Label],
}

/// A label of a family and its possible values with their meaning.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) values: &'static [(&'static str, &'static str)],
}

impl Family {
    /// Number of series of this family.
    pub(super) const fn width(&self) -> usize {
        let mut width = 1;
        let mut labels = self.labels;
        while let [label, rest @ ..] = labels {
            width *= label.values.len();
            labels = rest;
        }
        width
    }
}

/// Number of series in the first `count` families: where the next family begins.
const fn series_before(families: &[Family], count: usize) -> usize {
    let mut sum = 0;
    let mut seen = 0;
    let mut families = families;
    while let [family, rest @ ..] = families {
        if seen == count {
            break;
        }
        sum += family.width();
        seen += 1;
        families = rest;
    }
    sum
}

/// Defines an enum of families. `index` gives every series its place in a shard; with the constant labels of a call
/// site it compiles to a constant.
macro_rules! families {
    ($(#[$meta:meta])* $set:ident { $(
        $(#[doc = $help:literal])+ $variant:ident $(($($label:ident: $type:ident),+))? = $name:literal;
    )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $set { $($(#[doc = $help])+ $variant $(($($type),+))?,)+ }

        impl $set {
            pub(super) const FAMILIES: &'static [Family] = &[$(Family {
                name: $name,
                help: concat!($($help),+),
                labels: &[$($(Label { name: stringify!($label), values: $type::VALUES }),+)?],
            },)+];
            /// Number of series in all families.
            pub(super) const SERIES: usize = series_before(Self::FAMILIES, Self::FAMILIES.len());

            #[inline]
            pub(super) const fn index(self) -> usize {
                enum Ordinal { $($variant,)+ }
                match self {$(
                    Self::$variant $(($($label),+))? => {
                        let offset = 0;
                        $($(let offset = offset * $type::VALUES.len() + $label as usize;)+)?
                        offset + const { series_before(Self::FAMILIES, Ordinal::$variant as usize) }
                    }
                )+}
            }
        }
    };
}

families! {
    /// What is counted. Counters only grow; they start at zero with the process.
    Counter {
        /// Connections accepted.
        ConnectionsAccepted(listener: ListenerKind) = "spurline_connections_accepted";
        /// Connections closed before anything was read from them.
        ConnectionsRefused(reason: Refusal) = "spurline_connections_refused";
        /// Times accepting paused because the process had no descriptors left.
        AcceptPauses = "spurline_accept_pauses";
        /// Connections by what their first bytes turned out to be; what is inside of TLS that ended here counts again.
        Detected(protocol: Detected) = "spurline_detected";
        /// TLS with clients, on listeners that end it, by what became of it.
        TlsHandshakes(result: Handshake) = "spurline_tls_handshakes";
        /// Changed certificate files, by what became of them.
        TlsReloads(result: FileUpdate) = "spurline_tls_reloads";
        /// Requests by where they went and the class of the status sent.
        Requests(selection: SelectionLabel, class: StatusClass) = "spurline_requests";
        /// Routing keys read, by carrier.
        KeysRead(carrier: CarrierLabel) = "spurline_keys_read";
        /// Requests whose carriers hold different routing keys.
        KeyConflicts = "spurline_key_conflicts";
        /// Carriers whose value is not a routing key; ignored and forwarded as they came.
        KeyMalformed = "spurline_key_malformed";
        /// Requests with a routing key that the route table does not know.
        KeyUnknown = "spurline_key_unknown";
        /// Requests whose baggage had no room for the routing key; a header carries it alone.
        BaggageFull = "spurline_baggage_full";
        /// Requests whose key no carrier could take, so that the next hop does not read it.
        KeysLost = "spurline_keys_lost";
        /// Requests with a signed key that did not count: forged, expired or for another audience.
        TokensRefused = "spurline_tokens_refused";
        /// Requests from which untrusted carriers were removed.
        KeysStripped = "spurline_keys_stripped";
        /// Requests that the proxy answered itself.
        LocalReplies(reason: Reason) = "spurline_local_replies";
        /// Attempts to connect upstream.
        UpstreamConnects(result: ConnectResult) = "spurline_upstream_connects";
        /// Requests sent on a kept upstream connection.
        UpstreamReused = "spurline_upstream_reused";
        /// Requests sent again.
        Retries(reason: RetryReason) = "spurline_retries";
        /// Retries not made because the retry budget was used up.
        RetryBudgetExhausted = "spurline_retry_budget_exhausted";
        /// Endpoints taken out of rotation after consecutive failures.
        Ejections = "spurline_ejections";
        /// Requests balanced over all endpoints because too few were healthy.
        PanicMode = "spurline_panic_mode";
        /// Requests refused by an open circuit breaker.
        BreakerOpen(breaker: Breaker) = "spurline_breaker_open";
        /// Times a named limit was reached.
        LimitsReached(limit: Limit) = "spurline_limits_reached";
        /// Connections turned into tunnels.
        Tunnels(kind: TunnelKind) = "spurline_tunnels";
        /// Tunnels closed because the override that led to their fork was removed.
        TunnelsCut = "spurline_tunnels_cut";
        /// HTTP/2 connections on which the prefaces were exchanged.
        Http2Connections(side: Side) = "spurline_http2_connections";
        /// HTTP/2 connections ended because the peer broke the protocol; floods count here too.
        Http2ConnectionErrors(side: Side) = "spurline_http2_connection_errors";
        /// HTTP/2 connections ended because the peer exceeded a budget.
        Http2Floods(side: Side, flood: Flood) = "spurline_http2_floods";
        /// GOAWAY frames; the two of a graceful end count once.
        Http2GoAways(side: Side, by: By) = "spurline_http2_goaways";
        /// HTTP/2 streams opened.
        Http2Streams(side: Side) = "spurline_http2_streams";
        /// HTTP/2 streams reset.
        Http2Resets(side: Side, by: By) = "spurline_http2_resets";
        /// Bytes moved, heads and framing included.
        Bytes(direction: Direction) = "spurline_bytes";
        /// New route tables, by what became of them.
        TableUpdates(result: TableUpdate) = "spurline_table_updates";
        /// Streams to the control service that were tried; all but the first are reconnections.
        ControlStreams = "spurline_control_streams";
        /// Streams to the control service that ended, by how.
        ControlStreamEnds(end: StreamEnd) = "spurline_control_stream_ends";
        /// Responses of the control service.
        ControlResponses = "spurline_control_responses";
        /// Responses of the control service that were rejected, in part or as a whole.
        ControlRejections = "spurline_control_rejections";
        /// Resources of the control service, by what became of them.
        ControlUpdates(result: ResourceUpdate) = "spurline_control_updates";
        /// Bytes of messages exchanged with the control service, without framing.
        ControlBytes(direction: ControlDirection) = "spurline_control_bytes";
        /// Snapshots of what the control service sent, by what became of them.
        ControlSnapshots(result: SnapshotEvent) = "spurline_control_snapshots";
        /// Requests given up by the client before their response was complete.
        DownstreamAborts = "spurline_downstream_aborts";
        /// Upstream connections that broke off before or within a response; kept ones that were closed in time do not count.
        UpstreamResets = "spurline_upstream_resets";
        /// Connections ended during a drain.
        DrainedConnections(how: Closing) = "spurline_drained_connections";
        /// Access-log lines lost because the queue was full or the write failed.
        AccessLogDropped = "spurline_access_log_dropped";
        /// Log lines lost because the queue was full or the write failed.
        LogDropped = "spurline_log_dropped";
        /// Panics caught. Every one is a bug.
        Panics = "spurline_panics";
    }
}

families! {
    /// What is measured as a level. The value served is the sum over all workers.
    Gauge {
        /// Downstream connections open now.
        ConnectionsActive = "spurline_connections_active";
        /// Upstream connections open now, idle ones included.
        UpstreamConnectionsActive = "spurline_upstream_connections_active";
        /// Upstream connections kept open without a request.
        UpstreamIdle = "spurline_upstream_idle";
        /// HTTP/2 connections open now.
        Http2ConnectionsActive(side: Side) = "spurline_http2_connections_active";
        /// HTTP/2 streams open now.
        Http2StreamsActive(side: Side) = "spurline_http2_streams_active";
        /// Endpoints out of rotation now, counted once per worker.
        Ejected = "spurline_ejected";
        /// When the first of the certificates that clients are shown ends, in seconds since 1970; 0: there is none.
        TlsCertificateExpiry = "spurline_tls_certificate_expiry_seconds";
        /// Generation of the route table in force; 0 is the empty table.
        TableGeneration = "spurline_table_generation";
        /// Overrides in the route table in force.
        TableOverrides = "spurline_table_overrides";
        /// 1 while a stream to the control service is open and has been answered.
        ControlConnected = "spurline_control_connected";
        /// Resources that are known of the control service.
        ControlResources = "spurline_control_resources";
        /// When the control service last sent something, in seconds since 1970; 0: never. An idle stream is silent.
        ControlLastContact = "spurline_control_last_contact_seconds";
    }
}

families! {
    /// What is measured as a distribution, in seconds, over fixed buckets.
    Histogram {
        /// Time from the first byte of a request head to the last byte of its response.
        RequestDuration = "spurline_request_duration_seconds";
        /// Time to read what the control service sent, build the next route table and put it in force.
        TableApply = "spurline_table_apply_duration_seconds";
    }
}

/// Upper bounds of the histogram buckets in microseconds; what is above the last one falls into `+Inf`.
pub(super) const BOUNDS_MICROS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all_families() -> impl Iterator<Item = &'static Family> {
        Counter::FAMILIES.iter().chain(Gauge::FAMILIES).chain(Histogram::FAMILIES)
    }

    #[test]
    fn every_series_of_two_labels_has_its_own_index() {
        let mut seen = BTreeSet::new();
        for selection in SelectionLabel::ALL {
            for class in StatusClass::ALL {
                assert!(seen.insert(Counter::Requests(*selection, *class).index()));
            }
        }
        assert_eq!(seen.len(), SelectionLabel::ALL.len() * StatusClass::ALL.len());
        assert_eq!(
            Counter::Requests(SelectionLabel::Local, StatusClass::Aborted).index() + 1,
            Counter::KeysRead(CarrierLabel::Header).index()
        );
    }

    #[test]
    fn the_last_family_ends_where_the_shard_ends() {
        assert_eq!(Counter::Panics.index() + 1, Counter::SERIES);
        assert_eq!(Gauge::ControlLastContact.index() + 1, Gauge::SERIES);
    }

    #[test]
    fn names_are_unique_and_follow_the_rules_of_the_text_format() {
        let mut names = BTreeSet::new();
        for family in all_families() {
            assert!(names.insert(family.name), "{} twice", family.name);
            assert!(family.name.starts_with("spurline_"), "{}", family.name);
            assert!(!family.name.ends_with("_total"), "{}: the encoder adds _total", family.name);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(family.name.bytes().all(plain), "{}", family.name);
        }
    }

    #[test]
    fn label_values_are_unique_and_never_need_escaping() {
        for label in all_families().flat_map(|family| family.labels) {
            let values: BTreeSet<_> = label.values.iter().map(|(value, _)| *value).collect();
            assert_eq!(values.len(), label.values.len(), "{}", label.name);
            for value in values {
                assert!(value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }
    }
}
