//! One watch of the Routes API: ADD for everything, one SYNCED, then what changes.
//!
//! A watcher that does not read is not queued for: it gets the outcome of everything that happened meanwhile. Of what it
//! was told only a hash of each name and the sandbox are kept.

use std::time::Instant;

use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use spurline_api::routes::{WorkloadRoutingRuleOp, WorkloadRoutingRulesRequest};
use spurline_core::catalog::{Pattern, ResourceType, Revision};
use spurline_hub::Hub;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::sleep_until,
};
use tonic::Status;

use super::{rule::Wanted, told::Told};
use crate::feed::{Feed, Known};

/// Bytes of overrides that are turned into messages at a time.
const CHUNK_BYTES: usize = 16 * 1024;

pub(super) struct Watch {
    hub: Hub,
    published: watch::Receiver<Revision>,
    stopped: watch::Receiver<bool>,
    pattern: Pattern,
    feed: Option<Feed>,
    told: Told,
    deadline: Option<Instant>,
    chunk_bytes: usize,
    is_caught_up: bool,
    watchers: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    pub(super) fn open(
        hub: &Hub,
        request: WorkloadRoutingRulesRequest,
        (place, watchers): (OwnedSemaphorePermit, Gauge),
        deadline: Option<Instant>,
    ) -> Self {
        watchers.inc();
        let told = Told::new(Wanted::new(request));
        Self {
            hub: hub.clone(),
            published: hub.published(),
            stopped: hub.stopped(),
            pattern: told.pattern(),
            feed: None,
            told,
            deadline,
            chunk_bytes: CHUNK_BYTES,
            is_caught_up: false,
            watchers,
            _place: place,
        }
    }

    /// What to tell, until the watch ends.
    pub(super) fn ops(
        self,
    ) -> impl futures_util::Stream<Item = Result<WorkloadRoutingRuleOp, Status>> + Send {
        unfold(Some(self), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(op) => Some((Ok(op), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<WorkloadRoutingRuleOp, Status> {
        loop {
            if let Some(op) = self.told.pop() {
                return Ok(op);
            }
            if self.is_caught_up {
                self.wait().await?;
            }
            self.fill()?;
        }
    }

    async fn wait(&mut self) -> Result<(), Status> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            published = self.published.changed() => {
                published.map_err(|_| Status::unavailable("shutting down"))
            }
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(Status::unavailable("shutting down")),
            () = deadline => Err(Status::deadline_exceeded("the deadline of the request has passed")),
        }
    }

    fn fill(&mut self) -> Result<(), Status> {
        let Self { feed, pattern, told, .. } = self;
        told.make_room(self.chunk_bytes);
        let filled = self.hub.catalog(|catalog| {
            let feed = feed.get_or_insert_with(|| Feed::listing(catalog.revision()));
            feed.fill((catalog, ResourceType::Override), pattern, &mut Known::new(), told)
        });
        self.is_caught_up =
            filled.map_err(|truncated| Status::unavailable(format!("{truncated}; watch again")))?;
        if self.is_caught_up {
            self.told.sync();
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.dec();
    }
}

#[cfg(test)]
mod tests;
