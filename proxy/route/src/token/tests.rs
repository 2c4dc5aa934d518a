use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn hmac_with(kid: &str, secret: &[u8]) -> VerifyingKey {
    VerifyingKey { kid: kid.to_owned(), material: KeyMaterial::Hmac(secret.to_vec()) }
}

fn verifier() -> Verifier {
    Verifier::new(vec![hmac_with("a", SECRET), hmac_with("b", &[7; 32])], "staging", 30).unwrap()
}

fn token(secret: &[u8], kid: &str, audience: &str) -> String {
    let key = "team.k3-v9".parse().unwrap();
    sign_hmac(secret, &Claims { key, expires_unix_seconds: NOW, kid, audience }).unwrap()
}

fn verify(token: &str) -> Result<RoutingKey, TokenError> {
    verifier().verify(token.as_bytes(), NOW)
}

#[test]
fn a_token_counts_for_its_audience_until_it_expires() {
    let token = token(SECRET, "a", "staging");
    assert!(token.starts_with("team.k3-v9.1800000000.a."));
    for time in [0, NOW, NOW + 30] {
        assert_eq!(verifier().verify(token.as_bytes(), time).unwrap().as_str(), "team.k3-v9");
    }
    assert_eq!(verifier().verify(token.as_bytes(), NOW + 31), Err(TokenError::Expired));
}

#[test]
fn the_signed_bytes_are_the_documented_ones() {
    let signed = b"spurline-routing-key/1\nstaging\nteam.k3-v9.1800000000.a";
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed);
    let token = format!("team.k3-v9.1800000000.a.{}", base64url::encode(tag.as_ref()));
    assert_eq!(token, self::token(SECRET, "a", "staging"));
}

#[test]
fn keys_are_rotated_by_their_names() {
    assert!(verify(&token(&[7; 32], "b", "staging")).is_ok());
    assert_eq!(verify(&token(&[7; 32], "a", "staging")), Err(TokenError::Signature));
    assert_eq!(verify(&token(SECRET, "c", "staging")), Err(TokenError::UnknownKid));
    assert_eq!(verify(&token(SECRET, "a", "production")), Err(TokenError::Signature));
}

#[test]
fn a_changed_token_does_not_count() {
    let token = token(SECRET, "a", "staging");
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert!(verifier().verify(&changed, NOW).is_err(), "byte {at}");
        assert!(verifier().verify(&token.as_bytes()[..at], NOW).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_not_shaped_like_a_token_is_refused() {
    for text in
        ["", "k3v9", "a.b.c", "...", "k.+5.a.AAAA", "k.5.a.AA=A", "k.99999999999999999999999.a.AA", "k..a.AA"]
    {
        assert!(matches!(verify(text), Err(TokenError::Shape | TokenError::Key(_))), "{text}");
    }
    assert_eq!(verifier().verify(&[b'a'; 300], NOW), Err(TokenError::Shape));
    assert_eq!(verifier().verify(b"\xff.5.a.AA", NOW), Err(TokenError::Shape));
    assert_eq!(verify("k!.5.a.AA"), Err(TokenError::Key(KeyError::BadByte(b'!'))));
}

#[test]
fn ed25519_counts_and_is_not_taken_for_hmac() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let key = VerifyingKey { kid: "e".to_owned(), material: KeyMaterial::Ed25519(public.clone()) };
    let verifier = Verifier::new(vec![key], "staging", 0).unwrap();
    let signed = format!("k3v9.{NOW}.e");
    let signature = pair.sign(message("staging", &signed).as_bytes());
    let token = format!("{signed}.{}", base64url::encode(signature.as_ref()));
    assert_eq!(verifier.verify(token.as_bytes(), NOW).unwrap().as_str(), "k3v9");
    let forged = self::token(&public, "e", "staging");
    assert_eq!(verifier.verify(forged.as_bytes(), NOW), Err(TokenError::Signature));
}

#[test]
fn wrong_verifying_keys_are_refused_by_name() {
    let error = |keys: Vec<VerifyingKey>, audience: &str| Verifier::new(keys, audience, 0).unwrap_err();
    assert_eq!(error(vec![hmac_with("a.b", SECRET)], "x"), VerifierError::Kid("a.b".to_owned()));
    assert_eq!(error(vec![hmac_with("a", &[1; 31])], "x"), VerifierError::Secret("a".to_owned()));
    assert_eq!(error(vec![hmac_with("a", SECRET); 2], "x"), VerifierError::DuplicateKid("a".to_owned()));
    assert_eq!(error(vec![], "a\nb"), VerifierError::Audience("a\nb".to_owned()));
    let short = VerifyingKey { kid: "e".to_owned(), material: KeyMaterial::Ed25519(vec![1; 31]) };
    assert_eq!(error(vec![short], "x"), VerifierError::Public("e".to_owned()));
}

#[test]
fn secrets_are_not_shown() {
    let key = hmac_with("a", SECRET);
    assert_eq!(format!("{key:?}"), r#"VerifyingKey { kid: "a", material: Hmac(..) }"#);
    assert!(!format!("{:?}", verifier()).contains("0123"));
}
