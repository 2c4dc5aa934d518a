//! When streams learn of what was applied, by a clock that moves only while everybody waits.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixture/edits.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod edits;

use std::time::Duration;

use edits::put;
use spurline_core::catalog::{Catalog, Pattern, ResourceType, Revision};
use spurline_hub::{Debounce, Hub};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// A hub whose publisher runs, and when it published what.
struct Published {
    hub: Hub,
    start: Instant,
    publisher: JoinHandle<()>,
    seen: JoinHandle<Vec<(u128, Revision)>>,
}

impl Published {
    /// Long idle when it returns, one second after its start.
    async fn start() -> Self {
        let (hub, publisher) = Hub::new(Debounce::default());
        let (mut published, mut stopped) = (hub.published(), hub.stopped());
        let start = Instant::now();
        let publisher = tokio::spawn(publisher.run());
        let seen = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return seen,
                    _ = published.changed() => {
                        seen.push((start.elapsed().as_millis(), *published.borrow_and_update()));
                    }
                }
            }
        });
        sleep(Duration::from_secs(1)).await;
        Self { hub, start, publisher, seen }
    }

    /// Applies a change so many milliseconds after the start.
    async fn apply_at(&self, at_ms: u64) -> Revision {
        sleep_until(self.start + Duration::from_millis(at_ms)).await;
        let port = u16::try_from(at_ms).expect("it is short");
        self.hub.apply(vec![put("a", &[("cart", port)])])
    }

    /// What was published since the first second.
    async fn end(self) -> Vec<(u128, Revision)> {
        sleep(Duration::from_secs(10)).await;
        self.hub.stop();
        self.publisher.await.expect("it ends");
        let seen = self.seen.await.expect("it ends");
        seen.into_iter().filter(|(at_ms, _)| *at_ms >= 1000).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_after_a_pause_is_published_at_once() {
    let published = Published::start().await;
    let first = published.apply_at(1000).await;
    let second = published.apply_at(1100).await;
    assert_eq!(published.end().await, [(1000, first), (1100, second)]);
}

#[tokio::test(start_paused = true)]
async fn changes_that_follow_are_published_together_when_it_is_quiet() {
    let published = Published::start().await;
    let first = published.apply_at(1000).await;
    for at in [1010, 1055] {
        published.apply_at(at).await;
    }
    let last = published.apply_at(1104).await;
    assert_eq!(published.end().await, [(1000, first), (1154, last)]);
}

#[tokio::test(start_paused = true)]
async fn changes_without_end_are_published_before_they_are_too_old() {
    let published = Published::start().await;
    let mut last = Revision::default();
    for at in (1000..2030).step_by(30) {
        last = published.apply_at(at).await;
    }
    let seen = published.end().await;
    assert_eq!(seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1000, 1530, 2040]);
    assert_eq!(seen.last().expect("some").1, last);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_woken_once_for_a_burst_and_for_nothing_it_did_not_ask_for() {
    let published = Published::start().await;
    let hub = published.hub.clone();
    let mut guard = hub.open_stream();
    guard.subscribe(ResourceType::Override, &Pattern::Prefix("shop/Deployment/cart/".into()));
    let mut other = hub.open_stream();
    other.subscribe(ResourceType::Override, &Pattern::Prefix("shop/Deployment/web/".into()));
    for at in [1000, 1020, 1040] {
        let revision = published.apply_at(at).await;
        assert_eq!(hub.catalog(Catalog::revision), revision, "whoever looks sees it at once");
    }
    assert!(guard.woken().await.contains(ResourceType::Override));
    // The first was published at once, and the others are under way.
    assert!(guard.woken().await.contains(ResourceType::Override));
    assert_eq!(published.start.elapsed().as_millis(), 1090);
    let again = tokio::time::timeout(Duration::from_secs(5), guard.woken()).await;
    assert!(again.is_err(), "{again:?}");
    let woken = tokio::time::timeout(Duration::from_secs(5), other.woken()).await;
    assert!(woken.is_err(), "{woken:?}");
    published.end().await;
}
