//! A client against servers that do as the test says, and what it gives.
#![allow(dead_code, reason = "no suite needs all of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use spurline_api::envoy::service::discovery::v3::Resource;
use spurline_route::RouteTable;
use spurline_telemetry::metrics::{Counter, Registry, SnapshotEvent, StreamEnd};
use spurline_xds::{Client, Node, Outputs, ResourceType, Server, Settings, Status, Timing, Tls};

use crate::{
    resources::{CART, response, scope},
    server::{Script, TestServer},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client and what it gives.
pub(crate) struct Case {
    pub(crate) client: Option<Client>,
    pub(crate) table: Arc<ArcSwap<RouteTable>>,
    pub(crate) registry: Registry,
    ready: Arc<AtomicBool>,
}

pub(crate) fn settings(servers: Vec<Server>) -> Settings {
    Settings {
        servers,
        tls: Tls::default(),
        node: Node { id: "node-1".into(), cluster: CART.into(), version: "1".into() },
        scope: scope(),
        snapshot: None,
        snapshot_age_max: Duration::from_secs(3600),
        ready_timeout: None,
    }
}

impl Case {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_with(settings, Timing { silence_max: PATIENCE, ..Timing::default() })
    }

    pub(crate) fn start_with(settings: Settings, timing: Timing) -> Self {
        let (registry, _) = Registry::new(0, "test");
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::empty()));
        let ready = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ready);
        let outputs = Outputs {
            table: Arc::clone(&table),
            metrics: registry.shared(),
            ready: Some(Box::new(move || told.store(true, Ordering::Release))),
        };
        let client = Some(Client::start_with(settings, outputs, timing).unwrap());
        Self { client, table, registry, ready }
    }

    pub(crate) fn following(server: &TestServer) -> Self {
        Self::start(settings(vec![server.address()]))
    }

    pub(crate) fn forks(&self) -> Vec<String> {
        let table = self.table.load();
        let mut forks: Vec<_> = table.overrides().map(|(_, _, rule)| rule.fork.to_string()).collect();
        forks.sort();
        forks
    }

    pub(crate) fn status(&self) -> Status {
        self.client.as_ref().unwrap().status().read()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    #[track_caller]
    pub(crate) fn wait_for_forks(&self, expected: &[&str]) {
        eventually(&format!("forks {expected:?}"), || self.forks() == expected);
    }

    pub(crate) fn ended(&self, end: StreamEnd) -> u64 {
        self.registry.counter(Counter::ControlStreamEnds(end))
    }

    pub(crate) fn snapshots(&self, event: SnapshotEvent) -> u64 {
        self.registry.counter(Counter::ControlSnapshots(event))
    }
}

/// Little patience with a server that sends no first response.
pub(crate) fn impatient() -> Timing {
    Timing { silence_max: Duration::from_secs(2), ..Timing::default() }
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Says for every type that there is nothing, or what is given of overrides.
pub(crate) fn complete(script: &Script, overrides: Vec<Resource>) {
    script.send(response(ResourceType::KeyOwner, "owners", vec![]));
    script.send(response(ResourceType::Baseline, "baselines", vec![]));
    script.send(response(ResourceType::Override, "overrides", overrides));
}
