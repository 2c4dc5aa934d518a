//! What the demo asks of a proxy's admin server.

use std::net::SocketAddr;

use hyper::StatusCode;

use crate::client::Connection;

/// Whether the proxy behind `admin` says that it is ready.
pub(crate) async fn is_ready(admin: SocketAddr) -> bool {
    Connection::new(admin).get("/readyz", &[]).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}
