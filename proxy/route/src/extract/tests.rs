use super::*;
use crate::MemberCarrier;

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn extractor(change: impl FnOnce(&mut CarrierConfig)) -> Extractor {
    let mut config = CarrierConfig::default();
    change(&mut config);
    Extractor::new(config).unwrap()
}

fn gateway() -> Extractor {
    extractor(|config| {
        config.gateway = GatewayCarriers {
            order: vec![GatewayCarrier::Host, GatewayCarrier::Query, GatewayCarrier::Cookie],
            host_pattern: Some("{key}--*.preview.example.com".parse().unwrap()),
            query: Some("sd".to_owned()),
            cookie: Some("sd".to_owned()),
        };
    })
}

fn read(extractor: &Extractor, fields: &Fields<'_>) -> Extraction {
    read_at(extractor, fields, "shop.example.com", "/")
}

fn read_at(extractor: &Extractor, fields: &Fields<'_>, host: &str, target: &str) -> Extraction {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let request = Request { fields, authority: Some(host.as_bytes()), target: target.as_bytes() };
    extractor.extract(&request)
}

fn hit(extraction: &Extraction) -> Option<(&str, Carrier)> {
    extraction.key.as_ref().map(RoutingKey::as_str).zip(extraction.carrier)
}

/// The fields of the default configuration in the order of reading, each with a key of its own.
fn everything() -> Fields<'static> {
    vec![
        ("SD-Routing-Key", "k0"),
        ("baggage", "sd-routing-key=k1"),
        ("tracestate", "sd-routing-key=k2"),
        ("ot-baggage-sd-routing-key", "k3"),
        ("uberctx-sd-routing-key", "k4"),
        ("baggage-sd-routing-key", "k5"),
        ("Baggage", "sd-sandbox=k6"),
        ("Tracestate", "sd-sandbox=k7"),
        ("ot-baggage-sd-sandbox", "k8"),
        ("uberctx-sd-sandbox", "k9"),
        ("baggage-sd-sandbox", "k10"),
        ("baggage", "sd-workspace=k11"),
        ("tracestate", "sd-workspace=k12"),
        ("ot-baggage-sd-workspace", "k13"),
        ("uberctx-sd-workspace", "k14"),
        ("baggage-sd-workspace", "k15"),
    ]
}

#[test]
fn carriers_are_read_in_the_documented_order_whatever_the_order_on_the_wire() {
    let extractor = extractor(|_| ());
    let mut fields = everything();
    let carriers = Carrier::ALL.into_iter().take(11).chain(Carrier::ALL.into_iter().skip(6).take(5));
    for (at, carrier) in carriers.enumerate() {
        for reversed in [false, true] {
            let mut wire = fields.clone();
            if reversed {
                wire.reverse();
            }
            assert_eq!(hit(&read(&extractor, &wire)), Some((format!("k{at}").as_str(), carrier)));
        }
        fields.remove(0);
    }
    assert_eq!(read(&extractor, &fields), Extraction::default());
}

#[test]
fn a_request_without_a_carrier_has_no_key() {
    let fields = vec![("host", "a"), ("baggage", "userId=1;p=sd-routing-key=2"), ("tracestate", "rojo=1")];
    assert_eq!(read(&extractor(|_| ()), &fields), Extraction::default());
    let prefixed = vec![("x-sd-routing-key", "k"), ("sd-routing-key-x", "k"), ("sd_routing_key", "k")];
    assert_eq!(read(&extractor(|_| ()), &prefixed), Extraction::default());
}

#[test]
fn several_custom_headers_are_read_in_the_configured_order() {
    let extractor = extractor(|config| config.custom_headers = vec!["x-b".to_owned(), "X-A".to_owned()]);
    let extraction = read(&extractor, &vec![("x-a", "k1"), ("x-b", "k2")]);
    assert_eq!(hit(&extraction), Some(("k2", Carrier::Header(0))));
    assert_eq!(hit(&read(&extractor, &vec![("X-a", "k1")])), Some(("k1", Carrier::Header(1))));
    assert_eq!(read(&extractor, &vec![("sd-routing-key", "k1")]).key, None);
}

#[test]
fn a_conflict_names_the_first_key_that_lost() {
    let extractor = extractor(|_| ());
    let fields =
        vec![("baggage", "sd-routing-key=k2"), ("tracestate", "sd-routing-key=k3"), ("sd-routing-key", "k1")];
    let extraction = read(&extractor, &fields);
    assert_eq!(
        (hit(&extraction), extraction.conflict),
        (Some(("k1", Carrier::Header(0))), "k2".parse().ok())
    );
    let twice = read(&extractor, &vec![("baggage", "sd-routing-key=k1,sd-routing-key=k2")]);
    assert_eq!((hit(&twice), twice.conflict), (Some(("k1", Carrier::Baggage)), "k2".parse().ok()));
    let equal = vec![("sd-routing-key", "k1"), ("baggage", "sd-routing-key=k1,sd-sandbox=k1")];
    assert_eq!(read(&extractor, &equal).conflict, None);
}

#[test]
fn a_conflict_is_refused_only_where_configured() {
    let conflict = vec![("sd-routing-key", "k1"), ("baggage", "sd-routing-key=k2")];
    let lenient = extractor(|_| ());
    assert_eq!(lenient.refusal(&read(&lenient, &conflict)), None);
    let strict = extractor(|config| config.on_conflict = OnConflict::Reject);
    assert_eq!(strict.refusal(&read(&strict, &conflict)), Some(RejectReason::ConflictingKeys));
    assert_eq!(strict.refusal(&read(&strict, &vec![("sd-routing-key", "k1")])), None);
}

#[test]
fn a_header_with_several_values_counts_only_if_they_are_equal() {
    let extractor = extractor(|_| ());
    for equal in [vec![("sd-routing-key", "k1"); 3], vec![("sd-routing-key", " k1 ,k1\t")]] {
        let extraction = read(&extractor, &equal);
        assert_eq!((hit(&extraction), extraction.malformed), (Some(("k1", Carrier::Header(0))), 0));
    }
    for different in [
        vec![("sd-routing-key", "k1"), ("Sd-Routing-Key", "k2")],
        vec![("sd-routing-key", "k1,k2")],
        vec![("sd-routing-key", "k1,")],
        vec![("sd-routing-key", "k1"), ("sd-routing-key", "")],
    ] {
        let extraction = read(&extractor, &different);
        assert_eq!((extraction.key, extraction.malformed), (None, 1), "{different:?}");
        assert!(extraction.present.contains(Carrier::Header(0)));
    }
}

#[test]
fn a_malformed_carrier_is_counted_and_the_next_one_read() {
    let fields = vec![
        ("sd-routing-key", "no key!"),
        ("baggage", "sd-routing-key=%zz"),
        ("tracestate", "sd-routing-key=a%20b"),
        ("uberctx-sd-routing-key", "k4"),
    ];
    let extraction = read(&extractor(|_| ()), &fields);
    assert_eq!((hit(&extraction), extraction.malformed), (Some(("k4", Carrier::Uberctx)), 3));
    let present: Vec<_> = extraction.present.iter().map(Carrier::label).collect();
    assert_eq!(present, ["header", "baggage", "tracestate", "uberctx"]);
    assert_eq!(extraction.conflict, None);
}

#[test]
fn strict_and_explain_are_asked_for_with_a_one() {
    let extractor = extractor(|_| ());
    let asked = read(&extractor, &vec![("X-Spurline-Strict", " 1"), ("x-spurline-explain", "1")]);
    assert!(asked.strict && asked.explain && asked.present.is_empty());
    let not = read(&extractor, &vec![("x-spurline-strict", "true"), ("x-spurline-explain", "0")]);
    assert!(!not.strict && !not.explain);
}

#[test]
fn only_a_gateway_reads_host_query_and_cookie() {
    let fields = vec![("cookie", "a=1; sd=k3"), ("cookie", "b=2")];
    let (host, target) = ("K1--web.preview.example.com:8443", "/?a=b&sd=k%32");
    let gateway = gateway();
    let extraction = read_at(&gateway, &fields, host, target);
    assert_eq!((hit(&extraction), extraction.conflict), (Some(("k1", Carrier::Host)), "k2".parse().ok()));
    let extraction = read_at(&gateway, &fields, "www.example.com", target);
    assert_eq!(hit(&extraction), Some(("k2", Carrier::Query)));
    assert_eq!(hit(&read(&gateway, &fields)), Some(("k3", Carrier::Cookie)));
    assert_eq!(read_at(&extractor(|_| ()), &fields, host, target), Extraction::default());
    let header = read_at(&gateway, &vec![("sd-routing-key", "k9")], host, target);
    assert_eq!(hit(&header), Some(("k9", Carrier::Header(0))));
}

#[test]
fn malformed_gateway_carriers_are_counted_too() {
    let extraction =
        read_at(&gateway(), &vec![("cookie", "sd=1;sd=2")], "--web.preview.example.com", "/?sd=%%&sd");
    assert_eq!((extraction.key, extraction.malformed), (None, 3));
}

#[test]
fn the_own_key_counts_when_the_message_has_none_and_is_no_conflict() {
    let extractor = extractor(|config| config.own_key = "own".parse().ok());
    assert_eq!(hit(&read(&extractor, &vec![])), Some(("own", Carrier::Own)));
    let extraction = read(&extractor, &vec![("sd-routing-key", "k1")]);
    assert_eq!((hit(&extraction), extraction.conflict), (Some(("k1", Carrier::Header(0))), None));
}

#[test]
fn trace_correlation_goes_before_the_own_key_and_after_the_message() {
    let extractor = extractor(|config| config.own_key = "own".parse().ok());
    let mut extraction = read(&extractor, &vec![]);
    extraction.recover("found".parse().unwrap());
    assert_eq!(hit(&extraction), Some(("found", Carrier::Trace)));
    let mut extraction = read(&extractor, &vec![("uberctx-sd-sandbox", "k1")]);
    extraction.recover("found".parse().unwrap());
    assert_eq!(hit(&extraction), Some(("k1", Carrier::Legacy(MemberCarrier::Uberctx))));
}

#[test]
fn fields_that_a_connection_header_must_not_name_are_known() {
    let extractor = extractor(|config| config.custom_headers = vec!["x-key".to_owned()]);
    for name in [
        "X-Key",
        "baggage",
        "tracestate",
        "Traceparent",
        "Host",
        "authorization",
        "X-Forwarded-For",
        "x-spurline-anything",
        "uberctx-sd-sandbox",
        "ot-baggage-sd-routing-key",
    ] {
        assert!(extractor.is_protected(name.as_bytes()), "{name}");
    }
    for name in ["", "close", "x-foo", "keep-alive", "x-forwarded", "sd-routing-key", "cookie"] {
        assert!(!extractor.is_protected(name.as_bytes()), "{name}");
    }
}
