//! Looking up which endpoints a key selects.

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Result, ensure};
use spurline_route::{
    BaselineReason, Endpoint, OnUnavailable, Override, PortMatch, Query, RouteTable, RouteTableBuilder,
    RoutingKey, Selection, Workload, select,
};

use crate::{Case, Operation, rotation::Rotation};

pub(crate) const CASES: &[Case] = &[
    Case { name: "lookup/1-hit", prepare: || hit(1) },
    Case { name: "lookup/1-miss", prepare: || miss(1) },
    Case { name: "lookup/100000-hit", prepare: || hit(100_000) },
    Case { name: "lookup/100000-miss", prepare: || miss(100_000) },
];

const PORT: u16 = 8080;
/// So many keys are asked for in turn. What one costs depends on the table's random seed, what all cost hardly.
const KEYS_ASKED: usize = 512;

fn hit(overrides: usize) -> Result<Operation> {
    let stride = (overrides / KEYS_ASKED).max(1);
    let keys = (0..overrides).step_by(stride).map(present).collect::<Result<Vec<_>>>()?;
    lookups(overrides, keys, |selection| matches!(selection, Selection::Override(..)))
}

fn miss(overrides: usize) -> Result<Operation> {
    let keys = (0..KEYS_ASKED).map(absent).collect::<Result<Vec<_>>>()?;
    lookups(overrides, keys, |selection| *selection == Selection::Baseline(BaselineReason::UnknownKey))
}

fn present(number: usize) -> Result<RoutingKey> {
    Ok(format!("k{number:011}").parse()?)
}

fn absent(number: usize) -> Result<RoutingKey> {
    Ok(format!("x{number:011}").parse()?)
}

fn lookups(
    overrides: usize,
    keys: Vec<RoutingKey>,
    is_meant: fn(&Selection<'_>) -> bool,
) -> Result<Operation> {
    let workload = Workload::parse("shop/Deployment/cart")?;
    let table = table(&workload, overrides)?;
    for key in &keys {
        let query = Query { workload: &workload, port: PORT, key: Some(key), strict: false };
        let selection = select(&table, &query);
        ensure!(is_meant(&selection), "{key} selects {selection:?}");
    }
    let mut keys = Rotation::new(keys);
    Ok(Box::new(move || {
        let query = Query { workload: &workload, port: PORT, key: keys.turn(), strict: false };
        black_box(select(black_box(&table), &query));
    }))
}

fn table(workload: &Workload, overrides: usize) -> Result<RouteTable> {
    let mut builder = RouteTableBuilder::new(1);
    for number in 0..overrides {
        let host = u32::try_from(number)?;
        let endpoint = Endpoint { addr: SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + host), PORT)) };
        let name: Arc<str> = format!("sandbox-{number}").into();
        let key = present(number)?;
        builder.add_sandbox(Arc::clone(&name), key)?;
        let rule = Override {
            fork: format!("cart-{number}").into(),
            sandbox: name,
            on_unavailable: OnUnavailable::Reject,
            ports: vec![(PortMatch::Port(PORT), Arc::from([endpoint]))],
        };
        builder.add_override(workload, key, rule)?;
    }
    Ok(builder.build()?)
}
