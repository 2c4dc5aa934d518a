//! An adversarial peer for delta ADS, in both roles.
//!
//! [`Ads`] is a control service that says exactly what a script tells it, to the byte, and judges what the client
//! says; [`Honest`] is one that keeps a [`World`] in every client. [`Stream`] is a client that says exactly what it is
//! told; [`Follower`] is one that does what a correct client does, and knows what it must end up with. [`reading`] is
//! a second reading of the `.proto` files: what a client has to take and what it has to reject.
//!
//! It borrows the messages of `spurline-api` and nothing else of the product. Its own runtime is hidden: to a suite
//! everything blocks, with a deadline.

mod client;
mod conduct;
mod follower;
mod frames;
mod honest;
pub mod reading;
mod server;
mod world;

pub use client::{Connection, Heard, Stream};
pub use follower::Follower;
pub use honest::{Honest, Rejected};
pub use server::{Ads, Asked, Session};
pub use world::{World, over_ride, version_of};

pub use spurline_api::envoy::config::core::v3::Node;
pub use spurline_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest as Request, DeltaDiscoveryResponse as Response, Resource,
};
pub use spurline_api::google::protobuf::Any;
pub use spurline_api::google::rpc::Status;
pub use spurline_api::spurline::routing::v1 as routing;
pub use spurline_api::{
    BASELINE_TYPE_URL as BASELINE, KEY_OWNER_TYPE_URL as KEY_OWNER, OVERRIDE_TYPE_URL as OVERRIDE,
    REJECTIONS_TYPE_URL as REJECTIONS,
};

/// Whether a subscription written as `pattern` is one to `name`.
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('/') => name.starts_with(prefix),
        _ => pattern == name,
    }
}
