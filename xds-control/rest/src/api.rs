//! What is served, and the state that all of it shares.

mod body;
mod caller;
mod documents;
mod guard;
mod held;
mod list;
mod query;
mod render;
mod rules;
mod status;
mod target;
mod unique;
mod watch;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use prometheus_client::registry::Registry;
use spurline_core::document::Id;
use spurline_hub::Hub;
use tokio::sync::Semaphore;

pub use self::{caller::CallerName, query::duration};
use crate::{
    metrics::HttpMetrics,
    problem::Problem,
    tokens::Tokens,
    writer::{Handle, Writer},
};

/// Requests that are worked on, or whose answers are being sent, at a time; waiting ones and watches aside.
const REQUESTS_MAX: usize = 256;
/// Requests that wait for proxies at a time.
const WAITS_MAX: usize = 1024;
/// Watches at a time.
const WATCHES_MAX: usize = 512;
/// Request bodies that are in memory at a time, in KiB.
const BODIES_KIB_MAX: usize = 64 * 1024;

/// How the API is served.
#[derive(Clone)]
pub struct Settings {
    /// Who may use it. `None`: everybody who can connect may do everything.
    pub tokens: Option<Tokens>,
    /// Which hosts requests may name. `Direct` where browsers of the same machine can connect without a token.
    pub hosts: Hosts,
    /// Whether a document that exists can be written without saying which version is meant.
    pub preconditions: Preconditions,
    /// Names the file that holds a document, for answers to those who try to write it.
    pub file_of: Option<FileOf>,
    /// Of the program, for the status page.
    pub version: &'static str,
}

/// The file that a document of a file is in.
pub type FileOf = Arc<dyn Fn(&Id) -> Option<String> + Send + Sync>;

/// Which hosts requests may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// Any.
    #[default]
    Any,
    /// Addresses and `localhost` only, so that a web page cannot reach the API under a name of its own that resolves
    /// to this machine.
    Direct,
}

/// Whether writes have to say which version they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preconditions {
    /// Without `If-Match` and `If-None-Match` the last write wins.
    #[default]
    Optional,
    /// Without both, `PUT` and `DELETE` are answered 428.
    Required,
}

pub(crate) struct App {
    hub: Hub,
    writer: Handle,
    settings: Settings,
    metrics: HttpMetrics,
    requests: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

type Shared = Arc<App>;

/// One path and what it answers to.
struct Route {
    path: &'static str,
    allow: &'static str,
    methods: fn() -> MethodRouter<Shared>,
}

const READ: &str = "GET, HEAD";
const READ_WRITE: &str = "GET, HEAD, PUT, DELETE";

/// Everything that is served.
const ROUTES: [Route; 11] = [
    Route { path: "/v1/sandboxes", allow: READ, methods: || get(list::list) },
    Route { path: "/v1/sandboxes/{name}", allow: READ_WRITE, methods: document },
    Route { path: "/v1/sandboxes/{name}/heartbeat", allow: "POST", methods: || post(documents::heartbeat) },
    Route { path: "/v1/routegroups", allow: READ, methods: || get(list::list) },
    Route { path: "/v1/routegroups/{name}", allow: READ_WRITE, methods: document },
    Route { path: "/v1/routegroups/{name}/heartbeat", allow: "POST", methods: || post(documents::heartbeat) },
    Route { path: "/v1/workloads", allow: READ, methods: || get(list::list) },
    Route { path: "/v1/workloads/{namespace}/{kind}/{name}", allow: READ_WRITE, methods: document },
    Route { path: "/v1/status", allow: READ, methods: || get(status::status) },
    Route { path: rules::PATH, allow: READ, methods: || get(rules::rules) },
    Route { path: OPENAPI_PATH, allow: READ, methods: || get(openapi) },
];

/// Readable without a token: it says nothing that is not public.
const OPENAPI_PATH: &str = "/openapi.json";

/// Serves the API for what `writer` keeps and `hub` knows. Needs a Tokio runtime with a clock.
pub fn router(writer: &Writer, hub: &Hub, settings: Settings, registry: &mut Registry) -> Router {
    let app = Arc::new(App {
        hub: hub.clone(),
        writer: writer.handle().clone(),
        settings,
        metrics: HttpMetrics::register(registry),
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        waits: Arc::new(Semaphore::new(WAITS_MAX)),
        watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
    });
    let mut router = Router::new();
    for Route { path, allow, methods } in ROUTES {
        let refuse = move |method: Method| async move { Problem::method_not_allowed(&method, allow) };
        router = router.route(path, methods().fallback(refuse));
    }
    router
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

// === impl Settings ===

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, hosts, preconditions, file_of: _, version } = self;
        f.debug_struct("Settings")
            .field("tokens", tokens)
            .field("hosts", hosts)
            .field("preconditions", preconditions)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

fn document() -> MethodRouter<Shared> {
    get(documents::get).put(documents::put).delete(documents::delete)
}

async fn not_found(uri: Uri) -> Problem {
    let paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    let detail = format!("nothing is served at {}; there are {}", clipped(uri.path()), paths.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", detail)
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

/// What can be quoted of input whatever its length.
fn clipped(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
