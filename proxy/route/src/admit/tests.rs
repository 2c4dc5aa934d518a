use super::*;
use crate::{Carrier, CarrierConfig, Claims, Edit, KeyMaterial, VerifyingKey, sign_hmac};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn verifier() -> Verifier {
    let material = KeyMaterial::Hmac(SECRET.to_vec());
    Verifier::new(vec![VerifyingKey { kid: "a".to_owned(), material }], "staging", 0).unwrap()
}

fn token(key: &str) -> String {
    let claims =
        Claims { key: key.parse().unwrap(), expires_unix_seconds: NOW, kid: "a", audience: "staging" };
    sign_hmac(SECRET, &claims).unwrap()
}

fn admit(fields: &[(&str, &str)], trust: Trust) -> (Admission, Edits) {
    let extractor = Extractor::new(CarrierConfig::default()).unwrap();
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let request = Request { fields, authority: None, target: b"/" };
    let admission = extractor.admit(&request, trust, Some(&verifier()), NOW);
    let edits = extractor.edits(&request, &admission);
    (admission, edits)
}

#[test]
fn without_trust_no_key_counts_and_every_carrier_goes() {
    let fields = [
        ("sd-routing-key", "k1"),
        ("x-spurline-strict", "1"),
        ("baggage", "a=1,sd-routing-key=k1"),
        ("x", "y"),
    ];
    let (admission, edits) = admit(&fields, Trust::None);
    assert_eq!((admission.extraction, admission.strip), (Extraction::default(), true));
    let expected = [Edit::Remove(0), Edit::Remove(1), Edit::Replace(2, b"a=1".to_vec())];
    assert_eq!((edits.edits.as_slice(), edits.outcome.stripped), (expected.as_slice(), 3));
}

#[test]
fn with_full_trust_bare_keys_count() {
    let (admission, edits) =
        admit(&[("baggage", "sd-routing-key=k1"), ("x-spurline-strict", "1")], Trust::All);
    assert!(admission.extraction.strict && !admission.strip);
    assert_eq!(admission.extraction.carrier, Some(Carrier::Baggage));
    assert!(edits.is_empty());
}

#[test]
fn a_signed_key_replaces_its_token() {
    let token = token("k1");
    let baggage = format!("a=1,sd-routing-key={token},b=2");
    let fields =
        [("sd-routing-key", token.as_str()), ("x-spurline-explain", "1"), ("baggage", baggage.as_str())];
    let (admission, edits) = admit(&fields, Trust::Signed);
    assert_eq!(admission.extraction.key, "k1".parse().ok());
    assert!(admission.strip && !admission.extraction.explain && admission.refused.is_none());
    let expected = [
        Edit::Remove(0),
        Edit::Remove(1),
        Edit::Replace(2, b"a=1,b=2,sd-routing-key=k1".to_vec()),
        Edit::Append("sd-routing-key".into(), b"k1".to_vec()),
    ];
    assert_eq!(edits.edits, expected);
}

#[test]
fn bare_keys_do_not_count_where_keys_are_signed() {
    let token = token("k1");
    let fields =
        [("sd-routing-key", "k2"), ("tracestate", "sd-routing-key=k3"), ("uberctx-sd-routing-key", &token)];
    let (admission, edits) = admit(&fields, Trust::Signed);
    assert_eq!((admission.extraction.key, admission.extraction.malformed), ("k1".parse().ok(), 2));
    assert_eq!((admission.extraction.conflict, admission.refused), (None, Some(TokenError::Shape)));
    let expected = [
        Edit::Remove(0),
        Edit::Remove(1),
        Edit::Remove(2),
        Edit::Append("baggage".into(), b"sd-routing-key=k1".to_vec()),
        Edit::Append("sd-routing-key".into(), b"k1".to_vec()),
    ];
    assert_eq!(edits.edits, expected);
}

#[test]
fn only_so_many_tokens_of_one_request_are_checked() {
    let forged: Vec<_> = (0..4).map(|at| format!("sd-routing-key=k{at}.1.a.AAAA")).collect();
    let valid = token("k1");
    let baggage = format!("{},sd-routing-key={valid}", forged.join(","));
    let (admission, _) = admit(&[("baggage", &baggage)], Trust::Signed);
    assert_eq!((admission.extraction.key, admission.extraction.malformed), (None, 5));
    let same: Vec<_> = (0..9).map(|_| format!("sd-routing-key={valid}")).collect();
    let (admission, _) = admit(&[("baggage", &same.join(","))], Trust::Signed);
    assert_eq!(admission.extraction.key, "k1".parse().ok());
}

#[test]
fn without_a_verifier_no_token_counts() {
    let extractor = Extractor::new(CarrierConfig::default()).unwrap();
    let token = token("k1");
    let fields = [(b"sd-routing-key".as_slice(), token.as_bytes())];
    let request = Request { fields: fields.into_iter(), authority: None, target: b"/" };
    let admission = extractor.admit(&request, Trust::Signed, None, NOW);
    assert_eq!((admission.extraction.key, admission.strip), (None, true));
}
