//! What the control service says over gRPC: delta ADS to proxies, and the Routes API to everyone who routes by
//! himself.
//!
//! [`services`] gives both as one router; listening, TLS and authentication are the caller's. [State of the world
//! ADS][sotw] is refused with a message that names the method to use. Resources are encoded by `spurline-core` once and
//! sent to any number of streams as they are.
//!
//! [sotw]: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#variants-of-the-xds-transport-protocol

mod ads;
mod feed;
mod frame;
mod metrics;
mod routes;
mod session;

use std::{sync::Arc, time::Duration};

use axum::Router;
use prometheus_client::registry::Registry;
use spurline_api::routes::routes_server::RoutesServer;
use spurline_hub::Hub;

/// What bounds the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which replica it is: the first part of `system_version_info`, for people and logs. Default `spurline-control`.
    pub identity: String,
    /// ADS streams at a time; more are refused. Default 20,000.
    pub streams_max: usize,
    /// ADS streams that are brought up to date for the first time at a time; others wait. Default 200.
    pub initial_syncs_max: usize,
    /// After this a stream gives its place up to the next that waits, up to date or not. Default 5 s.
    pub initial_sync_timeout: Duration,
    /// Subscriptions of one stream, all types together. Default 4,096.
    pub subscriptions_max: usize,
    /// Bytes of resources in one response. Default 512 KiB.
    pub response_bytes_max: usize,
    /// Bytes of one request; what a client has when it comes back is in it, of ours at most 2 MiB. Default 4 MiB.
    pub request_bytes_max: usize,
    /// After this an unanswered response counts as lost. Default 5 s.
    pub answer_timeout: Duration,
    /// How long a stream lives, 20 % more or less, so that clients spread over replicas. Default 30 min.
    pub stream_age_max: Duration,
    /// Watches of the Routes API at a time; more are refused. Default 1,000.
    pub watchers_max: usize,
    /// Rules in one answer of the Routes API; more are refused. Default 100,000.
    pub rules_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            identity: "spurline-control".to_owned(),
            streams_max: 20_000,
            initial_syncs_max: 200,
            initial_sync_timeout: Duration::from_secs(5),
            subscriptions_max: 4096,
            response_bytes_max: 512 * 1024,
            request_bytes_max: 4 * 1024 * 1024,
            answer_timeout: Duration::from_secs(5),
            stream_age_max: Duration::from_secs(30 * 60),
            watchers_max: 1000,
            rules_max: 100_000,
        }
    }
}

/// The gRPC services on their paths. They answer nobody before the hub is ready, and end their streams when it stops.
pub fn services(hub: &Hub, settings: Settings, registry: &mut Registry) -> Router {
    let metrics = metrics::Metrics::register(registry);
    let settings = Arc::new(settings);
    let routes = routes::RoutesService::new(hub.clone(), &settings, &metrics);
    let ads = ads::Ads::new(hub.clone(), settings, metrics);
    Router::new().merge(ads.router()).route_service("/routes.Routes/{method}", RoutesServer::new(routes))
}
