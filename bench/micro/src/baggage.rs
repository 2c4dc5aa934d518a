//! Working out what must change in a head so that the next hop reads the same key.

use std::hint::black_box;

use anyhow::{Result, ensure};
use spurline_route::{Edit, Edits};

use crate::{
    Case, Operation,
    messages::{self, BAGGAGE, KEY_HEADER},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "baggage/add", prepare: add },
    Case { name: "baggage/replace", prepare: replace },
    Case { name: "baggage/full", prepare: full },
];

/// The key stands in a header and not in the baggage that is there.
fn add() -> Result<Operation> {
    editing(
        &format!("{KEY_HEADER}{BAGGAGE}"),
        None,
        |edits| matches!(edits.edits.as_slice(), [Edit::Replace(_, line)] if line.ends_with(b"sd-routing-key=k3v9q2x7w5m1")),
    )
}

/// A header wins over the key in the baggage.
fn replace() -> Result<Operation> {
    let baggage = "baggage: userId=alice,sd-routing-key=other,serverNode=DF%2028,isProduction=false\r\n";
    editing(
        &format!("{KEY_HEADER}{baggage}"),
        None,
        |edits| matches!(edits.edits.as_slice(), [Edit::Replace(_, line)] if line.ends_with(b"isProduction=false")),
    )
}

/// The fork that sends has a key, and its baggage has no room for it.
fn full() -> Result<Operation> {
    let baggage = format!("baggage: {}last=1\r\n", "member=value,".repeat(63));
    editing(&baggage, Some(messages::KEY), |edits| {
        edits.outcome.baggage_full && matches!(edits.edits.as_slice(), [Edit::Append(..)])
    })
}

fn editing(fields: &str, own_key: Option<&str>, is_meant: fn(&Edits) -> bool) -> Result<Operation> {
    let head = messages::request_head(&messages::request(fields))?;
    let extractor = messages::extractor(own_key.map(str::parse).transpose()?)?;
    let extraction = extractor.extract(&messages::view(&head));
    let edits = extractor.propagate(&messages::view(&head), &extraction);
    ensure!(is_meant(&edits), "edits are {edits:?}");
    Ok(Box::new(move || {
        black_box(extractor.propagate(&messages::view(black_box(&head)), &extraction));
    }))
}
