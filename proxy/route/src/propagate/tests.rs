use super::*;
use crate::{CarrierConfig, GatewayCarriers};

type Fields<'a> = [(&'a str, &'a str)];

fn extractor(change: impl FnOnce(&mut CarrierConfig)) -> Extractor {
    let mut config = CarrierConfig::default();
    change(&mut config);
    Extractor::new(config).unwrap()
}

fn propagate_at(extractor: &Extractor, fields: &Fields<'_>, target: &str) -> Edits {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let request = Request { fields, authority: None, target: target.as_bytes() };
    extractor.propagate(&request, &extractor.extract(&request))
}

fn propagate(fields: &Fields<'_>) -> Vec<Edit> {
    propagate_at(&extractor(|_| ()), fields, "/").edits
}

fn replace(at: usize, value: &str) -> Edit {
    Edit::Replace(at, value.as_bytes().to_vec())
}

fn append(name: &'static str, value: &str) -> Edit {
    Edit::Append(name.into(), value.as_bytes().to_vec())
}

#[test]
fn without_a_key_nothing_changes() {
    assert_eq!(propagate(&[("baggage", "a=1"), ("sd-routing-key", "no key!")]), []);
}

#[test]
fn what_is_canonical_already_is_left_alone() {
    let fields = [
        ("sd-routing-key", "k1"),
        ("baggage", "a=1 , sd-routing-key=k%31;p=1"),
        ("tracestate", "sd-routing-key=k1"),
        ("baggage", "b=2"),
    ];
    assert_eq!(propagate(&fields), []);
}

#[test]
fn a_missing_member_is_merged_into_the_last_baggage_line() {
    let fields = [("baggage", "a=1"), ("sd-routing-key", "k1"), ("Baggage", " b=2;p ; q , c "), ("x", "y")];
    assert_eq!(propagate(&fields), [replace(2, "b=2;p ; q , c,sd-routing-key=k1")]);
    assert_eq!(propagate(&[("sd-routing-key", "k1")]), [append("baggage", "sd-routing-key=k1")]);
    let empty = [("sd-routing-key", "k1"), ("baggage", "")];
    assert_eq!(propagate(&empty), [replace(1, "sd-routing-key=k1")]);
    let comma = [("sd-routing-key", "k1"), ("baggage", "a=1,")];
    assert_eq!(propagate(&comma), [replace(1, "a=1,sd-routing-key=k1")]);
}

#[test]
fn a_legacy_member_does_not_stand_for_the_canonical_one() {
    let fields = [("baggage", "sd-sandbox=k1")];
    assert_eq!(propagate(&fields), [replace(0, "sd-sandbox=k1,sd-routing-key=k1")]);
}

#[test]
fn carriers_that_hold_another_key_are_set_right_in_place() {
    let fields = [
        ("uberctx-sd-sandbox", "k2"),
        ("baggage", "a=1, sd-routing-key = k2;p=1 ,b=2"),
        ("tracestate", "rojo=1,sd-routing-key=k2,sd-sandbox=k1"),
        ("sd-routing-key", "k1"),
        ("baggage", "sd-sandbox=k3"),
    ];
    let expected = [
        replace(0, "k1"),
        replace(1, "a=1, sd-routing-key = k1;p=1 ,b=2"),
        replace(2, "rojo=1,sd-routing-key=k1,sd-sandbox=k1"),
        replace(4, "sd-sandbox=k1"),
    ];
    assert_eq!(propagate(&fields), expected);
}

#[test]
fn malformed_carriers_are_forwarded_as_they_came() {
    let fields = [
        ("sd-routing-key", "k1"),
        ("uberctx-sd-routing-key", "k2,k3"),
        ("uberctx-sd-routing-key", "k2"),
        ("tracestate", "sd-routing-key=a b"),
        ("baggage", "sd-routing-key=%zz"),
    ];
    assert_eq!(propagate(&fields), [replace(4, "sd-routing-key=%zz,sd-routing-key=k1")]);
}

#[test]
fn a_key_that_no_field_held_gets_a_custom_header_too() {
    let expected = [append("baggage", "sd-routing-key=k1"), append("sd-routing-key", "k1")];
    let own = extractor(|config| config.own_key = "k1".parse().ok());
    assert_eq!(propagate_at(&own, &[], "/").edits, expected);
    let gateway = extractor(|config| {
        let (order, query) = (vec![GatewayCarrier::Query], Some("sd".to_owned()));
        config.gateway = GatewayCarriers { order, query, ..GatewayCarriers::default() };
    });
    assert_eq!(propagate_at(&gateway, &[], "/?sd=k1").edits, expected);
}

#[test]
fn a_full_baggage_is_left_alone_and_the_custom_header_holds_the_key() {
    let full_by_members = "a=1,".repeat(64);
    let full_by_bytes = "a".repeat(8192 - 10);
    let oversize = "a=1,".repeat(70);
    for baggage in [full_by_members, full_by_bytes, oversize] {
        let fields = [("baggage", baggage.as_str()), ("uberctx-sd-routing-key", "k1")];
        let edits = propagate_at(&extractor(|_| ()), &fields, "/");
        assert_eq!(edits.edits, [append("sd-routing-key", "k1")]);
        assert_eq!(edits.outcome, Outcome { baggage_full: true, ..Outcome::default() });
    }
}

#[test]
fn the_last_free_byte_and_member_of_baggage_are_used() {
    let member = "sd-routing-key=k1";
    for (baggage, fits) in [
        ("a=1,".repeat(63), true),
        ("a=1,".repeat(64), false),
        ("a".repeat(8192 - 1 - member.len()), true),
        ("a".repeat(8192 - member.len()), false),
    ] {
        let fields = [("sd-routing-key", "k1"), ("baggage", baggage.as_str())];
        let edits = propagate_at(&extractor(|_| ()), &fields, "/");
        assert_eq!((edits.edits.len(), edits.outcome.baggage_full), (usize::from(fits), !fits));
    }
}

#[test]
fn a_losing_member_goes_when_the_key_does_not_fit_in_its_place() {
    let foreign = "a".repeat(8192 - ",sd-routing-key=k".len());
    let baggage = format!("{foreign},sd-routing-key=k");
    let fields = [("sd-routing-key", "longer"), ("baggage", baggage.as_str())];
    let edits = propagate_at(&extractor(|_| ()), &fields, "/");
    assert_eq!(edits.edits, [replace(1, &foreign)]);
    assert!(edits.outcome.baggage_full && !edits.outcome.key_lost);
}

#[test]
fn a_malformed_custom_header_is_not_joined_by_another_line() {
    let two = extractor(|config| config.custom_headers = vec!["x-a".to_owned(), "x-b".to_owned()]);
    let baggage = "a=1,".repeat(64);
    let fields = [("x-a", "no key!"), ("tracestate", "sd-routing-key=k1"), ("baggage", baggage.as_str())];
    assert_eq!(propagate_at(&two, &fields, "/").edits, [append("x-b", "k1")]);
}

#[test]
fn a_key_that_fits_nowhere_is_reported_lost() {
    let none = extractor(|config| {
        config.custom_headers.clear();
        config.own_key = "k1".parse().ok();
    });
    let baggage = "a=1,".repeat(64);
    let edits = propagate_at(&none, &[("baggage", baggage.as_str())], "/");
    assert_eq!(edits.outcome, Outcome { baggage_full: true, key_lost: true, stripped: 0 });
    assert!(edits.is_empty());
}

#[test]
fn stripping_takes_out_carriers_and_nothing_else() {
    let gateway = extractor(|config| {
        config.gateway = GatewayCarriers {
            order: vec![GatewayCarrier::Query, GatewayCarrier::Cookie],
            host_pattern: None,
            query: Some("sd".to_owned()),
            cookie: Some("sd".to_owned()),
        };
    });
    let fields = [
        ("Sd-Routing-Key", "no key!"),
        ("baggage", "sd-routing-key,a=1;p, sd-sandbox=%zz"),
        ("accept", "*/*"),
        ("tracestate", "sd-workspace=1"),
        ("cookie", "a=1; sd=2"),
        ("x-spurline-explain", "0"),
        ("ot-baggage-sd-sandbox", ""),
        ("baggage", "b=2"),
    ];
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let edits = gateway.strip(&Request { fields, authority: None, target: b"/a?sd=1&b=2" });
    let expected = [
        Edit::Remove(0),
        replace(1, "a=1;p"),
        Edit::Remove(3),
        replace(4, "a=1"),
        Edit::Remove(5),
        Edit::Remove(6),
        Edit::Target(b"/a?b=2".to_vec()),
    ];
    assert_eq!((edits.edits.as_slice(), edits.outcome.stripped), (expected.as_slice(), 7));
}

#[test]
fn stripping_a_request_without_carriers_changes_nothing() {
    let fields = [(b"baggage".as_slice(), b"a=1".as_slice()), (b"cookie", b"sd=1")];
    let request = Request { fields: fields.into_iter(), authority: None, target: b"/?sd=1" };
    assert_eq!(extractor(|_| ()).strip(&request), Edits::default());
}
