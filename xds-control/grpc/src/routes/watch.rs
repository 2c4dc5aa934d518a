//! One watch of the Routes API: ADD for everything, one SYNCED, then what changes.
//!
//! A watcher that does not read is not queued for: it gets the outcome of everything that happened meanwhile. Of what it
//! was told only a hash of each name is kept.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Instant,
};

use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use spurline_api::routes::{
    WatchOp, WorkloadRoutingRule, WorkloadRoutingRuleOp, WorkloadRoutingRulesRequest,
};
use spurline_core::catalog::{Entry, Pattern, ResourceType, Revision};
use spurline_hub::Hub;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::sleep_until,
};
use tonic::Status;

use super::rule::Wanted;
use crate::feed::{Feed, Known, Sink};

/// Bytes of overrides that are turned into messages at a time.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct Watch {
    hub: Hub,
    published: watch::Receiver<Revision>,
    stopped: watch::Receiver<bool>,
    pattern: Pattern,
    feed: Option<Feed>,
    told: Told,
    deadline: Option<Instant>,
    is_synced: bool,
    is_caught_up: bool,
    watchers: Gauge,
    _place: OwnedSemaphorePermit,
}

/// What was told, and what is to be told next.
struct Told {
    wanted: Wanted,
    hasher: RandomState,
    /// Hashes of the names of the rules that the watcher has.
    names: HashSet<u64>,
    next: VecDeque<WorkloadRoutingRuleOp>,
    room: usize,
}

impl Watch {
    pub(super) fn open(
        hub: &Hub,
        request: WorkloadRoutingRulesRequest,
        (place, watchers): (OwnedSemaphorePermit, Gauge),
        deadline: Option<Instant>,
    ) -> Self {
        watchers.inc();
        let wanted = Wanted::new(request);
        Self {
            hub: hub.clone(),
            published: hub.published(),
            stopped: hub.stopped(),
            pattern: wanted.pattern(),
            feed: None,
            told: Told {
                wanted,
                hasher: RandomState::new(),
                names: HashSet::new(),
                next: VecDeque::new(),
                room: 0,
            },
            deadline,
            is_synced: false,
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
            if let Some(op) = self.told.next.pop_front() {
                return Ok(op);
            }
            if self.is_caught_up {
                if !std::mem::replace(&mut self.is_synced, true) {
                    return Ok(WorkloadRoutingRuleOp { op: WatchOp::Synced.into(), route: None });
                }
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
        told.room = CHUNK_BYTES;
        let filled = self.hub.catalog(|catalog| {
            let feed = feed.get_or_insert_with(|| Feed::listing(catalog.revision()));
            feed.fill((catalog, ResourceType::Override), pattern, &mut Known::new(), told)
        });
        self.is_caught_up =
            filled.map_err(|truncated| Status::unavailable(format!("{truncated}; watch again")))?;
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.dec();
    }
}

impl Told {
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    fn tell(&mut self, op: WatchOp, route: WorkloadRoutingRule) {
        self.next.push_back(WorkloadRoutingRuleOp { op: op.into(), route: Some(route) });
    }

    fn forget(&mut self, name: &str) {
        if self.names.remove(&self.hash(name))
            && let Some(rule) = self.wanted.named(name)
        {
            self.tell(WatchOp::Remove, rule);
        }
    }
}

impl Sink for Told {
    fn room(&self) -> usize {
        self.room
    }

    fn changed(&mut self, entry: &Entry) {
        self.room = self.room.saturating_sub(entry.resource().len());
        let Some(rule) = self.wanted.rule(entry) else {
            // It may have been one until its sandbox changed.
            self.forget(entry.name());
            return;
        };
        let is_new = self.names.insert(self.hash(entry.name()));
        self.tell(if is_new { WatchOp::Add } else { WatchOp::Replace }, rule);
    }

    fn removed(&mut self, name: &Arc<str>) {
        self.room = self.room.saturating_sub(name.len());
        self.forget(name);
    }
}
