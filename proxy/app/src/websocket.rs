//! WebSocket on a stream of HTTP/2 (RFC 8441), with an upstream that knows it from HTTP/1 only (RFC 6455).
//!
//! An extended CONNECT becomes a GET with an upgrade, whose 101 becomes a 200; what follows are the same bytes. The
//! other way round is not translated: an upgrade is asked for in HTTP/1, whatever else the upstream speaks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use spurline_http::{Error, Head, Name, h1};

/// What a server appends to the key before it hashes it (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// A handshake with an upstream that we make for a client.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) upgrade: h1::Upgrade,
    key: Vec<u8>,
}

/// Whether the request asks for WebSocket as HTTP/2 has it.
pub(crate) fn is_asked_for(head: &Head) -> bool {
    head.protocol().eq_ignore_ascii_case(b"websocket")
}

// === impl Handshake ===

impl Handshake {
    pub(crate) fn new() -> Self {
        let mut random = [0; KEY_BYTES];
        if SystemRandom::new().fill(&mut random).is_err() {
            // It only has to be another one each time (RFC 6455 section 4.1).
            random = fastrand::u128(..).to_be_bytes();
        }
        Self { upgrade: h1::Upgrade::websocket(), key: STANDARD.encode(random).into_bytes() }
    }

    /// The request as HTTP/1 has it.
    ///
    /// # Errors
    /// It cannot be one.
    pub(crate) fn request(&self, head: &Head) -> Result<Head, Error> {
        let mut request = head.clone();
        request.set_method(b"GET")?;
        request.set_protocol(b"")?;
        request.remove_all(Name::SecWebsocketKey);
        // What follows is no body.
        request.remove_all(Name::ContentLength);
        request.append(b"sec-websocket-key", &self.key)?;
        if request.value(Name::SecWebsocketVersion).is_none() {
            request.append(b"sec-websocket-version", b"13")?;
        }
        Ok(request)
    }

    /// Makes the 101 the response to the extended CONNECT.
    ///
    /// # Errors
    /// The upstream has not proved that it understood the handshake (RFC 6455 section 4.1).
    pub(crate) fn accept(&self, response: &mut Head) -> Result<(), Error> {
        const ACCEPT: &[u8] = b"sec-websocket-accept";
        let proof = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&self.key, GUID].concat()));
        let is_accept = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(ACCEPT);
        let places: Vec<usize> = response
            .pairs()
            .enumerate()
            .filter(|(_, pair)| is_accept(pair))
            .map(|(place, _)| place)
            .collect();
        let is_proved = response.pairs().filter(is_accept).all(|(_, value)| value == proof.as_bytes());
        if places.len() != 1 || !is_proved {
            return Err(Error::Upgrade);
        }
        places.into_iter().for_each(|place| response.remove(place));
        response.set_status(200);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_of_the_rfc_is_taken_and_no_other() {
        let handshake =
            Handshake { upgrade: h1::Upgrade::websocket(), key: b"dGhlIHNhbXBsZSBub25jZQ==".to_vec() };
        let proof: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        for (proofs, is_taken) in [
            (&[proof][..], true),
            (&[b"s3pPLMBiTxaQ9kYGzzhZRbK+xO0=" as &[u8]], false),
            (&[], false),
            (&[proof, proof], false),
        ] {
            let mut response = Head::default();
            response.start_response(101);
            for proof in proofs {
                response.append(b"Sec-WebSocket-Accept", proof).unwrap();
            }
            assert_eq!(handshake.accept(&mut response).is_ok(), is_taken, "{proofs:?}");
            if is_taken {
                assert_eq!(response.status(), 200);
                assert!(response.pairs().all(|(name, _)| name.is_empty()));
            }
        }
    }

    #[test]
    fn every_handshake_has_a_key_of_its_own() {
        let [first, second] = [Handshake::new(), Handshake::new()];
        assert_ne!(first.key, second.key);
        assert_eq!(first.key.len(), 24);
    }
}
