//! What must hold for `spurline-route`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken. What a member or a foreign field is, is found
//! out here in its own way, so that a mistake of the crate is not repeated.

use spurline_route::{
    CarrierConfig, Claims, Edit, Edits, Extraction, Extractor, GatewayCarrier, GatewayCarriers, HostPattern,
    KeyMaterial, Request, Trust, Verifier, VerifyingKey, sign_hmac,
};

/// Names and values in order.
pub type Head = Vec<(Vec<u8>, Vec<u8>)>;

const MEMBERS: [&[u8]; 3] = [b"sd-routing-key", b"sd-sandbox", b"sd-workspace"];
const SECRET: [u8; 32] = [7; 32];

/// Every line of the data is one `baggage` field.
pub fn baggage(data: &[u8]) {
    lists(b"baggage", data);
}

/// Every line of the data is one `tracestate` field.
pub fn tracestate(data: &[u8]) {
    lists(b"tracestate", data);
}

/// Every line of the data is a field, `name:value`; the first is the authority and the target.
pub fn extract(data: &[u8]) {
    let (first, head) = head(data);
    let (authority, target) = split(first, b' ');
    for extractor in [sidecar(), gateway()] {
        let extraction = extractor.extract(&request(&head, authority, target));
        assert_eq!(extraction.key.is_some(), extraction.carrier.is_some());
        assert!(extraction.conflict.is_none() || extraction.conflict != extraction.key);
        for trust in [Trust::All, Trust::Signed, Trust::None] {
            let admission = extractor.admit(&request(&head, authority, target), trust, Some(&verifier()), 0);
            let edits = extractor.edits(&request(&head, authority, target), &admission);
            let after = apply(&head, &edits);
            assert!(admission.strip || foreign(&head) == foreign(&after));
        }
        for (name, _) in &head {
            std::hint::black_box(extractor.is_protected(name));
        }
    }
}

/// As [`extract`]: what is written is read back.
pub fn propagate(data: &[u8]) {
    let (_, head) = head(data);
    holds(&sidecar(), &head);
}

/// The data is a token, and the key of a valid one.
pub fn token(data: &[u8]) {
    let verifier = verifier();
    assert!(verifier.verify(data, 0).is_err(), "nobody signed this");
    if let Ok(key) = spurline_route::RoutingKey::parse(data) {
        let claims = Claims { key, expires_unix_seconds: 5, kid: "a", audience: "fuzz" };
        let token = sign_hmac(&SECRET, &claims).expect("the claims are valid");
        assert_eq!(verifier.verify(token.as_bytes(), 5), Ok(key));
        assert!(verifier.verify(token.as_bytes(), 6).is_err());
    }
}

/// The first line of the data is a pattern, the rest an authority.
pub fn host_pattern(data: &[u8]) {
    let (text, authority) = split(data, b'\n');
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<HostPattern>().ok());
    if let Some(pattern) = &parsed {
        assert_eq!(pattern.to_string().as_bytes(), text);
        assert_eq!(pattern.to_string().parse::<HostPattern>().as_ref(), Ok(pattern));
    }
    let fixed: HostPattern = "{key}--*.preview.example.com".parse().expect("the pattern is valid");
    for pattern in parsed.iter().chain([&fixed]) {
        if let Some(host) = pattern.read(authority) {
            assert!(authority.starts_with(host.key));
            assert!(host.key.len() + host.endpoint.len() < authority.len());
            assert!(!host.key.contains(&b'.') && !host.endpoint.contains(&b'.'));
        }
    }
}

/// The first line of the data is a target, every other one a `cookie` field.
pub fn cookie_query(data: &[u8]) {
    let (target, cookies) = split(data, b'\n');
    let head: Head =
        cookies.split(|&byte| byte == b'\n').map(|line| (b"cookie".to_vec(), line.to_vec())).collect();
    let gateway = gateway();
    let extraction = gateway.extract(&request(&head, b"", target));
    assert!(!target.is_empty() || extraction.key.is_none() || extraction.carrier.is_some());
    let edits = gateway.strip(&request(&head, b"", target));
    let new_target = edits.edits.iter().find_map(|edit| match edit {
        Edit::Target(target) => Some(target.as_slice()),
        _ => None,
    });
    let after = apply(&head, &edits);
    let stripped = gateway.extract(&request(&after, b"", new_target.unwrap_or(target)));
    assert_eq!(stripped, Extraction::default());
}

/// Every promise about reading, writing and stripping one head at a sidecar.
pub fn holds(extractor: &Extractor, head: &Head) {
    let before = extractor.extract(&request(head, b"", b"/"));
    let edits = extractor.propagate(&request(head, b"", b"/"), &before);
    let after = apply(head, &edits);
    assert_eq!(foreign(head), foreign(&after), "what is not ours keeps its order and its bytes");
    let again = extractor.extract(&request(&after, b"", b"/"));
    if edits.outcome.key_lost {
        assert!(again.key.is_none());
    } else {
        assert_eq!(before.key, again.key, "what is written reads back");
        assert_eq!(again.conflict, None, "every carrier agrees afterwards");
        let second = extractor.propagate(&request(&after, b"", b"/"), &again);
        assert!(second.is_empty(), "the second time changes nothing: {second:?}");
    }
    if before.key.is_none() {
        assert!(edits.is_empty(), "a head without a key is forwarded as it came");
    }
    let stripped = apply(head, &extractor.strip(&request(head, b"", b"/")));
    assert_eq!(foreign(head), foreign(&stripped), "stripping takes nothing that is not ours");
    let nothing = extractor.extract(&request(&stripped, b"", b"/"));
    assert_eq!(nothing, Extraction::default(), "no carrier is left");
    assert!(extractor.strip(&request(&stripped, b"", b"/")).is_empty());
}

/// The default configuration.
pub fn sidecar() -> Extractor {
    Extractor::new(CarrierConfig::default()).expect("the default is valid")
}

/// The default configuration with every carrier of a gateway.
pub fn gateway() -> Extractor {
    let gateway = GatewayCarriers {
        order: vec![GatewayCarrier::Host, GatewayCarrier::Query, GatewayCarrier::Cookie],
        host_pattern: "{key}--*.preview.example.com".parse().ok(),
        query: Some("sd".to_owned()),
        cookie: Some("sd".to_owned()),
    };
    Extractor::new(CarrierConfig { gateway, ..CarrierConfig::default() }).expect("the names are valid")
}

/// A view of a head as a request.
pub fn request<'a>(
    head: &'a Head,
    authority: &'a [u8],
    target: &'a [u8],
) -> Request<'a, impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone> {
    let fields = head.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    Request { fields, authority: Some(authority), target }
}

/// The head after some edits; checks that they are in order and that each field has at most one.
pub fn apply(head: &Head, edits: &Edits) -> Head {
    let mut after: Vec<_> = head.iter().cloned().map(Some).collect();
    let mut last = None;
    for edit in &edits.edits {
        match edit {
            Edit::Remove(index) | Edit::Replace(index, _) => {
                assert!(last < Some(*index) && *index < head.len(), "edits are in order: {edits:?}");
                last = Some(*index);
            }
            Edit::Append(..) | Edit::Target(_) => last = Some(usize::MAX),
        }
        match edit {
            Edit::Remove(index) => after[*index] = None,
            Edit::Replace(index, value) => {
                let name = head[*index].0.clone();
                after[*index] = Some((name, value.clone()));
            }
            Edit::Append(name, value) => after.push(Some((name.as_bytes().to_vec(), value.clone()))),
            Edit::Target(_) => {}
        }
    }
    after.into_iter().flatten().collect()
}

/// What is not ours: other fields, and the members of others.
fn foreign(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut foreign = Vec::new();
    for (name, value) in head {
        let lower = name.to_ascii_lowercase();
        let is_list = lower == b"baggage" || lower == b"tracestate";
        if is_list {
            let pieces = value.split(|&byte| byte == b',').map(trim).filter(|piece| !piece.is_empty());
            let others = pieces.filter(|piece| {
                let pair = if lower == b"baggage" { split(piece, b';').0 } else { piece };
                !MEMBERS.contains(&trim(split(pair, b'=').0))
            });
            foreign.extend(others.map(|piece| (lower.clone(), piece.to_vec())));
        } else if !is_carrier(&lower) {
            foreign.push((name.clone(), value.clone()));
        }
    }
    // Lists are compared list by list: lines of different lists may change places by merging.
    foreign.sort_by_key(|(name, _)| match name.as_slice() {
        b"baggage" => 1,
        b"tracestate" => 2,
        _ => 0,
    });
    foreign
}

fn is_carrier(lower: &[u8]) -> bool {
    let control: [&[u8]; 2] = [b"x-spurline-strict", b"x-spurline-explain"];
    let prefixes: [&[u8]; 3] = [b"ot-baggage-", b"uberctx-", b"baggage-"];
    lower == MEMBERS[0]
        || control.contains(&lower)
        || prefixes
            .iter()
            .any(|prefix| lower.strip_prefix(*prefix).is_some_and(|rest| MEMBERS.contains(&rest)))
}

fn lists(name: &[u8], data: &[u8]) {
    let mut head: Head =
        data.split(|&byte| byte == b'\n').map(|line| (name.to_vec(), line.to_vec())).collect();
    holds(&sidecar(), &head);
    head.push((b"sd-routing-key".to_vec(), b"k3v9m2x7q4ab".to_vec()));
    holds(&sidecar(), &head);
}

fn head(data: &[u8]) -> (&[u8], Head) {
    let (first, rest) = split(data, b'\n');
    let fields = rest.split(|&byte| byte == b'\n').map(|line| {
        let (name, value) = split(line, b':');
        (name.to_vec(), value.to_vec())
    });
    (first, fields.collect())
}

fn verifier() -> Verifier {
    let material = KeyMaterial::Hmac(SECRET.to_vec());
    Verifier::new(vec![VerifyingKey { kid: "a".to_owned(), material }], "fuzz", 0).expect("the key is valid")
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == at);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
