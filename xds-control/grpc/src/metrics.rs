//! What the gRPC side counts. No routing key and no node is ever a label.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use spurline_core::catalog::ResourceType;

/// What kind of program a client is, by what it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Client {
    Spurline,
    Envoy,
    Grpc,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClientLabel {
    pub(crate) client: Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TypeLabel {
    pub(crate) r#type: &'static str,
}

/// Handles to the series.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) streams: Family<ClientLabel, Gauge>,
    pub(crate) pushes: Family<TypeLabel, Counter>,
    pub(crate) push_seconds: Histogram,
    pub(crate) rejections: Family<TypeLabel, Counter>,
    pub(crate) bytes: Counter,
    pub(crate) conflations: Counter,
    pub(crate) resets: Counter,
    pub(crate) initial_syncs_waiting: Gauge,
    pub(crate) watchers: Gauge,
}

/// Upper bounds in seconds: a push to a neighbour takes a millisecond, and after the last one it counts as lost.
const PUSH_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Client {
    const ALL: [Self; 4] = [Self::Spurline, Self::Envoy, Self::Grpc, Self::Other];

    pub(crate) fn of(user_agent: &str) -> Self {
        match user_agent {
            "spurline-proxy" => Self::Spurline,
            "envoy" => Self::Envoy,
            grpc if grpc.starts_with("gRPC") => Self::Grpc,
            _ => Self::Other,
        }
    }
}

impl TypeLabel {
    pub(crate) fn of(ty: ResourceType) -> Self {
        let r#type = match ty {
            ResourceType::Override => "override",
            ResourceType::Baseline => "baseline",
            ResourceType::KeyOwner => "key_owner",
        };
        Self { r#type }
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            streams: Family::default(),
            pushes: Family::default(),
            push_seconds: Histogram::new(PUSH_SECONDS),
            rejections: Family::default(),
            bytes: Counter::default(),
            conflations: Counter::default(),
            resets: Counter::default(),
            initial_syncs_waiting: Gauge::default(),
            watchers: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("spurline_control");
        let m = metrics.clone();
        registry.register("ads_streams", "Open ADS streams", m.streams);
        registry.register("ads_pushes", "Responses sent", m.pushes);
        registry.register("ads_push_seconds", "From a response to its answer", m.push_seconds);
        registry.register(
            "ads_rejections",
            "Resources and responses that clients did not take",
            m.rejections,
        );
        registry.register("ads_sent_bytes", "Bytes of responses", m.bytes);
        registry.register(
            "ads_conflations",
            "Changes that joined others behind an unanswered response",
            m.conflations,
        );
        registry.register("ads_resets", "Streams ended because they fell behind the change log", m.resets);
        registry.register(
            "ads_initial_syncs_waiting",
            "Streams that wait to be admitted",
            m.initial_syncs_waiting,
        );
        registry.register("routes_watchers", "Open watches of the Routes API", m.watchers);
        metrics.begin();
        metrics
    }

    /// Every series is there before anything happened: what is missing cannot be alerted on.
    fn begin(&self) {
        for client in Client::ALL {
            drop(self.streams.get_or_create(&ClientLabel { client }));
        }
        for ty in ResourceType::ALL {
            for counted in [&self.pushes, &self.rejections] {
                drop(counted.get_or_create(&TypeLabel::of(ty)));
            }
        }
    }
}
