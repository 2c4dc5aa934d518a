//! What decides where an upstream request goes and whether it may be tried again.
//!
//! Pure state machines: time and randomness are arguments, one owner (a worker) calls them, and a request that
//! succeeds costs a few integer operations in each. They open no connections, keep no timers and know nothing of
//! protocols: whether an answer counts as a failure, and whether a request is safe to repeat, is the caller's
//! judgement.

pub(crate) mod balance;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod outlier;
