//! The proxy: workers, pipelines, upstream pools, admin, readiness, shutdown.
//!
//! This is the crate that knows all the others and joins them: `spurline_route` decides, `spurline_http` reads and
//! writes, `spurline_net` opens and accepts, `spurline_telemetry` counts; here it is put together for each connection.
//! It parses no command line and installs no log; the binary does that.

pub mod admin;
mod app;
mod binding;
mod buffer;
mod build;
mod call;
mod certificates;
mod connection;
mod control;
mod deadline;
mod error;
mod exchange;
mod explain;
mod h2;
mod heads;
mod http;
mod link;
mod opaque;
mod params;
pub mod readiness;
mod record;
mod relay;
mod reply;
pub mod routes;
mod runner;
mod signed_keys;
mod steer;
mod terminate;
mod tunnel;
mod upstream;
mod websocket;
mod worker;

pub use app::{App, Telemetry, check, worker_count};
pub use error::AppError;
