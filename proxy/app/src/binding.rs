use std::{net::SocketAddr, sync::Arc};

use spurline_config::{Protocol, Role, Unmatched, UpstreamProtocol};
use spurline_net::tls::{ClientTls, ServerTls, Speech};
use spurline_route::{Endpoint, Extractor, Trust, Workload};
use spurline_telemetry::metrics::ListenerKind;

/// What a listener does with its connections. The same for every worker.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) kind: ListenerKind,
    pub(crate) listen: SocketAddr,
    /// Whose overrides apply.
    pub(crate) workload: Option<Workload>,
    /// The port that overrides are looked up by; of a redirected connection it is the original one.
    pub(crate) port: u16,
    /// Where baseline traffic goes. `None`: to the endpoints that the route table has for the workload; of a redirected
    /// connection to its original destination.
    pub(crate) baseline: Option<Arc<[Endpoint]>>,
    pub(crate) protocol: Protocol,
    pub(crate) role: Role,
    pub(crate) trust: Trust,
    pub(crate) extractor: Arc<Extractor>,
    /// `None`: TLS does not end here.
    pub(crate) termination: Option<Termination>,
    /// With what TLS is spoken with upstreams; `None`: it is not.
    pub(crate) upstream_tls: Option<Arc<ClientTls>>,
    pub(crate) upstream_protocol: UpstreamProtocol,
    /// Whether gRPC-web is translated to gRPC.
    pub(crate) grpc_web: bool,
}

/// How TLS ends at a listener.
#[derive(Debug)]
pub(crate) struct Termination {
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) unmatched: Unmatched,
    pub(crate) speech: Speech,
}
