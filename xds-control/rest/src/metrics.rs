//! Counters of the REST side. Labels come from closed sets; no name of a document, key or token is ever one.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// What the writer counts.
#[derive(Clone, Debug)]
pub(crate) struct WriterMetrics {
    documents: Gauge,
    batches: Counter,
    writes: Counter,
    failures: Counter,
    ended: Counter,
    commit_seconds: Histogram,
}

/// What the router counts.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    responses: Family<ResponseLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    pub(crate) watchers: Gauge,
    pub(crate) watchers_cut: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    method: MethodLabel,
    class: StatusClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum MethodLabel {
    Get,
    Put,
    Post,
    Delete,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum StatusClass {
    Success,
    Redirect,
    Client,
    Server,
}

/// Limits whose reaching is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Limit {
    Requests,
    Waits,
    Watchers,
    Queue,
    BodyBytes,
}

impl MethodLabel {
    const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Other];
}

impl StatusClass {
    const ALL: [Self; 4] = [Self::Success, Self::Redirect, Self::Client, Self::Server];
}

impl Limit {
    const ALL: [Self; 5] = [Self::Requests, Self::Waits, Self::Watchers, Self::Queue, Self::BodyBytes];
}

// === impl WriterMetrics ===

impl WriterMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        // 0.25 ms to 2 s: from a disk with a battery to one that is in trouble.
        let seconds = (0..14).map(|power| 0.000_25 * f64::from(1 << power));
        let metrics = Self {
            documents: Gauge::default(),
            batches: Counter::default(),
            writes: Counter::default(),
            failures: Counter::default(),
            ended: Counter::default(),
            commit_seconds: Histogram::new(seconds),
        };
        let Self { documents, batches, writes, failures, ended, commit_seconds } = &metrics;
        registry.register("spurline_control_store_documents", "Documents in the store", documents.clone());
        registry.register(
            "spurline_control_store_commits",
            "Durable transactions, failed ones too",
            batches.clone(),
        );
        registry.register("spurline_control_store_writes", "Writes in those transactions", writes.clone());
        registry.register(
            "spurline_control_store_failures",
            "Transactions that could not be made durable",
            failures.clone(),
        );
        registry.register(
            "spurline_control_store_ended",
            "Documents ended by their time to live",
            ended.clone(),
        );
        registry.register(
            "spurline_control_store_commit_seconds",
            "Time from the first write of a transaction to its flush",
            commit_seconds.clone(),
        );
        metrics
    }

    pub(crate) fn documents(&self, count: usize) {
        self.documents.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn batch(&self, writes: usize) {
        self.batches.inc();
        self.writes.inc_by(writes as u64);
    }

    pub(crate) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn ended(&self, count: usize) {
        self.ended.inc_by(count as u64);
    }
}

// === impl HttpMetrics ===

impl HttpMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            responses: Family::default(),
            refused: Family::default(),
            watchers: Gauge::default(),
            watchers_cut: Counter::default(),
        };
        let Self { responses, refused, watchers, watchers_cut } = &metrics;
        registry.register("spurline_control_rest_responses", "Responses of the REST API", responses.clone());
        registry.register("spurline_control_rest_refused", "Requests refused by a limit", refused.clone());
        registry.register("spurline_control_rest_watchers", "Watches that are open", watchers.clone());
        registry.register(
            "spurline_control_rest_watchers_cut",
            "Watches ended because they fell behind",
            watchers_cut.clone(),
        );
        metrics.begin();
        metrics
    }

    /// Every series is there before anything happened: what is missing cannot be alerted on.
    fn begin(&self) {
        for method in MethodLabel::ALL {
            for class in StatusClass::ALL {
                drop(self.responses.get_or_create(&ResponseLabels { method, class }));
            }
        }
        for limit in Limit::ALL {
            drop(self.refused.get_or_create(&RefusedLabels { limit }));
        }
    }

    pub(crate) fn response(&self, method: &axum::http::Method, status: axum::http::StatusCode) {
        let method = match method.as_str() {
            "GET" | "HEAD" => MethodLabel::Get,
            "PUT" => MethodLabel::Put,
            "POST" => MethodLabel::Post,
            "DELETE" => MethodLabel::Delete,
            _ => MethodLabel::Other,
        };
        let class = match status.as_u16() {
            0..300 => StatusClass::Success,
            300..400 => StatusClass::Redirect,
            400..500 => StatusClass::Client,
            _ => StatusClass::Server,
        };
        self.responses.get_or_create(&ResponseLabels { method, class }).inc();
    }

    pub(crate) fn refused(&self, limit: Limit) {
        self.refused.get_or_create(&RefusedLabels { limit }).inc();
    }
}
