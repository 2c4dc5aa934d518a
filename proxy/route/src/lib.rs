//! Routing keys: their grammar, where they travel, and which endpoints they select.
//!
//! The crate answers four questions about one request: which key it holds ([`Extractor::extract`],
//! [`Extractor::admit`]), where it goes ([`select()`]), what must change in its head before it is forwarded
//! ([`Extractor::propagate`]), and why ([`Explain`]).
//!
//! It is pure: no sockets, no clock, no environment, no configuration files. Time and randomness are passed in,
//! and it neither parses HTTP nor applies its own [`Edits`]; the caller owns the message.

mod key;

mod carrier;
mod host_pattern;

mod members;
mod pairs;
mod percent;

mod admit;
mod extract;
mod propagate;
mod request;
mod scan;
mod token;

mod explain;
mod select;
mod table;
mod workload;

pub use crate::{
    admit::{Admission, Trust},
    carrier::{
        Carrier, CarrierConfig, CarrierError, CarrierSet, GatewayCarrier, GatewayCarriers, MemberCarrier,
        OnConflict,
    },
    explain::Explain,
    extract::{Extraction, Extractor},
    host_pattern::{HostPattern, HostPatternError, PreviewHost},
    key::{KeyError, RoutingKey},
    propagate::{Edit, Edits, Outcome},
    request::Request,
    select::{BaselineReason, Query, RejectReason, Selection, select},
    table::{Endpoint, OnUnavailable, Override, PortMatch, RouteTable, RouteTableBuilder, TableError},
    token::{Claims, KeyMaterial, TokenError, Verifier, VerifierError, VerifyingKey, sign_hmac},
    workload::{Workload, WorkloadError},
};
