//! From the bytes of a head to those that are forwarded, in the order in which the relay does it.

use std::hint::black_box;

use anyhow::{Context, Result, bail, ensure};
use spurline_http::{
    Framing, Head, Limits, Method, Version, connection_options,
    h1::{self, Persistence, ResponseEncoding},
    remove_hop_by_hop,
};
use spurline_route::{Edit, Extractor, Trust};

use crate::{
    Case, Operation,
    messages::{self, BAGGAGE, KEY_HEADER, KEYED_BAGGAGE},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "h1/request", prepare: request },
    Case { name: "h1/request-edited", prepare: edited_request },
    Case { name: "h1/response", prepare: response },
];

/// Forwarded as it came.
fn request() -> Result<Operation> {
    let input = messages::request(KEYED_BAGGAGE);
    let expected = input.clone();
    relayed_request(input, &expected)
}

/// Fields for one hop go, the key is written into the baggage.
fn edited_request() -> Result<Operation> {
    let input = messages::request(&format!("connection: keep-alive\r\n{KEY_HEADER}{BAGGAGE}"));
    let keyed = BAGGAGE.replace("\r\n", &format!(",sd-routing-key={}\r\n", messages::KEY));
    let expected = messages::request(&format!("{KEY_HEADER}{keyed}"));
    relayed_request(input, &expected)
}

fn relayed_request(input: String, expected: &str) -> Result<Operation> {
    let extractor = messages::extractor(None)?;
    let (limits, mut head, mut output) = (Limits::default(), Head::default(), Vec::new());
    relay_request((input.as_bytes(), &limits), &extractor, &mut head, &mut output)?;
    ensure!(output == expected.as_bytes(), "forwarded {}", output.escape_ascii());
    Ok(Box::new(move || {
        output.clear();
        let relayed =
            relay_request((black_box(input.as_bytes()), &limits), &extractor, &mut head, &mut output);
        debug_assert!(relayed.is_ok());
        black_box(&output);
    }))
}

fn relay_request(
    (input, limits): (&[u8], &Limits),
    extractor: &Extractor,
    head: &mut Head,
    output: &mut Vec<u8>,
) -> Result<()> {
    let read = h1::read_request(input, limits, head)?.context("not a whole head")?;
    let edits = {
        let view = messages::view(head);
        extractor.edits(&view, &extractor.admit(&view, Trust::All, None, 0))
    };
    for edit in &edits.edits {
        match edit {
            Edit::Remove(index) => head.remove(*index),
            Edit::Replace(index, value) => head.replace(*index, value)?,
            Edit::Append(name, value) => head.append(name.as_bytes(), value)?,
            Edit::Target(target) => head.replace_target(target)?,
        }
    }
    let options = connection_options(head, |name| extractor.is_protected(name))?;
    if h1::requested_upgrade(head, options, read.framing)?.is_some() {
        bail!("an upgrade is not among what is measured");
    }
    remove_hop_by_hop(head);
    h1::encode_request(head, read.framing, None, output);
    Ok(())
}

fn response() -> Result<Operation> {
    let input = messages::numbered_response(7);
    let (limits, mut head, mut output) = (Limits::default(), Head::default(), Vec::new());
    relay_response(input.as_bytes(), &limits, &mut head, &mut output)?;
    ensure!(output == input.as_bytes(), "forwarded {}", output.escape_ascii());
    Ok(Box::new(move || {
        output.clear();
        let relayed = relay_response(black_box(input.as_bytes()), &limits, &mut head, &mut output);
        debug_assert!(relayed.is_ok());
        black_box(&output);
    }))
}

fn relay_response(input: &[u8], limits: &Limits, head: &mut Head, output: &mut Vec<u8>) -> Result<()> {
    let read = h1::read_response(input, Method(b"GET"), limits, head)?.context("not a whole head")?;
    ensure!(matches!(read.framing, Framing::Length(_)), "the length is not known");
    connection_options(head, |_| false)?;
    remove_hop_by_hop(head);
    let encoding = ResponseEncoding {
        framing: read.framing,
        client: Version::Http11,
        persistence: Persistence::KeepAlive,
        upgrade: None,
    };
    h1::encode_response(head, encoding, output);
    Ok(())
}
