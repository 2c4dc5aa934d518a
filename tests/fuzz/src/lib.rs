//! The bodies of the fuzz targets, one module per crate under test.

pub mod core;
pub mod grpc;
pub mod grpc_web;
pub mod h2;
pub mod h2_calls;
pub mod hpack;
pub mod http;
pub mod net;
pub mod rest;
pub mod route;
pub mod source;
pub mod xds;
