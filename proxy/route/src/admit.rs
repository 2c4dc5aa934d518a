//! Trust: whose routing keys count, and what becomes of the others.
//!
//! At an edge, carriers of strangers are read by nobody: neither here nor, because they are stripped, further on. It is
//! not authentication; a key only selects.

use crate::{
    Edits, Extraction, Extractor, Request, RoutingKey,
    token::{TokenError, Verifier},
};

/// Whose routing keys count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Every carrier counts: peers inside the mesh.
    All,
    /// Only signed keys count and travel on, anything else is stripped: an edge with known clients.
    Signed,
    /// No key counts and every carrier is stripped: an edge towards the world.
    #[default]
    None,
}

/// What a request's carriers say, as far as its sender is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What counts. Without full trust it is neither strict nor does it ask for an explanation.
    pub extraction: Extraction,
    /// Whether the carriers that came with the request are to be taken out of it.
    pub strip: bool,
    /// Why the first signed key that does not count, does not.
    pub refused: Option<TokenError>,
}

/// How many different tokens of one request are checked: checking costs far more than sending.
const TOKENS_MAX: u8 = 4;

/// Reads signed keys instead of bare ones.
struct TokenReader<'v> {
    verifier: &'v Verifier,
    now_unix_seconds: u64,
    budget: u8,
    refused: Option<TokenError>,
    // The same token usually stands in several carriers.
    last: Option<(Vec<u8>, Option<RoutingKey>)>,
}

// === impl Extractor ===

impl Extractor {
    /// Reads the key as far as the sender is trusted.
    ///
    /// With [`Trust::Signed`] each carrier's value is a token instead of a bare key; the host name cannot hold one. Without
    /// a verifier no token counts. The time is in seconds since the Unix epoch.
    #[must_use]
    pub fn admit<'a, I>(
        &self,
        request: &Request<'a, I>,
        trust: Trust,
        verifier: Option<&Verifier>,
        now_unix_seconds: u64,
    ) -> Admission
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        match (trust, verifier) {
            (Trust::All, _) => Admission { extraction: self.extract(request), strip: false, refused: None },
            (Trust::Signed, Some(verifier)) => {
                let mut reader =
                    TokenReader { verifier, now_unix_seconds, budget: TOKENS_MAX, refused: None, last: None };
                let seen = self.names.scan(request.fields.clone());
                let read = self.read(request, seen, &mut |value| reader.read(value));
                let extraction = Extraction { strict: false, explain: false, canonical: false, ..read };
                Admission { extraction, strip: true, refused: reader.refused }
            }
            (Trust::Signed | Trust::None, _) => {
                Admission { extraction: Extraction::default(), strip: true, refused: None }
            }
        }
    }

    /// What to change in an admitted request before it is forwarded: everything that does not count is taken out, the key
    /// that counts is written in.
    #[must_use]
    pub fn edits<'a, I>(&self, request: &Request<'a, I>, admission: &Admission) -> Edits
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        match (admission.strip, &admission.extraction.key) {
            (false, _) => self.propagate(request, &admission.extraction),
            (true, None) => self.strip(request),
            (true, Some(key)) => self.replace(request, key),
        }
    }
}

// === impl TokenReader ===

impl TokenReader<'_> {
    fn read(&mut self, token: &[u8]) -> Option<RoutingKey> {
        if let Some((last, key)) = &self.last
            && last == token
        {
            return *key;
        }
        let verified = match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                self.verifier.verify(token, self.now_unix_seconds)
            }
            None => Err(TokenError::TooMany),
        };
        if let Err(error) = verified {
            self.refused.get_or_insert(error);
        }
        self.last = Some((token.to_vec(), verified.ok()));
        verified.ok()
    }
}

#[cfg(test)]
mod tests;
