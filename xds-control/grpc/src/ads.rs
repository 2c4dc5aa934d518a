//! The aggregated discovery service: who gets a stream, and when.
//!
//! A stream is one future that reads requests, waits to be woken and gives responses, polled by the connection it lies
//! on. It has no queue, and no task but a short one at first, so that a client that does not read holds back nothing but
//! itself. While it does not, the future is not polled and no time passes in it: closing such connections is the
//! listener's.

mod stream;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use spurline_hub::Hub;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, codec::Streaming};

use crate::{Settings, frame, metrics::Metrics};
use stream::Stream;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// What all streams share.
#[derive(Debug, Clone)]
pub(crate) struct Ads {
    hub: Hub,
    settings: Arc<Settings>,
    metrics: Metrics,
    places: Arc<Semaphore>,
    initial_syncs: Arc<Semaphore>,
}

impl Ads {
    pub(crate) fn new(hub: Hub, settings: Arc<Settings>, metrics: Metrics) -> Self {
        Self {
            hub,
            metrics,
            places: Arc::new(Semaphore::new(settings.streams_max)),
            initial_syncs: Arc::new(Semaphore::new(settings.initial_syncs_max)),
            settings,
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route(DELTA, post(delta))
            .route(STATE_OF_THE_WORLD, post(state_of_the_world))
            .with_state(self)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let max = self.settings.streams_max;
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted(format!("{max} streams are open, which is the most")))
    }
}

async fn delta(State(ads): State<Ads>, request: Request) -> Response {
    match open(ads, request) {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

fn open(ads: Ads, request: Request) -> Result<Response, Status> {
    frame::check(&request)?;
    ready(&ads.hub)?;
    let place = ads.place()?;
    let timeout = frame::timeout(request.headers());
    let requests = Streaming::new_request(
        frame::SmallDecoder::new(),
        request.into_body(),
        None,
        Some(ads.settings.request_bytes_max),
    );
    // The headers do not wait for the first request: clients may wait for them before they send it.
    Ok(frame::respond(Stream::open(ads, requests, place, timeout).responses()))
}

/// Half of the documents would read as if the others had been deleted.
pub(crate) fn ready(hub: &Hub) -> Result<(), Status> {
    if *hub.stopped().borrow() {
        return Err(Status::unavailable("shutting down"));
    }
    if *hub.ready().borrow() {
        return Ok(());
    }
    Err(Status::unavailable(format!("still loading: {}", hub.waiting_for().join(", "))))
}

async fn state_of_the_world() -> Response<Body> {
    Status::unimplemented(
        "state of the world is not served; allowed: the incremental variant, DeltaAggregatedResources",
    )
    .into_http()
}
