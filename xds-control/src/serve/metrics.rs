//! Metrics of what counts in plain numbers: listeners, the directory, the model.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use spurline_core::{catalog::ResourceType, document::Kind};
use spurline_hub::Hub;
use spurline_serve::Counters;

/// The numbers of everything but the hub.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) panics: Arc<AtomicU64>,
    /// By side.
    pub(super) listeners: Vec<(&'static str, Vec<Arc<Counters>>)>,
    pub(super) directory: Option<Arc<spurline_source::Counters>>,
}

/// Reads the numbers when they are asked for.
#[derive(Debug)]
pub(super) struct Collected {
    plain: Plain,
    hub: Hub,
}

/// One metric of a listener: its name, what it is, and how it is read.
type OfListener = (&'static str, &'static str, MetricType, fn(&Counters) -> u64);

const OF_LISTENERS: [OfListener; 6] = [
    ("connections_open", "Open connections", MetricType::Gauge, Counters::open),
    ("connections_accepted", "Connections accepted", MetricType::Counter, Counters::accepted),
    (
        "connections_refused",
        "Connections closed because there were too many",
        MetricType::Counter,
        Counters::refused,
    ),
    (
        "tls_handshakes_failed",
        "TLS handshakes that failed or took too long",
        MetricType::Counter,
        Counters::handshakes_failed,
    ),
    ("tls_reloads", "Changed certificates taken into use", MetricType::Counter, Counters::reloads),
    (
        "tls_reloads_failed",
        "Changed certificates that were unusable",
        MetricType::Counter,
        Counters::reloads_failed,
    ),
];

// === impl Collected ===

impl Collected {
    pub(super) fn new(plain: Plain, hub: Hub) -> Self {
        Self { plain, hub }
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut one = |name: &str, help: &str, ty, value: u64| single(&mut encoder, (name, help, ty), value);
        one(
            "panics",
            "Bugs that ended a request or connection",
            MetricType::Counter,
            self.plain.panics.load(Relaxed),
        )?;
        let ready = u64::from(*self.hub.ready().borrow());
        one("ready", "Whether every source has been loaded", MetricType::Gauge, ready)?;
        let revision = self.hub.catalog(|catalog| catalog.revision().0);
        one("revision", "Changes of resources since the start", MetricType::Gauge, revision)?;
        let overrides = self.hub.catalog(|catalog| catalog.len(ResourceType::Override)) as u64;
        one("overrides", "Overrides in force", MetricType::Gauge, overrides)?;
        if let Some(directory) = &self.plain.directory {
            one(
                "directory_applied",
                "Times the directory was applied",
                MetricType::Counter,
                directory.applied(),
            )?;
            one(
                "directory_rejected",
                "Times something in the directory was wrong",
                MetricType::Counter,
                directory.rejected(),
            )?;
            one("directory_files", "Files in force", MetricType::Gauge, directory.files())?;
            one(
                "directory_documents",
                "Documents of files in force",
                MetricType::Gauge,
                directory.documents(),
            )?;
        }
        let documents =
            self.hub.model(|model| Kind::ALL.map(|kind| (kind.as_str(), model.list(kind).count() as u64)));
        family(&mut encoder, ("documents", "Documents", MetricType::Gauge), "kind", &documents)?;
        for (name, help, ty, read) in OF_LISTENERS {
            let sides: Vec<(&str, u64)> = self
                .plain
                .listeners
                .iter()
                .map(|(side, counters)| (*side, counters.iter().map(|counters| read(counters)).sum()))
                .collect();
            family(&mut encoder, (name, help, ty), "side", &sides)?;
        }
        Ok(())
    }
}

type Description<'a> = (&'a str, &'a str, MetricType);

fn single(encoder: &mut DescriptorEncoder<'_>, (name, help, ty): Description<'_>, value: u64) -> fmt::Result {
    let name = format!("spurline_control_{name}");
    let encoder = encoder.encode_descriptor(&name, help, None, ty)?;
    encode(encoder, ty, value)
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, ty): Description<'_>,
    label: &str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let name = format!("spurline_control_{name}");
    let mut encoder = encoder.encode_descriptor(&name, help, None, ty)?;
    for (of, value) in values {
        encode(encoder.encode_family(&[(label, *of)])?, ty, *value)?;
    }
    Ok(())
}

fn encode(
    encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ty: MetricType,
    value: u64,
) -> fmt::Result {
    match ty {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
    }
}
