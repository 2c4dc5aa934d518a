//! Everything towards the peers that requests are sent to: which endpoint, which connection, and when not.
//!
//! Each worker has its own. Nothing here reads or writes HTTP.

mod cluster;
mod lease;
pub(crate) mod policy;
mod sessions;

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use spurline_net::tls::ClientTls;
use spurline_route::Endpoint;
use spurline_telemetry::metrics::Shard;

use crate::params::UpstreamParams;

pub(crate) use cluster::{Acquire, Cluster, ConnectFailure, Refused, Reuse};
pub(crate) use lease::{Lease, Permit};
pub(crate) use sessions::SessionParts;

/// A cluster that nobody has used for this long is forgotten, with what is known of its endpoints.
const CLUSTER_IDLE: Duration = Duration::from_secs(60);

/// The clusters of one worker, by the endpoints they consist of: a route table that is replaced by one with the same
/// endpoints finds its connections and what is known of their health again.
#[derive(Debug)]
pub(crate) struct Upstreams {
    plain: RefCell<Clusters>,
    /// Those that TLS is spoken with. All with the same, so that what it is need not be a part of the key.
    secure: RefCell<Clusters>,
    params: UpstreamParams,
    /// Where this process itself listens.
    listeners: Box<[SocketAddr]>,
    shard: Rc<Shard>,
    parts: Rc<SessionParts>,
}

type Clusters = HashMap<Arc<[Endpoint]>, Rc<Cluster>, RandomState>;

// === impl Upstreams ===

impl Upstreams {
    pub(crate) fn new(
        params: UpstreamParams,
        listeners: Box<[SocketAddr]>,
        shard: Rc<Shard>,
        parts: SessionParts,
    ) -> Self {
        let (plain, secure) = Default::default();
        Self { plain, secure, params, listeners, shard, parts: Rc::new(parts) }
    }

    /// The cluster of these endpoints, spoken to in TLS or in the clear.
    pub(crate) fn cluster(&self, endpoints: &Arc<[Endpoint]>, tls: Option<&Arc<ClientTls>>) -> Rc<Cluster> {
        let clusters = if tls.is_some() { &self.secure } else { &self.plain };
        if let Some(cluster) = clusters.borrow().get(endpoints.as_ref()) {
            return Rc::clone(cluster);
        }
        let mut clusters = clusters.borrow_mut();
        let health = endpoints
            .iter()
            .map(|endpoint| clusters.values().find_map(|other| other.health(*endpoint)).unwrap_or_default())
            .collect::<Vec<_>>();
        let own = endpoints.iter().any(|endpoint| self.is_own(*endpoint));
        let cluster = Cluster::new(
            endpoints,
            health,
            own,
            self.params,
            (Rc::clone(&self.shard), Rc::clone(&self.parts)),
        );
        let cluster = Rc::new(cluster.with_tls(tls.cloned()));
        clusters.insert(Arc::clone(endpoints), Rc::clone(&cluster));
        cluster
    }

    /// Whether what is sent to the endpoint comes back to this process.
    fn is_own(&self, endpoint: Endpoint) -> bool {
        let addr = endpoint.addr;
        self.listeners.iter().any(|own| {
            let same = own.ip() == addr.ip() || (own.ip().is_unspecified() && addr.ip().is_loopback());
            same && own.port() == addr.port()
        })
    }

    /// Closes connections that have been idle too long or that their peer has closed, and forgets unused clusters.
    pub(crate) fn sweep(&self, now: Instant) {
        for clusters in [&self.plain, &self.secure] {
            clusters.borrow_mut().retain(|_, cluster| {
                cluster.sweep(now);
                Rc::strong_count(cluster) > 1 || !cluster.is_unused(now, CLUSTER_IDLE)
            });
        }
    }
}
