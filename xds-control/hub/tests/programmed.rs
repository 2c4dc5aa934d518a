//! Who has what, in single cases and against a model that keeps everything and counts by looking at all of it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "fixture/edits.rs"]
mod edits;
#[path = "programmed/model.rs"]
mod model;

use std::{sync::Arc, time::Duration};

use edits::{delete, id, put};
use spurline_core::catalog::{Pattern, ResourceType, Revision};
use spurline_hub::{Debounce, Hub, Node, Programmed, REJECTIONS_MAX, Rejection, StreamGuard};
use tokio::time::Instant;

const OVERRIDE: ResourceType = ResourceType::Override;

fn stream(hub: &Hub, node: &str, pattern: &Pattern) -> StreamGuard {
    let mut guard = hub.open_stream();
    guard.describe(Node { id: node.to_owned(), ..Node::default() });
    guard.subscribe(OVERRIDE, pattern);
    guard
}

fn rejection(name: Option<&str>, revision: Revision) -> Rejection {
    Rejection { name: name.map(Arc::from), revision, reason: "no".to_owned() }
}

/// Those that have it, and those that need it.
fn counts(programmed: &Programmed) -> (usize, usize) {
    (programmed.acknowledged, programmed.proxies)
}

#[test]
fn what_is_rejected_beyond_what_is_kept_is_not_programmed() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let known = hub.apply(vec![put("known", &[("cart", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::All);
    guard.acknowledged(OVERRIDE, known);
    let names: Vec<String> = (0..=REJECTIONS_MAX).map(|number| format!("s{number}")).collect();
    let revision = hub.apply(names.iter().map(|name| put(name, &[("cart", 1)])).collect());
    for name in &names {
        guard.rejected(OVERRIDE, rejection(Some(&format!("shop/Deployment/cart/{name}")), revision));
    }
    guard.acknowledged(OVERRIDE, revision);
    for name in &names {
        let programmed = hub.programmed(&id(name));
        assert_eq!(counts(&programmed), (0, 1), "{name}");
        assert!(programmed.is_settled() && !programmed.rejected.is_empty(), "{name}: {programmed:?}");
    }
    assert_eq!(counts(&hub.programmed(&id("known"))), (1, 1), "it was taken before");
    let later = hub.apply(vec![put("later", &[("cart", 1)]), put("s7", &[("cart", 2)])]);
    guard.acknowledged(OVERRIDE, later);
    assert_eq!(counts(&hub.programmed(&id("later"))), (1, 1));
    assert_eq!(counts(&hub.programmed(&id("s7"))), (1, 1), "it changed, and was taken");
    assert_eq!(counts(&hub.programmed(&id(names.last().unwrap()))), (0, 1));
    let rejections = &hub.streams().list(1)[0].rejections;
    assert_eq!(rejections.iter().filter(|(_, rejection)| rejection.name.is_none()).count(), 1);
}

#[test]
fn a_response_that_is_rejected_as_a_whole_takes_nothing_back_that_was_taken() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let first = hub.apply(vec![put("a", &[("cart", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::Prefix("shop/Deployment/cart/".into()));
    guard.acknowledged(OVERRIDE, first);
    let second = hub.apply(vec![put("b", &[("cart", 2)])]);
    guard.rejected(OVERRIDE, rejection(None, second));
    assert_eq!(counts(&hub.programmed(&id("a"))), (1, 1));
    let rejected = hub.programmed(&id("b"));
    assert_eq!((counts(&rejected), rejected.is_settled()), ((0, 1), true));
    assert_eq!((&*rejected.rejected[0].node, &*rejected.rejected[0].reason), ("n", "no"));
    guard.acknowledged(OVERRIDE, second);
    assert_eq!(counts(&hub.programmed(&id("b"))), (1, 1), "it was told again, and taken");
}

#[test]
fn what_is_rejected_stays_so_when_something_else_under_the_pattern_is_taken() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let first = hub.apply(vec![put("a", &[("cart", 1), ("web", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::All);
    guard.rejected(OVERRIDE, rejection(Some("shop/Deployment/cart/a"), first));
    guard.acknowledged(OVERRIDE, first);
    let second = hub.apply(vec![put("a", &[("cart", 1), ("web", 2)])]);
    guard.acknowledged(OVERRIDE, second);
    assert_eq!(counts(&hub.programmed(&id("a"))), (0, 1));
    let third = hub.apply(vec![put("a", &[("cart", 2), ("web", 2)])]);
    guard.acknowledged(OVERRIDE, third);
    assert_eq!(counts(&hub.programmed(&id("a"))), (1, 1));
}

#[test]
fn what_is_gone_has_to_be_known_to_be_gone() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let first = hub.apply(vec![put("a", &[("cart", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::All);
    guard.acknowledged(OVERRIDE, first);
    let names = hub.model(|model| model.resources_of(&id("a")));
    let gone = hub.apply(vec![delete("a")]);
    assert_eq!(counts(&hub.programmed_names(&names, gone)), (0, 1));
    guard.acknowledged(OVERRIDE, gone);
    assert_eq!(counts(&hub.programmed_names(&names, gone)), (1, 1));
    drop(guard);
    assert_eq!(counts(&hub.programmed_names(&names, gone)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_last_has_it_and_at_the_deadline() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let revision = hub.apply(vec![put("a", &[("cart", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::All);
    let start = Instant::now();
    let deadline = start + Duration::from_secs(5);
    assert_eq!(counts(&hub.wait_programmed(&id("a"), deadline).await), (0, 1));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let waiting: Vec<_> = (0..1024)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move {
                counts(&hub.wait_programmed(&id("a"), Instant::now() + Duration::from_secs(60)).await)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    guard.acknowledged(OVERRIDE, revision);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), (1, 1));
    }
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
}

/// A wait of `span` for a sandbox: how many have it, and whether that is everybody.
async fn wait(hub: &Hub, name: &str, span: Duration) -> (usize, usize, bool) {
    let programmed = hub.wait_programmed(&id(name), Instant::now() + span).await;
    (programmed.acknowledged, programmed.proxies, programmed.is_complete())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_while_it_owes_an_answer_has_nothing_until_its_node_is_back() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let first = hub.apply(vec![put("a", &[("cart", 1)])]);
    let cart = Pattern::Prefix("shop/Deployment/cart/".into());
    let mut guard = stream(&hub, "n", &cart);
    guard.acknowledged(OVERRIDE, first);
    let second = hub.apply(vec![put("a", &[("cart", 2)])]);
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { wait(&hub, "a", Duration::from_secs(20)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(guard);
    assert_eq!(counts(&hub.programmed(&id("a"))), (0, 0), "nobody is there");
    assert_eq!(waiting.await.unwrap(), (0, 1, false));
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (0, 1, false), "nor for the next who waits");
    let mut other = stream(&hub, "other", &cart);
    other.acknowledged(OVERRIDE, second);
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (1, 2, false), "another node is no substitute");
    let mut back = stream(&hub, "n", &cart);
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (1, 2, false), "back, without an answer");
    back.acknowledged(OVERRIDE, second);
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (2, 2, true));
    drop((back, other));
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (0, 0, true), "they left and owed nothing");
    assert_eq!(hub.streams().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_left_is_forgotten_after_a_while_and_never_counts_for_what_came_later() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    hub.apply(vec![put("a", &[("cart", 1)])]);
    drop(stream(&hub, "n", &Pattern::All));
    hub.apply(vec![put("later", &[("cart", 1)])]);
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (0, 1, false));
    assert_eq!(wait(&hub, "later", Duration::from_secs(1)).await, (0, 0, true));
    assert!(hub.streams().list(9).is_empty());
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(wait(&hub, "a", Duration::from_secs(1)).await, (0, 0, true));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_end_of_the_service_cuts_is_never_complete() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let revision = hub.apply(vec![put("a", &[("cart", 1)])]);
    let mut guard = stream(&hub, "n", &Pattern::All);
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { (wait(&hub, "a", Duration::from_secs(60)).await, Instant::now()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopped = Instant::now();
    hub.stop();
    let (answer, at) = waiting.await.unwrap();
    assert_eq!(answer, (0, 1, false));
    assert!(at - stopped < Duration::from_secs(1));
    guard.acknowledged(OVERRIDE, revision);
    drop(guard);
    assert!(!wait(&hub, "a", Duration::from_secs(60)).await.2, "nor is one that begins then");
}

#[tokio::test(start_paused = true)]
async fn what_an_edit_takes_away_is_waited_for_until_all_know() {
    let (hub, _publisher) = Hub::new(Debounce::default());
    let first = hub.apply(vec![put("a", &[("cart", 1), ("web", 1)]), put("b", &[("web", 1)])]);
    let mut cart = stream(&hub, "cart", &Pattern::Prefix("shop/Deployment/cart/".into()));
    let mut web = stream(&hub, "web", &Pattern::Prefix("shop/Deployment/web/".into()));
    cart.acknowledged(OVERRIDE, first);
    web.acknowledged(OVERRIDE, first);
    let second = hub.apply(vec![put("a", &[("web", 1)]), put("b", &[("web", 2)])]);
    web.acknowledged(OVERRIDE, second);
    assert_eq!(counts(&hub.programmed(&id("a"))), (1, 2));
    assert_eq!(wait(&hub, "a", Duration::from_secs(5)).await, (1, 2, false));
    assert_eq!(wait(&hub, "b", Duration::from_secs(5)).await, (1, 1, true), "b took nothing away");
    // The same again changes nothing, and is no more in force for it.
    hub.apply(vec![put("a", &[("web", 1)])]);
    assert_eq!(wait(&hub, "a", Duration::from_secs(5)).await, (1, 2, false));
    cart.acknowledged(OVERRIDE, second);
    assert_eq!(wait(&hub, "a", Duration::from_secs(5)).await, (2, 2, true));
    assert_eq!(counts(&hub.programmed(&id("a"))), (1, 1), "and then it is over");
}
