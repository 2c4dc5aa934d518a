//! The life of the process: start, accept, drain, end.

use std::{
    convert::Infallible,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use spurline_config::{Config, Drain};
use spurline_net::{
    AcceptFault, Accepted, Acceptor,
    drain::{self, Drained},
};
use spurline_route::RouteTable;
use spurline_telemetry::{
    access::AccessGuard,
    log::LevelHandle,
    metrics::{Closing, Counter, Limit, Refusal, Registry, Shard},
};
use spurline_xds::Client;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use crate::{
    AppError,
    admin::{Admin, AdminState},
    build::{self, Shared, WorkerHandle},
    certificates::{self, Certificates},
    control,
    readiness::Readiness,
    routes,
    worker::Arrival,
};

/// How long the last lines of the access log may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What counts and logs, made before anything else so that everything can.
#[derive(Debug)]
pub struct Telemetry {
    pub registry: Registry,
    /// One for each worker there will be; see [`worker_count`].
    pub shards: Vec<Shard>,
    pub level: LevelHandle,
}

/// How many workers the settings ask for.
pub fn worker_count(config: &Config) -> usize {
    build::worker_count(config)
}

/// A proxy whose sockets are bound and whose threads run, but which does not accept yet.
#[derive(Debug)]
pub struct App {
    listeners: Vec<TcpListener>,
    lifetime: Lifetime,
    admin: Option<Admin>,
    routes: Option<routes::Watch>,
    control: Option<Client>,
    certificates: Option<certificates::Watch>,
    access: Option<AccessGuard>,
}

/// Checks what can be checked of the settings without listening: the carriers, the routes file, the files for the control
/// service, the certificates, the signed keys. The control service itself is not asked.
///
/// # Errors
/// The first thing that would keep the proxy from starting, or from serving what it should.
pub fn check(config: &Config) -> Result<(), AppError> {
    build::bindings(config, &Certificates::load(config)?)?;
    build::verifier(config)?;
    if let Some(path) = &config.routes {
        routes::read(path, 1)?;
    }
    control::check(config)
}

// === impl App ===

impl App {
    /// Binds and starts everything.
    ///
    /// # Errors
    /// See [`AppError`]. A routes file that is missing or wrong is not among them: baseline traffic flows without.
    pub fn build(config: &Config, telemetry: Telemetry) -> Result<Self, AppError> {
        let Telemetry { registry, shards, level } = telemetry;
        let registry = Arc::new(registry);
        let readiness = Readiness::default();
        let starting = readiness.guard("listeners");
        let certificates = Certificates::load(config)?;
        let bindings = build::bindings(config, &certificates)?;
        let listeners = build::listen(&bindings, config.limits.listen_backlog)?;
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::empty()));
        let follow = |path: &PathBuf| {
            let (path, table, metrics) = (path.clone(), Arc::clone(&table), registry.shared());
            routes::Watch::start(path, config.routes_poll_interval, table, metrics).map_err(AppError::Runtime)
        };
        let routes = config.routes.as_ref().map(follow).transpose()?;
        let awaited = readiness.guard("routes");
        let control = control::follow(config, &table, registry.shared(), awaited)?;
        let certificates = certificates.follow(registry.shared()).map_err(AppError::Runtime)?;
        let (access, access_guard) = build::access_log(config, &registry)?;
        let (trigger, watch) = drain::channel();
        let (drain, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let shared = Shared {
            params: build::params(config, shards.len()),
            bindings,
            table: Arc::clone(&table),
            verifier: build::verifier(config)?,
            access,
            drain: watch.clone(),
            ended: Arc::clone(&ended),
        };
        let workers = build::workers(&shared, shards)?;
        let state = AdminState {
            registry: Arc::clone(&registry),
            table,
            config_dump: config.dump(),
            control: control.as_ref().map(Client::status),
            level,
            drain: Box::new({
                let drain = Arc::clone(&drain);
                move || drain.notify_one()
            }),
            readiness: readiness.clone(),
        };
        let start = |addr| Admin::start(addr, state).map_err(|error| AppError::Admin { addr, error });
        let admin = config.admin.map(start).transpose()?;
        drop(starting);
        let timing = config.drain;
        let lifetime = Lifetime { workers, trigger, watch, drain, ended, readiness, registry, timing };
        Ok(Self { listeners, lifetime, admin, routes, control, certificates, access: access_guard })
    }

    /// Accepts connections until a signal, or the admin page, starts the drain; returns when it is over.
    ///
    /// The first SIGTERM or SIGINT starts the drain: readiness goes off and responses announce the end of their
    /// connections, but connections are accepted for `drain_delay` more. What is in flight has `drain_timeout`, counted
    /// from the signal, to finish. A second signal ends at once.
    ///
    /// # Errors
    /// When the runtime cannot be made.
    pub fn run(self) -> Result<(), AppError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(AppError::Runtime)?;
        let Self { listeners, lifetime, admin, routes, control, certificates, access } = self;
        runtime.block_on(lifetime.serve(listeners))?;
        for worker in lifetime.workers {
            if worker.thread.join().is_err() {
                tracing::error!("Worker ended in a panic");
            }
        }
        drop((admin, routes, control, certificates));
        if access.is_some_and(|access| !access.flush(FLUSH_TIMEOUT)) {
            tracing::warn!("Access log did not take its last lines");
        }
        Ok(())
    }
}

/// From the first connection to the end of the drain.
#[derive(Debug)]
struct Lifetime {
    workers: Vec<WorkerHandle>,
    trigger: drain::Trigger,
    watch: drain::Watch,
    drain: Arc<Notify>,
    ended: Arc<Notify>,
    readiness: Readiness,
    registry: Arc<Registry>,
    timing: Drain,
}

// === impl Lifetime ===

impl Lifetime {
    async fn serve(&self, listeners: Vec<TcpListener>) -> Result<(), AppError> {
        let mut signals = Signals::new()?;
        let mut acceptor = self.acceptor(listeners)?;
        tracing::info!(workers = self.workers.len(), "Accepting connections");
        tokio::select! {
            never = self.distribute(&mut acceptor) => match never {},
            () = signals.next() => {}
            () = self.drain.notified() => signals.forgive(),
            () = self.ended.notified() => {
                // What is left of the process would accept connections that nobody serves.
                self.trigger.force();
                return Err(AppError::WorkerEnded);
            }
        }
        let drained = tokio::select! {
            drained = self.end(acceptor) => drained,
            () = signals.next() => Drained::Forced { blockers: self.trigger.blockers() },
        };
        if let Drained::Forced { blockers } = drained {
            self.registry.shared().add(Counter::DrainedConnections(Closing::Forced), blockers as u64);
            tracing::warn!(connections = blockers, "Connections cut");
        }
        self.trigger.force();
        Ok(())
    }

    fn acceptor(&self, listeners: Vec<TcpListener>) -> Result<Acceptor, AppError> {
        let faults = self.registry.shared();
        Acceptor::new(listeners, move |fault| match fault {
            AcceptFault::Descriptors | AcceptFault::Memory => {
                faults.inc(Counter::AcceptPauses);
                faults.inc(Counter::LimitsReached(Limit::Descriptors));
            }
            AcceptFault::Connection | AcceptFault::Listener => {}
        })
        .map_err(AppError::Runtime)
    }

    /// Accepts for a while, since whoever sends us connections learns late that we want no more, then waits for the
    /// connections to end.
    async fn end(&self, mut acceptor: Acceptor) -> Drained {
        let Drain { delay, timeout } = self.timing;
        self.readiness.drain();
        self.trigger.drain();
        tracing::info!(?delay, ?timeout, connections = self.trigger.blockers(), "Draining");
        tokio::select! {
            never = self.distribute(&mut acceptor) => match never {},
            () = tokio::time::sleep(delay) => {}
        }
        // Closing a listener resets the connections that wait in its queue, so they are taken in first.
        while let Ok(accepted) = tokio::time::timeout(Duration::ZERO, acceptor.accept()).await {
            self.hand_over(accepted);
        }
        drop(acceptor);
        // The time to finish counts from the signal, as whoever sent it counts.
        self.trigger.drain_within(timeout.saturating_sub(delay)).await
    }

    /// Gives every connection to the worker that has the fewest.
    async fn distribute(&self, acceptor: &mut Acceptor) -> Infallible {
        loop {
            let accepted = acceptor.accept().await;
            self.hand_over(accepted);
        }
    }

    fn hand_over(&self, accepted: Accepted) {
        let fewest = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = fewest else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let arrival = Arrival { accepted, blocker: self.watch.block() };
        // A worker with a full queue is overloaded; a connection closed now is better than one that hangs.
        if worker.incoming.try_send(arrival).is_err() {
            worker.load.fetch_sub(1, Ordering::Relaxed);
            self.registry.shared().inc(Counter::ConnectionsRefused(Refusal::Limit));
        }
    }
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The drain was asked for on the admin page, as a `preStop` hook does, so the first signal adds nothing to it.
    forgiven: bool,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        let listen = |kind| signal(kind).map_err(AppError::Runtime);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            forgiven: false,
        })
    }

    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if !std::mem::take(&mut self.forgiven) {
                return;
            }
        }
    }

    fn forgive(&mut self) {
        self.forgiven = true;
    }
}
