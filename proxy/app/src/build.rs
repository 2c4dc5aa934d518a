//! From settings to the parts that run: each step makes one part, and nothing here serves a request.

use std::{
    net::TcpListener,
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use spurline_config::{AccessLogTarget, Config, Http2, Listener, ListenerTls, Protocol, Rate, Role};
use spurline_http::{Limits, h2};
use spurline_net::{
    ListenOptions, drain,
    tls::{ServerTls, Speech},
};
use spurline_route::{CarrierConfig, Endpoint, Extractor, GatewayCarriers, RouteTable, Trust, Verifier};
use spurline_telemetry::{
    access::{AccessGuard, AccessLog, AccessTarget},
    metrics::{ListenerKind, Registry, Shard},
};
use tokio::sync::{Notify, mpsc};

use crate::{
    AppError,
    binding::{Binding, Termination},
    certificates::Certificates,
    params::{Http2Params, Params, Timeouts, UpstreamParams},
    signed_keys,
    upstream::policy::{breaker::Maxima, outlier::Ejection},
    worker::{self, Seed},
};

/// Longer than any process runs, and still a time that can be added to another.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// What a connection may need beside its own descriptor: one upstream.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// What a window can be at most (RFC 9113 section 6.9.1).
const WINDOW_BYTES_MAX: u32 = 0x7fff_ffff;
/// Listeners, event queues, files and the admin pages.
const DESCRIPTORS_RESERVED: u64 = 128;

/// One worker, as the acceptor sees it.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(crate) incoming: mpsc::Sender<worker::Arrival>,
    pub(crate) load: Arc<AtomicUsize>,
    pub(crate) thread: JoinHandle<()>,
}

/// The parts that all workers are given.
pub(crate) struct Shared {
    pub(crate) params: Params,
    pub(crate) bindings: Vec<Arc<Binding>>,
    pub(crate) table: Arc<ArcSwap<RouteTable>>,
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) access: AccessLog,
    pub(crate) drain: drain::Watch,
    /// Told when a worker ends, for whatever reason.
    pub(crate) ended: Arc<Notify>,
}

/// Tells that the thread that holds it has ended.
struct Ended(Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// How many workers there are.
pub(crate) fn worker_count(config: &Config) -> usize {
    let available = || thread::available_parallelism().map_or(1, usize::from);
    config.workers.map_or_else(available, usize::from)
}

/// The settings as the request path needs them. The limit on connections is divided among the workers.
pub(crate) fn params(config: &Config, workers: usize) -> Params {
    let Config { limits, timeouts, upstream, drain, .. } = config;
    let connections_max = limits.connections_max.map_or_else(connections_by_descriptors, usize::from);
    let http = Limits {
        head_bytes_max: limits.head_bytes_max,
        fields_max: limits.fields_max,
        target_bytes_max: limits.target_bytes_max,
        chunk_extension_bytes_max: limits.chunk_extension_bytes_max,
        trailer_bytes_max: limits.trailer_bytes_max,
        trailer_fields_max: limits.trailer_fields_max,
    };
    Params {
        http,
        http2: http2_params(&config.http2, http, limits.informational_max),
        informational_max: u32::try_from(limits.informational_max).unwrap_or(u32::MAX),
        drain_body_bytes_max: limits.drain_body_bytes_max as u64,
        // A head and a trailer section are read in one piece.
        buffer_bytes: limits.buffer_bytes.max(limits.head_bytes_max).max(limits.trailer_bytes_max),
        connections_max: connections_max.div_ceil(workers.max(1)),
        timeouts: Timeouts {
            detect: timeouts.detect,
            tls_handshake: config.tls.as_ref().map_or(Duration::MAX, |tls| tls.handshake_timeout),
            head: timeouts.head,
            idle: timeouts.idle,
            body_idle: timeouts.body_idle,
            response_idle: timeouts.response_idle,
            client_fin: timeouts.client_fin,
            response: timeouts.response,
            request: timeouts.request,
            tunnel_idle: timeouts.tunnel_idle,
            tunnel_grace: timeouts.tunnel_grace,
        },
        upstream: UpstreamParams {
            connect_timeout: timeouts.connect,
            idle_timeout: timeouts.upstream_idle.unwrap_or(FOREVER),
            idle_max: upstream.idle_max,
            maxima: Maxima {
                connections: upstream.connections_max,
                pending: upstream.pending_max,
                requests: upstream.requests_max,
            },
            ejection: Ejection {
                failures: upstream.ejection_failures.unwrap_or(0),
                base: upstream.ejection_time,
                max_percent: upstream.ejection_max_percent,
                panic_percent: upstream.panic_threshold_percent,
            },
            retries_max: upstream.retries_max,
            retry_budget_percent: upstream.retry_budget_percent,
            retry_min_per_second: upstream.retry_min_per_second,
        },
        drain_delay: drain.delay,
    }
}

fn http2_params(http2: &Http2, limits: Limits, interims_max: usize) -> Http2Params {
    let rate = |Rate { burst, per_second }| h2::Rate { burst, per_second };
    // As many as the largest head needs that is taken.
    let continuations =
        u32::try_from(1 + limits.head_bytes_max / h2::Connection::INPUT_BYTES_MIN).unwrap_or(u32::MAX);
    let server = h2::Settings {
        limits,
        streams_max: http2.streams_max,
        stream_window_bytes: http2.stream_window_bytes,
        connection_window_bytes: http2.connection_window_bytes,
        output_bytes_max: http2.output_bytes_max,
        answer_bytes_max: http2.answer_bytes_max,
        continuations_max: http2.continuations_max.max(continuations),
        interims_max: u8::try_from(interims_max).unwrap_or(u8::MAX),
        resets: rate(http2.resets),
        forced_resets: rate(http2.forced_resets),
        empty_frames: rate(http2.empty_frames),
        settings_frames: rate(http2.settings_frames),
        pings: rate(http2.pings),
        window_updates: rate(http2.window_updates),
        ignored_frames: rate(http2.ignored_frames),
        ..h2::Settings::default()
    };
    // An upstream connection carries the requests of many clients: one that takes nothing must not use up the window of all.
    let streams_max = http2.upstream_streams_max;
    let windows_bytes = http2.stream_window_bytes.saturating_mul(streams_max);
    let connection_window_bytes = http2
        .connection_window_bytes
        .max(windows_bytes.saturating_add(http2.windows_growth_bytes))
        .min(WINDOW_BYTES_MAX);
    Http2Params {
        is_on: http2.is_on,
        server,
        client: h2::Settings { streams_max, connection_window_bytes, ..server },
        window_bytes_max: http2.stream_window_bytes_max,
        windows_growth_bytes: http2.windows_growth_bytes,
        flood_pause: http2.flood_pause,
        ping_interval: http2.ping_interval,
        ping_timeout: http2.ping_timeout,
        settings_timeout: http2.settings_timeout,
    }
}

/// As many connections as the descriptor limit allows for together with their upstream connections, after what the
/// process needs for itself.
fn connections_by_descriptors() -> usize {
    let limit = spurline_net::descriptor_limit();
    let shared = limit - DESCRIPTORS_RESERVED.min(limit / 4);
    usize::try_from(shared / DESCRIPTORS_PER_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// One binding per listener, the one for redirected connections last.
pub(crate) fn bindings(config: &Config, certificates: &Certificates) -> Result<Vec<Arc<Binding>>, AppError> {
    let gateway = Arc::new(Extractor::new(config.carriers.clone())?);
    let carriers = CarrierConfig { gateway: GatewayCarriers::default(), ..config.carriers.clone() };
    let sidecar = Arc::new(Extractor::new(carriers)?);
    let explicit = config.listeners.iter().map(|listener| {
        let termination = termination(listener, config.http2.is_on, certificates.server.as_ref());
        let upstream_tls = certificates.client.clone().filter(|_| listener.upstream_tls);
        let Listener { name, listen, workload, port, baseline, protocol, role, trust, .. } = listener.clone();
        let Listener { upstream_protocol, grpc_web, .. } = *listener;
        let endpoints: Arc<[Endpoint]> = baseline.into_iter().map(|addr| Endpoint { addr }).collect();
        Binding {
            name,
            kind: ListenerKind::Explicit,
            listen,
            workload,
            port,
            baseline: (!endpoints.is_empty()).then_some(endpoints),
            protocol,
            role,
            trust,
            extractor: Arc::clone(if role == Role::Gateway { &gateway } else { &sidecar }),
            termination,
            upstream_tls,
            upstream_protocol,
            grpc_web,
        }
    });
    let inbound = config.inbound.iter().map(|inbound| Binding {
        name: "inbound".to_owned(),
        kind: ListenerKind::Inbound,
        listen: inbound.listen,
        workload: inbound.workload.clone(),
        port: inbound.listen.port(),
        baseline: None,
        protocol: Protocol::Detect,
        role: Role::Sidecar,
        trust: Trust::All,
        extractor: Arc::clone(&sidecar),
        termination: None,
        upstream_tls: None,
        upstream_protocol: config.upstream.protocol,
        grpc_web: false,
    });
    Ok(explicit.chain(inbound).map(Arc::new).collect())
}

fn termination(listener: &Listener, http2: bool, tls: Option<&Arc<ServerTls>>) -> Option<Termination> {
    let ListenerTls::Terminate { unmatched } = listener.tls else { return None };
    let speech = match listener.protocol {
        Protocol::Tcp => Speech::Opaque,
        Protocol::Detect | Protocol::Http if http2 => Speech::Http,
        Protocol::Detect | Protocol::Http => Speech::Http1,
    };
    tls.map(|tls| Termination { tls: Arc::clone(tls), unmatched, speech })
}

/// Binds every listener, in the order of the bindings.
pub(crate) fn listen(bindings: &[Arc<Binding>], backlog: u32) -> Result<Vec<TcpListener>, AppError> {
    let bind =
        |binding: &Arc<Binding>| {
            spurline_net::listen(binding.listen, ListenOptions { backlog })
                .map_err(|error| AppError::Listen { name: binding.name.clone(), addr: binding.listen, error })
        };
    bindings.iter().map(bind).collect()
}

/// The verifier of signed keys, if there are any.
pub(crate) fn verifier(config: &Config) -> Result<Option<Arc<Verifier>>, AppError> {
    let read = |keys: &spurline_config::SignedKeys| signed_keys::read(Path::new(&keys.file), &keys.audience);
    Ok(config.signed_keys.as_ref().map(read).transpose()?.map(Arc::new))
}

/// The access log and what writes its last lines.
pub(crate) fn access_log(
    config: &Config,
    registry: &Registry,
) -> Result<(AccessLog, Option<AccessGuard>), AppError> {
    let target = match &config.log.access {
        AccessLogTarget::Off => return Ok((AccessLog::off(), None)),
        AccessLogTarget::Stdout => AccessTarget::Stdout,
        AccessLogTarget::Stderr => AccessTarget::Stderr,
        AccessLogTarget::File(path) => AccessTarget::File(path.clone()),
    };
    let (log, guard) = AccessLog::open(&target, registry.shared())?;
    Ok((log, Some(guard)))
}

/// Starts one thread per shard.
pub(crate) fn workers(shared: &Shared, shards: Vec<Shard>) -> Result<Vec<WorkerHandle>, AppError> {
    let start = |(index, shard)| {
        let (incoming, queue) = mpsc::channel(worker::QUEUE_MAX);
        let load = Arc::new(AtomicUsize::new(0));
        let seed = Seed {
            params: shared.params.clone(),
            bindings: shared.bindings.clone(),
            shard,
            table: Arc::clone(&shared.table),
            verifier: shared.verifier.clone(),
            access: shared.access.clone(),
            drain: shared.drain.clone(),
            load: Arc::clone(&load),
        };
        let ended = Ended(Arc::clone(&shared.ended));
        let body = move || {
            let _ended = ended;
            if let Err(error) = worker::run(seed, queue) {
                tracing::error!(%error, worker = index, "Worker stopped");
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(body);
        thread.map(|thread| WorkerHandle { incoming, load, thread }).map_err(AppError::Runtime)
    };
    shards.into_iter().enumerate().map(start).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use spurline_config::Command;

    use super::*;

    fn http2(args: &[&str]) -> Http2Params {
        let args = ["spurline-proxy", "--inbound-listen=127.0.0.1:1"].iter().chain(args).map(OsString::from);
        match spurline_config::parse(args, std::iter::empty(), |_| Ok(String::new())) {
            Ok(Command::Run(config)) => params(&config, 1).http2,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_of_http2_are_those_of_its_codec() {
        let params = http2(&[]);
        let Http2Params { is_on, server, client, ping_interval, ping_timeout, settings_timeout, .. } = params;
        // One limit on interim responses holds for both versions.
        let codec = h2::Settings { interims_max: 16, ..h2::Settings::default() };
        // Upstream no stream can use up the window of the others.
        let connection_window_bytes =
            codec.streams_max * codec.stream_window_bytes + params.windows_growth_bytes;
        let shared = h2::Settings { connection_window_bytes, ..codec };
        assert_eq!((is_on, server, client), (true, codec, shared));
        assert_eq!(ping_interval, None);
        assert_eq!((ping_timeout, settings_timeout), (Duration::from_secs(10), Duration::from_secs(10)));
    }

    #[test]
    fn a_head_within_the_limit_is_never_a_flood_of_continuations() {
        let continuations = |args: &[&str]| http2(args).server.continuations_max;
        assert_eq!(continuations(&["--head-bytes-max=1MiB"]), 64);
        assert_eq!(continuations(&["--head-bytes-max=1MiB", "--http2-continuations-max=100"]), 100);
    }

    #[test]
    fn upstreams_have_a_limit_of_streams_of_their_own() {
        let params = http2(&["--http2-upstream-streams-max=7", "--http2=false"]);
        assert_eq!((params.server.streams_max, params.client.streams_max, params.is_on), (100, 7, false));
    }
}
