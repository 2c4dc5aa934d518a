//! A worker: one thread with a runtime of its own, which serves its connections from the first byte to the last.
//! Workers share the route table, which never changes, and nothing else on the path of a request.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};
use spurline_net::{
    Accepted,
    drain::{self, Phase, Watch},
    tls::ClientTls,
};
use spurline_route::{Endpoint, RouteTable, Verifier};
use spurline_telemetry::{
    access::AccessLog,
    metrics::{Counter, Gauge, ListenerKind, Refusal, Shard},
};
use tokio::sync::mpsc;

use crate::{
    binding::Binding,
    buffer,
    connection::{self, Connection, Origin},
    deadline::Deadlines,
    h2,
    heads::Heads,
    params::{Http2Params, Params},
    runner::Runners,
    tunnel,
    upstream::{Cluster, SessionParts, Upstreams},
};

/// Connections that wait for a worker to take them.
pub(crate) const QUEUE_MAX: usize = 1024;

/// A connection on its way to a worker. It holds the drain back from the moment it is accepted.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) accepted: Accepted,
    pub(crate) blocker: drain::Blocker,
}

/// What a worker is made from, on its thread.
pub(crate) struct Seed {
    pub(crate) params: Params,
    pub(crate) bindings: Vec<Arc<Binding>>,
    pub(crate) shard: Shard,
    pub(crate) table: Arc<ArcSwap<RouteTable>>,
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) access: AccessLog,
    pub(crate) drain: Watch,
    /// Connections given to the worker and not ended yet.
    pub(crate) load: Arc<AtomicUsize>,
}

/// Everything that the connections of one worker share.
pub(crate) struct Worker {
    params: Params,
    bindings: Vec<Arc<Binding>>,
    shard: Rc<Shard>,
    upstreams: Upstreams,
    deadlines: Rc<Deadlines>,
    table: Arc<ArcSwap<RouteTable>>,
    verifier: Option<Arc<Verifier>>,
    access: AccessLog,
    drain: Watch,
    load: Arc<AtomicUsize>,
    connections: Cell<usize>,
    closes_idle: Cell<bool>,
    heads: Rc<Heads>,
    windows: Rc<h2::Windows>,
    /// Serve streams of HTTP/2.
    runners: Rc<Runners<h2::Job>>,
    /// Tunnels that want to know of a new route table, and the generation they know.
    watchers: Cell<isize>,
    generation: Cell<u64>,
    clock: Cell<Instant>,
}

/// A connection's place on its worker, from its acceptance to its end.
struct Open {
    worker: Rc<Worker>,
    _blocker: drain::Blocker,
}

/// Runs a worker on this thread until it is told to end by force.
///
/// # Errors
/// When the runtime cannot be made.
pub(crate) fn run(seed: Seed, incoming: mpsc::Receiver<Arrival>) -> std::io::Result<()> {
    buffer::set_buffer_bytes(seed.params.buffer_bytes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(serve(Rc::new(Worker::new(seed)), incoming));
    Ok(())
}

async fn serve(worker: Rc<Worker>, mut incoming: mpsc::Receiver<Arrival>) {
    let swept = Rc::clone(&worker);
    let mut sweep = tokio::task::spawn_local(Rc::clone(&worker.deadlines).sweep(move |now| swept.sweep(now)));
    let drained = tokio::task::spawn_local(Rc::clone(&worker).close_idle());
    let accept = async {
        while let Some(arrival) = incoming.recv().await {
            worker.take(arrival);
        }
        std::future::pending::<()>().await;
    };
    // Without the sweep there are no deadlines; it ends only in a panic, and then so does the worker.
    tokio::select! {
        () = accept => {}
        () = worker.drain.forced() => {}
        ended = &mut sweep => tracing::error!(?ended, "Sweep of deadlines ended"),
    }
    sweep.abort();
    drained.abort();
}

// === impl Worker ===

impl Worker {
    fn new(seed: Seed) -> Self {
        let Seed { params, bindings, shard, table, verifier, access, drain, load } = seed;
        let shard = Rc::new(shard);
        let explicit = bindings.iter().filter(|binding| binding.kind == ListenerKind::Explicit);
        let listeners = explicit.map(|binding| binding.listen).collect();
        let (deadlines, heads) = (Deadlines::new(), Rc::<Heads>::default());
        let Http2Params { window_bytes_max, windows_growth_bytes, .. } = params.http2;
        let windows = Rc::new(h2::Windows::new(window_bytes_max, windows_growth_bytes));
        let parts = SessionParts {
            params: params.http2,
            idle_timeout: params.upstream.idle_timeout,
            heads: Rc::clone(&heads),
            windows: Rc::clone(&windows),
            deadlines: Rc::clone(&deadlines),
        };
        Self {
            upstreams: Upstreams::new(params.upstream, listeners, Rc::clone(&shard), parts),
            params,
            bindings,
            shard,
            deadlines,
            table,
            verifier,
            access,
            drain,
            load,
            connections: Cell::new(0),
            closes_idle: Cell::new(false),
            heads,
            windows,
            runners: Runners::new(),
            watchers: Cell::new(0),
            generation: Cell::new(0),
            clock: Cell::new(Instant::now()),
        }
    }

    /// Starts to serve a connection, in the place of an idle one if there is no other.
    fn take(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { accepted, blocker } = arrival;
        if self.connections.get() >= self.params.connections_max && !self.deadlines.evict() {
            self.load.fetch_sub(1, Ordering::Relaxed);
            return self.shard.inc(Counter::ConnectionsRefused(Refusal::Limit));
        }
        let open = Open::new(self, blocker);
        let Some(mut connection) = Connection::open(self, accepted) else { return };
        // The task ends with its connection, which ends at the latest with the worker. What it holds is what an idle
        // connection costs, so the connection stands in it once, and whatever is large and rare is boxed.
        tokio::task::spawn_local(async move {
            if let Some(start) = connection::serve(&open.worker, &mut connection).await {
                Box::pin(tunnel::join(&open.worker, connection, *start)).await;
            }
            drop(open);
        });
    }

    /// Closes idle connections once the drain has been announced for long enough.
    async fn close_idle(self: Rc<Self>) {
        self.drain.signaled().await;
        tokio::time::sleep(self.params.drain_delay).await;
        self.closes_idle.set(true);
        self.deadlines.signal_all();
    }

    fn sweep(&self, now: Instant) {
        self.clock.set(now);
        self.upstreams.sweep(now);
        if self.watchers.get() > 0 {
            let generation = self.table().generation();
            if self.generation.replace(generation) != generation {
                self.deadlines.signal_all();
            }
        }
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    pub(crate) fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// The cluster of these endpoints, spoken to like the baseline of the connection.
    pub(crate) fn cluster(&self, origin: &Origin, endpoints: &Arc<[Endpoint]>) -> Rc<Cluster> {
        self.upstreams.cluster(endpoints, origin.binding.upstream_tls.as_ref())
    }

    pub(crate) fn deadlines(&self) -> &Rc<Deadlines> {
        &self.deadlines
    }

    pub(crate) fn access(&self) -> &AccessLog {
        &self.access
    }

    pub(crate) fn drain(&self) -> &Watch {
        &self.drain
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.phase() != Phase::Running
    }

    /// Whether connections without a request are closed.
    pub(crate) fn closes_idle(&self) -> bool {
        self.closes_idle.get()
    }

    pub(crate) fn verifier(&self) -> Option<&Verifier> {
        self.verifier.as_deref()
    }

    pub(crate) fn binding(&self, listener: usize) -> Option<Arc<Binding>> {
        self.bindings.get(listener).map(Arc::clone)
    }

    /// The route table in force. Not to be held over an await.
    pub(crate) fn table(&self) -> Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// The cluster of the baseline of a connection.
    pub(crate) fn baseline(&self, origin: &Origin) -> Option<Rc<Cluster>> {
        self.baseline_with(origin, origin.binding.upstream_tls.as_ref())
    }

    /// The cluster of the baseline of a connection whose bytes are in TLS already.
    pub(crate) fn baseline_in_the_clear(&self, origin: &Origin) -> Option<Rc<Cluster>> {
        self.baseline_with(origin, None)
    }

    fn baseline_with(&self, origin: &Origin, tls: Option<&Arc<ClientTls>>) -> Option<Rc<Cluster>> {
        if let Some(endpoints) = &origin.baseline {
            return Some(self.upstreams.cluster(endpoints, tls));
        }
        let workload = origin.binding.workload.as_ref()?;
        let table = self.table();
        let endpoints = table.baseline(workload, origin.port)?;
        Some(self.upstreams.cluster(endpoints, tls))
    }

    /// The time, from the kernel. Twice a request is what it is worth; see [`Worker::recent`].
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        self.clock.set(now);
        now
    }

    /// The time when a request last began or ended or deadlines were last swept, so at most a sweep ago: exact enough
    /// for deadlines, and free.
    pub(crate) fn recent(&self) -> Instant {
        self.clock.get()
    }

    pub(crate) fn watch_table(&self, change: isize) {
        if self.watchers.get() == 0 {
            self.generation.set(self.table().generation());
        }
        self.watchers.set(self.watchers.get() + change);
    }

    /// Tasks for streams of HTTP/2.
    pub(crate) fn runners(&self) -> &Rc<Runners<h2::Job>> {
        &self.runners
    }

    /// What the windows of streams may grow by.
    pub(crate) fn windows(&self) -> &Rc<h2::Windows> {
        &self.windows
    }

    /// Heads that are kept for their memory.
    pub(crate) fn heads(&self) -> &Rc<Heads> {
        &self.heads
    }
}

// === impl Open ===

impl Open {
    fn new(worker: &Rc<Worker>, blocker: drain::Blocker) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        worker.shard.gauge_add(Gauge::ConnectionsActive, 1);
        Self { worker: Rc::clone(worker), _blocker: blocker }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.connections.set(worker.connections.get().saturating_sub(1));
        worker.shard.gauge_sub(Gauge::ConnectionsActive, 1);
        worker.load.fetch_sub(1, Ordering::Relaxed);
    }
}
