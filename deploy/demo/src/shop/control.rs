//! The control service: where it listens, the command line that puts it there, whether it serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

use super::map::Named;
use crate::client::Connection;

/// The process and its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    /// Sandboxes are put, read and deleted here.
    pub(crate) rest: SocketAddr,
    /// The proxies hear of them here.
    pub(crate) grpc: SocketAddr,
    /// Metrics and health.
    pub(crate) admin: SocketAddr,
    /// What was put survives a restart in this file.
    store: PathBuf,
}

// === impl Control ===

impl Control {
    /// On three addresses, `[rest, grpc, admin]`; what it keeps will be in `dir`.
    pub(crate) fn new([rest, grpc, admin]: [SocketAddr; 3], dir: &Path) -> Self {
        Self { rest, grpc, admin, store: dir.join("control.store") }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        [self.rest, self.grpc, self.admin]
    }

    pub(crate) fn command(&self) -> Named {
        let Self { rest, grpc, admin, store } = self;
        let settings = [
            ("--rest-listen", rest.to_string()),
            ("--grpc-listen", grpc.to_string()),
            ("--admin-listen", admin.to_string()),
            ("--store", store.display().to_string()),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        ("control".to_owned(), ["serve".to_owned()].into_iter().chain(settings).collect())
    }

    /// Whether it answers for its sandboxes.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = Connection::new(self.rest).get("/v1/sandboxes", &[]).await;
        answer.is_ok_and(|answer| answer.status == StatusCode::OK)
    }
}
