//! Routing keys: their grammar, where they travel, and which endpoints they select. Pure.

mod key;

mod carrier;
mod host_pattern;

mod admit;

mod explain;
mod select;
mod table;
mod workload;

pub use crate::{
    admit::Trust,
    carrier::{
        Carrier, CarrierConfig, CarrierError, CarrierSet, GatewayCarrier, GatewayCarriers, MemberCarrier,
        OnConflict,
    },
    explain::Explain,
    host_pattern::{HostPattern, HostPatternError, PreviewHost},
    key::{KeyError, RoutingKey},
    select::{BaselineReason, Query, RejectReason, Selection, select},
    table::{Endpoint, OnUnavailable, Override, PortMatch, RouteTable, RouteTableBuilder, TableError},
    workload::{Workload, WorkloadError},
};
