//! The control service under load: how soon a change is everywhere, and what 10,000 sandboxes cost.
//!
//! What is measured has one core to itself. Simulated proxies, real ones beside them, backends and load share the other
//! core, so what they need is not counted for it, but it is part of every time that is measured.

mod document;
mod fan_out;
mod fleet;
mod load;
mod open_loop;
mod proxy;
mod report;
mod restart;
mod service;

pub(crate) use self::load::run as load;

use crate::scenario::Scenario;

/// How long a change takes to all proxies.
pub(crate) const FAN_OUT: &[Scenario] = fan_out::SCENARIOS;
/// How long proxies and the service itself take to be there.
pub(crate) const STARTS: &[Scenario] = restart::SCENARIOS;
