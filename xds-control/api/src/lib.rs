//! Messages and services on the wire.
//!
//! The `.proto` files beside the source say what every field means and what its default is. The code in `generated/`
//! comes from them and is checked in, so that nobody needs a compiler for them; the test `fresh` fails when it is not
//! what they give. Fields of type `bytes` are [`bytes::Bytes`], so that what is encoded once can be shared; that is
//! also why `google.protobuf` stands here instead of coming from `prost-types`.
//!
//! Feature `grpc`: clients and servers of the services as well. Without it nothing here reaches a runtime.

/// The type URL of [`spurline::routing::v1::Override`].
pub const OVERRIDE_TYPE_URL: &str = "type.googleapis.com/spurline.routing.v1.Override";
/// The type URL of [`spurline::routing::v1::Baseline`].
pub const BASELINE_TYPE_URL: &str = "type.googleapis.com/spurline.routing.v1.Baseline";
/// The type URL of [`spurline::routing::v1::KeyOwner`].
pub const KEY_OWNER_TYPE_URL: &str = "type.googleapis.com/spurline.routing.v1.KeyOwner";
/// The type URL of [`spurline::routing::v1::Rejections`], a detail of an error.
pub const REJECTIONS_TYPE_URL: &str = "type.googleapis.com/spurline.routing.v1.Rejections";

/// Nests generated packages as they refer to each other.
macro_rules! packages {
    ($($name:ident { $($inner:tt)* })+) => { $(pub mod $name { packages!($($inner)*); })+ };
    ($file:literal) => { include!(concat!("generated/", $file)); };
}

#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "what is generated follows the generator's rules"
)]
mod generated {
    packages! {
        envoy {
            config { core { v3 { "envoy.config.core.v3.rs" } } }
            service { discovery { v3 { "envoy.service.discovery.v3.rs" } } }
        }
        google {
            protobuf { "google.protobuf.rs" }
            rpc { "google.rpc.rs" }
        }
        routes { "routes.rs" }
        spurline {
            routing { v1 { "spurline.routing.v1.rs" } }
        }
    }
}

pub use generated::{envoy, google, routes, spurline};
