//! Reading the routing key of a request.

use std::hint::black_box;

use anyhow::{Result, ensure};
use spurline_route::{Carrier, Extraction, Trust};

use crate::{
    Case, Operation,
    messages::{self, BAGGAGE, KEY_HEADER, KEYED_BAGGAGE},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "extract/none", prepare: none },
    Case { name: "extract/header", prepare: header },
    Case { name: "extract/baggage", prepare: baggage },
    Case { name: "extract/baggage-8KiB", prepare: long_baggage },
    Case { name: "extract/baggage-oversize", prepare: oversize_baggage },
];

fn none() -> Result<Operation> {
    extraction(BAGGAGE, |found| found.key.is_none() && found.malformed == 0)
}

fn header() -> Result<Operation> {
    extraction(KEY_HEADER, |found| found.carrier == Some(Carrier::Header(0)))
}

fn baggage() -> Result<Operation> {
    extraction(KEYED_BAGGAGE, |found| found.carrier == Some(Carrier::Baggage))
}

/// As large as baggage may be (W3C Baggage section 3.3.2), names that nearly match, and the key last.
fn long_baggage() -> Result<Operation> {
    let key = format!("sd-routing-key={}", messages::KEY);
    let name = "sd-routing-ke";
    let value = "v".repeat((8192 - key.len()) / 63 - name.len() - "=,".len());
    let line = format!("baggage: {}{key}\r\n", format!("{name}={value},").repeat(63));
    extraction(&line, |found| found.carrier == Some(Carrier::Baggage))
}

/// Nearly all that a head may hold, in the shortest members there are.
fn oversize_baggage() -> Result<Operation> {
    let line = format!("baggage: {}sd-routing-key={}\r\n", "a=1,".repeat(3800), messages::KEY);
    extraction(&line, |found| found.key.is_none() && found.malformed == 1)
}

fn extraction(fields: &str, is_meant: fn(&Extraction) -> bool) -> Result<Operation> {
    let head = messages::request_head(&messages::request(fields))?;
    let extractor = messages::extractor(None)?;
    let found = extractor.extract(&messages::view(&head));
    ensure!(is_meant(&found), "read {found:?}");
    Ok(Box::new(move || {
        black_box(extractor.admit(&messages::view(black_box(&head)), Trust::All, None, 0));
    }))
}
