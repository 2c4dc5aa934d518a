//! The model of the control service, from what users write to what proxies are told.
//!
//! [`document`] reads what users write and says everything that is wrong with it at once. [`model`] holds the
//! documents, settles their conflicts by documented rules and derives resources, each edit at the cost of what it
//! affects. [`catalog`] gives the resources versions and encodings, remembers what changed, and lists and compares.
//!
//! It is pure: no sockets, no clock, no environment, no files. Time is passed in, and nothing expires by itself.

pub mod catalog;
pub mod document;
pub mod model;
