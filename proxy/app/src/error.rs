use std::{io, net::SocketAddr, path::PathBuf};

use spurline_net::tls::TlsError;

use crate::routes::RoutesError;

/// Why the proxy did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("access log: {0}")]
    AccessLog(#[from] spurline_telemetry::TelemetryError),
    #[error("admin {addr}: {error}")]
    Admin { addr: SocketAddr, error: io::Error },
    #[error("carriers: {0}")]
    Carriers(#[from] spurline_route::CarrierError),
    #[error("control {}: {error}", .path.display())]
    ControlFile { path: PathBuf, error: io::Error },
    #[error("listener {name} {addr}: {error}")]
    Listen { name: String, addr: SocketAddr, error: io::Error },
    #[error("routes: {0}")]
    Routes(#[from] RoutesError),
    #[error("runtime: {0}")]
    Runtime(io::Error),
    #[error("{setting}: {error}")]
    Tls { setting: &'static str, error: TlsError },
    #[error("a worker ended although it was not told to")]
    WorkerEnded,
    #[error("signed keys {}: {reason}", .path.display())]
    SignedKeys { path: PathBuf, reason: String },
}
