//! The Routes API over gRPC, compatible with github.com/signadot/routesapi: what runs for which key, for consumers of
//! message queues and others who route by themselves.
//!
//! Rules are the overrides that proxies get. Hosts are addresses in digits. Nothing is written here.

mod rule;
mod told;
mod watch;

use std::{pin::Pin, sync::Arc, time::Instant};

use futures_util::Stream;
use spurline_api::routes::{
    GetClusterServicesRequest, GetClusterServicesResponse, GetWorkloadRoutingRulesResponse,
    WorkloadRoutingRuleOp, WorkloadRoutingRulesRequest, routes_server::Routes,
};
use spurline_hub::Hub;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::{Settings, ads::ready, frame, metrics::Metrics};
use watch::Watch;

#[derive(Debug)]
pub(crate) struct RoutesService {
    hub: Hub,
    rules_max: usize,
    watchers_max: usize,
    watchers: Arc<Semaphore>,
    metrics: Metrics,
}

impl RoutesService {
    pub(crate) fn new(hub: Hub, settings: &Settings, metrics: &Metrics) -> Self {
        Self {
            hub,
            rules_max: settings.rules_max,
            watchers_max: settings.watchers_max,
            watchers: Arc::new(Semaphore::new(settings.watchers_max)),
            metrics: metrics.clone(),
        }
    }

    fn too_many(&self) -> Status {
        let max = self.rules_max;
        Status::resource_exhausted(format!(
            "more than {max} in one answer; allowed: a narrower filter, or a watch"
        ))
    }
}

#[tonic::async_trait]
impl Routes for RoutesService {
    type WatchWorkloadRoutingRulesStream =
        Pin<Box<dyn Stream<Item = Result<WorkloadRoutingRuleOp, Status>> + Send>>;

    async fn get_workload_routing_rules(
        &self,
        request: Request<WorkloadRoutingRulesRequest>,
    ) -> Result<Response<GetWorkloadRoutingRulesResponse>, Status> {
        ready(&self.hub)?;
        let Some(filter) = rule::filter(&request.into_inner()) else {
            return Ok(Response::new(GetWorkloadRoutingRulesResponse::default()));
        };
        let rules: Vec<_> = self.hub.model(|model| {
            model.rules(&filter).take(self.rules_max + 1).map(|rule| rule::to_wire(&rule)).collect()
        });
        if rules.len() > self.rules_max {
            return Err(self.too_many());
        }
        Ok(Response::new(GetWorkloadRoutingRulesResponse { routing_rules: rules }))
    }

    async fn watch_workload_routing_rules(
        &self,
        request: Request<WorkloadRoutingRulesRequest>,
    ) -> Result<Response<Self::WatchWorkloadRoutingRulesStream>, Status> {
        ready(&self.hub)?;
        let place = Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{} watches are open, which is the most", self.watchers_max))
        })?;
        let deadline = frame::timeout(&request.metadata().clone().into_headers())
            .map(|timeout| Instant::now() + timeout);
        let watch =
            Watch::open(&self.hub, request.into_inner(), (place, self.metrics.watchers.clone()), deadline);
        Ok(Response::new(Box::pin(watch.ops())))
    }

    async fn get_cluster_services(
        &self,
        _request: Request<GetClusterServicesRequest>,
    ) -> Result<Response<GetClusterServicesResponse>, Status> {
        ready(&self.hub)?;
        let services = self.hub.model(|model| rule::services(model, self.rules_max + 1));
        if services.len() > self.rules_max {
            return Err(self.too_many());
        }
        Ok(Response::new(GetClusterServicesResponse { services }))
    }
}
