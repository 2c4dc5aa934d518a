//! Running the service: what starts in which order, what signals do, and how it ends.

mod admin;
mod metrics;

use std::{
    panic,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spurline_core::document::Id;
use spurline_hub::Hub;
use spurline_rest::{CallerName, Clock, FileOf, Hosts, Store, Tokens, Writer};
use spurline_serve::{Limits, Listen, Peer, Server, Tls, Versions};
use spurline_source::Directory;
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use self::{admin::Admin, metrics::Plain};
use crate::{
    outcome::Failure,
    settings::{LogFormat, Settings, Side},
};

/// What the hub knows the store as.
const STORE: &str = "store";
/// Threads for what blocks: loading, and writing metrics.
const BLOCKING_THREADS_MAX: usize = 4;
/// The exit code when somebody did not wait for the drain.
const CUT_SHORT: i32 = 1;

/// The sockets of all sides, bound and not serving.
struct Sockets {
    grpc: Vec<Server>,
    rest: Vec<Server>,
    admin: Vec<Server>,
}

/// Where documents come from.
struct Places {
    store: Option<PathBuf>,
    /// And how often it is looked at.
    directory: Option<(PathBuf, Duration)>,
}

/// What has to live until everything is served.
struct Sources {
    writer: Writer,
    directory: Option<Directory>,
}

/// Runs until it has drained.
///
/// # Errors
/// When it cannot start.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    start_log(settings);
    let panics = count_panics();
    raise_descriptor_limit();
    let runtime = runtime(settings.workers, "control")?;
    // Of its own, so that whoever asks whether the process lives is answered while locks hold up those that serve.
    let watched = self::runtime(1, "admin")?;
    let served = runtime.block_on(serve(settings, panics, watched.handle()));
    // Who was told to end while it loads does not wait for that.
    runtime.shutdown_background();
    watched.shutdown_background();
    served.map_err(|error| Failure::failed(format!("{error:#}")))
}

fn runtime(workers: usize, name: &'static str) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(Failure::failed)
}

async fn serve(settings: &Settings, panics: Arc<AtomicU64>, watched: &Handle) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let tokens = settings.tokens_file.as_deref().map(Tokens::load).transpose().context("--tokens-file")?;
    let sockets = Sockets::bind(settings, watched)?;
    let mut plain = sockets.counters(panics);
    let (hub, publisher) = Hub::new(settings.debounce);
    hub.expect_source(STORE);
    let Sockets { grpc, rest, admin: admin_sockets } = sockets;
    let (draining, drain) = watch::channel(false);
    // Serves first, so that the process is seen alive while it loads, and last, so that it is seen to drain.
    let (over, end) = watch::channel(false);
    let admin = Admin::new(hub.clone(), drain.clone());
    let (mut tasks, mut admin_tasks) = (JoinSet::new(), JoinSet::new());
    start(&mut admin_tasks, admin_sockets, (&admin.router(), &end), watched);
    tasks.spawn(publisher.run());

    let (from, hub_of_sources) = (Places::of(settings), hub.clone());
    let loading = tokio::task::spawn_blocking(move || Sources::start(from, &hub_of_sources));
    let (sources, mut registry) = tokio::select! {
        loaded = loading => loaded??,
        () = signals.wait(None) => {
            tracing::info!("Told to end while loading");
            return Ok(());
        }
    };
    plain.directory = sources.directory.as_ref().map(Directory::counters);
    let serving = Handle::current();
    start(&mut tasks, grpc, (&grpc_router(settings, &hub, &mut registry), &drain), &serving);
    let rest_router = rest_router(settings, tokens, (&sources, &hub), &mut registry);
    start(&mut tasks, rest, (&rest_router, &drain), &serving);
    registry.register_collector(Box::new(metrics::Collected::new(plain, hub.clone())));
    admin.set_registry(registry);

    // Without one of its parts the rest would only look alive.
    let ended = tokio::select! {
        () = signals.wait(sources.directory.as_ref()) => None,
        _ = tasks.join_next() => Some("a listener or the publisher"),
        () = sources.writer.ended() => Some("the writer"),
    };
    if let Some(part) = ended {
        tracing::error!(part, "A part of the service ended by itself");
        anyhow::bail!("{part} ended by itself, see the log");
    }
    tracing::info!("Draining");
    draining.send_replace(true);
    // Streams of proxies and watches would not end by themselves.
    hub.stop();
    let drained = async {
        while tasks.join_next().await.is_some() {}
        over.send_replace(true);
        while admin_tasks.join_next().await.is_some() {}
    };
    tokio::select! {
        () = drained => {}
        () = signals.wait(None) => std::process::exit(CUT_SHORT),
    }
    // Waits for what is being written.
    drop(sources);
    tracing::info!("Drained");
    Ok(())
}

fn grpc_router(settings: &Settings, hub: &Hub, registry: &mut Registry) -> Router {
    let grpc = spurline_grpc::Settings {
        identity: settings.identity.clone(),
        stream_age_max: settings.stream_age_max,
        ..spurline_grpc::Settings::default()
    };
    spurline_grpc::services(hub, grpc, registry)
}

fn rest_router(
    settings: &Settings,
    tokens: Option<Tokens>,
    (sources, hub): (&Sources, &Hub),
    registry: &mut Registry,
) -> Router {
    let proves =
        tokens.is_some() || settings.rest.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    let places = sources.directory.as_ref().map(Directory::places);
    let rest = spurline_rest::Settings {
        tokens,
        hosts: if proves { Hosts::Any } else { Hosts::Direct },
        preconditions: settings.preconditions,
        file_of: places.map(|places| Arc::new(move |id: &Id| places.of(id)) as FileOf),
        version: env!("CARGO_PKG_VERSION"),
    };
    spurline_rest::router(&sources.writer, hub, rest, registry).layer(middleware::from_fn(name_caller))
}

/// Tells the API whom a client certificate names.
async fn name_caller(mut request: Request, next: Next) -> axum::response::Response {
    let identity = request.extensions().get::<Peer>().and_then(|peer| peer.identity.clone());
    if let Some(identity) = identity
        && let Some(name) = identity.uris.first().or_else(|| identity.dns_names.first())
    {
        request.extensions_mut().insert(CallerName(name.as_str().into()));
    }
    next.run(request).await
}

/// Serves on every socket until the drain.
fn start(
    tasks: &mut JoinSet<()>,
    servers: Vec<Server>,
    (router, drain): (&Router, &watch::Receiver<bool>),
    runtime: &Handle,
) {
    for server in servers {
        tasks.spawn_on(server.serve(router.clone(), drained(drain.clone())), runtime);
    }
}

async fn drained(mut drain: watch::Receiver<bool>) {
    // The sender goes only when everything ends.
    let _draining = drain.wait_for(|draining| *draining).await;
}

// === impl Sockets ===

impl Sockets {
    fn bind(settings: &Settings, watched: &Handle) -> anyhow::Result<Self> {
        let limits = Limits {
            connections_max: settings.connections_max,
            drain_timeout: settings.drain_timeout,
            ..Limits::default()
        };
        let bind = |name: &'static str, versions: Versions, Side { listen, tls }: &Side| {
            let limits = Limits { versions, ..limits.clone() };
            listen
                .iter()
                .map(|listen| {
                    // A socket of the owner's needs no encryption, and the commands use none there.
                    let tls = tls.clone().filter(|_| !matches!(listen, Listen::Unix(_)));
                    let tls = tls.map(Tls::load).transpose()?;
                    let secured = if tls.is_some() { "TLS" } else { "clear text" };
                    let server = Server::bind(listen, tls, limits.clone())?;
                    let listen: Listen = server.listen().context("cannot tell the address")?;
                    tracing::info!(side = name, %listen, secured, "Listening");
                    Ok(server)
                })
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let admin = {
            let _entered = watched.enter();
            bind("admin", Versions::All, &Side { listen: settings.admin.clone(), tls: None })?
        };
        Ok(Self {
            // Anybody may ask there, so that nothing may come from a page in a browser, which knows no other version.
            grpc: bind("grpc", Versions::Http2, &settings.grpc)?,
            rest: bind("rest", Versions::All, &settings.rest)?,
            admin,
        })
    }

    fn counters(&self, panics: Arc<AtomicU64>) -> Plain {
        let side = |servers: &[Server]| servers.iter().map(Server::counters).collect();
        Plain {
            panics,
            listeners: vec![
                ("grpc", side(&self.grpc)),
                ("rest", side(&self.rest)),
                ("admin", side(&self.admin)),
            ],
            directory: None,
        }
    }
}

// === impl Sources ===

impl Sources {
    /// Blocks until the store has been loaded.
    fn start(from: Places, hub: &Hub) -> anyhow::Result<(Self, Registry)> {
        // Before the store says that it is ready, so that nobody sees the one without the other.
        let directory = match from.directory {
            Some((path, interval)) => Some(
                Directory::start(path, interval, hub.clone())
                    .context("cannot start the thread of the directory")?,
            ),
            None => None,
        };
        let mut registry = Registry::default();
        let writer = Writer::start(open_store(from.store.as_deref())?, hub, clock(), &mut registry)?;
        hub.set_source_ready(STORE);
        Ok((Self { writer, directory }, registry))
    }
}

// === impl Places ===

impl Places {
    fn of(settings: &Settings) -> Self {
        let directory = settings.directory.clone();
        Self {
            store: settings.store.clone(),
            directory: directory.map(|path| (path, settings.directory_poll_interval)),
        }
    }
}

fn open_store(path: Option<&Path>) -> anyhow::Result<Store> {
    match path {
        Some(path) => Store::open(path).context("--store"),
        None => {
            tracing::warn!("Documents written over REST are gone with the process: --store is not set");
            Ok(Store::in_memory())
        }
    }
}

fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The signals that mean something here.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

// === impl Signals ===

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the wish to end; reloads meanwhile.
    async fn wait(&mut self, directory: Option<&Directory>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    if let Some(directory) = directory {
                        directory.reload();
                    }
                }
            }
        }
    }
}

fn start_log(settings: &Settings) {
    // The level is one of six words, which all are filters.
    let filter = tracing_subscriber::EnvFilter::new(&settings.log_level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // The only subscriber of the process, set once.
    let _first = match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// A panic ends one request or connection, not the process; it is a bug all the same, and is logged and counted.
fn count_panics() -> Arc<AtomicU64> {
    let panics = Arc::<AtomicU64>::default();
    let count = panics.clone();
    panic::set_hook(Box::new(move |panic| {
        count.fetch_add(1, Relaxed);
        tracing::error!(%panic, "Panicked");
    }));
    panics
}

/// Every proxy holds a connection, and the soft limit of 1024 that many systems hand out is there for `select(2)`.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "The limit of open descriptors cannot be raised");
    }
}
