//! The bodies of the fuzz targets, one module per crate under test.

pub mod http;
pub mod net;
pub mod route;
