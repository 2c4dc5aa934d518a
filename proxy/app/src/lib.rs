//! Filled by what follows.

pub mod admin;
pub mod readiness;
pub mod routes;
