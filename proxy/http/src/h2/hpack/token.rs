//! Names that the compression or the rules of HTTP/2 know, each with a number, so that a name is looked up once and
//! compared as a byte from then on.

use crate::Name;

/// The number of a name.
///
/// A field that came from HPACK has its token from the table entry that named it; one that came from HTTP/1 or from an
/// edit has [`Token::UNSEEN`] until it is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u8);

/// How values of a name are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Indexed once the value has been seen again.
    Repeated,
    /// Never in a table, for it changes each time or, in the case of a path, may hold a secret that other clients of a
    /// shared connection could guess at (RFC 7541 section 7.1); only the name is.
    Literal,
    /// In no table of any hop (RFC 7541 section 7.1.3).
    Never,
    /// As `Repeated`, but [`Policy::Never`] where it is short enough to be guessed.
    Cookie,
}

struct Row {
    name: &'static str,
    known: Name,
    /// The first entry of the static table with this name; 0 when there is none.
    first_index: u8,
    policy: Policy,
}

macro_rules! tokens {
    ($($token:ident $name:literal $known:ident $first:literal $policy:ident,)*) => {
        #[expect(non_camel_case_types, dead_code, clippy::upper_case_acronyms, reason = "only counts the rows")]
        enum Number { UNSEEN, OTHER, $($token),* }

        #[allow(dead_code, reason = "each is a name of a table; not all are named in code")]
        impl Token {
            $(pub(crate) const $token: Self = Self(Number::$token as u8);)*
        }

        static ROWS: [Row; NAMES.len()] = [
            Row { name: "", known: Name::Other, first_index: 0, policy: Policy::Repeated },
            Row { name: "", known: Name::Other, first_index: 0, policy: Policy::Repeated },
            $(Row { name: $name, known: Name::$known, first_index: $first, policy: Policy::$policy },)*
        ];
        const NAMES: &[&[u8]] = &[b"", b"", $($name.as_bytes(),)*];
    };
}

// The pseudo-fields stand first.
tokens! {
    AUTHORITY ":authority" Other 1 Repeated,
    METHOD ":method" Other 2 Repeated,
    PATH ":path" Other 4 Literal,
    SCHEME ":scheme" Other 6 Repeated,
    STATUS ":status" Other 8 Repeated,
    PROTOCOL ":protocol" Other 0 Repeated,
    ACCEPT "accept" Other 19 Repeated,
    ACCEPT_CHARSET "accept-charset" Other 15 Repeated,
    ACCEPT_ENCODING "accept-encoding" Other 16 Repeated,
    ACCEPT_LANGUAGE "accept-language" Other 17 Repeated,
    ACCEPT_RANGES "accept-ranges" Other 18 Repeated,
    ACCESS_CONTROL_ALLOW_ORIGIN "access-control-allow-origin" Other 20 Repeated,
    AGE "age" Other 21 Repeated,
    ALLOW "allow" Other 22 Repeated,
    AUTHORIZATION "authorization" Other 23 Never,
    BAGGAGE "baggage" Other 0 Repeated,
    CACHE_CONTROL "cache-control" Other 24 Repeated,
    CONNECTION "connection" Connection 0 Repeated,
    CONTENT_DISPOSITION "content-disposition" Other 25 Repeated,
    CONTENT_ENCODING "content-encoding" Other 26 Repeated,
    CONTENT_LANGUAGE "content-language" Other 27 Repeated,
    CONTENT_LENGTH "content-length" ContentLength 28 Repeated,
    CONTENT_LOCATION "content-location" Other 29 Repeated,
    CONTENT_RANGE "content-range" Other 30 Repeated,
    CONTENT_TYPE "content-type" ContentType 31 Repeated,
    COOKIE "cookie" Other 32 Cookie,
    DATE "date" Other 33 Repeated,
    ETAG "etag" Other 34 Literal,
    EXPECT "expect" Expect 35 Repeated,
    EXPIRES "expires" Other 36 Repeated,
    FORWARDED "forwarded" Other 0 Repeated,
    FROM "from" Other 37 Repeated,
    GRPC_TIMEOUT "grpc-timeout" GrpcTimeout 0 Literal,
    HOST "host" Host 38 Repeated,
    HTTP2_SETTINGS "http2-settings" Http2Settings 0 Repeated,
    IF_MATCH "if-match" Other 39 Repeated,
    IF_MODIFIED_SINCE "if-modified-since" Other 40 Repeated,
    IF_NONE_MATCH "if-none-match" Other 41 Repeated,
    IF_RANGE "if-range" Other 42 Repeated,
    IF_UNMODIFIED_SINCE "if-unmodified-since" Other 43 Repeated,
    KEEP_ALIVE "keep-alive" KeepAlive 0 Repeated,
    LAST_MODIFIED "last-modified" Other 44 Repeated,
    LINK "link" Other 45 Repeated,
    LOCATION "location" Other 46 Repeated,
    MAX_FORWARDS "max-forwards" Other 47 Repeated,
    PRAGMA "pragma" Other 0 Repeated,
    PROXY_AUTHENTICATE "proxy-authenticate" ProxyAuthenticate 48 Repeated,
    PROXY_AUTHORIZATION "proxy-authorization" ProxyAuthorization 49 Never,
    PROXY_CONNECTION "proxy-connection" ProxyConnection 0 Repeated,
    RANGE "range" Other 50 Repeated,
    REFERER "referer" Other 51 Repeated,
    REFRESH "refresh" Other 52 Repeated,
    RETRY_AFTER "retry-after" Other 53 Repeated,
    SEC_WEBSOCKET_KEY "sec-websocket-key" SecWebsocketKey 0 Repeated,
    SEC_WEBSOCKET_VERSION "sec-websocket-version" SecWebsocketVersion 0 Repeated,
    SERVER "server" Other 54 Repeated,
    SET_COOKIE "set-cookie" Other 55 Never,
    STRICT_TRANSPORT_SECURITY "strict-transport-security" Other 56 Repeated,
    TE "te" Te 0 Repeated,
    TRACEPARENT "traceparent" Other 0 Literal,
    TRACESTATE "tracestate" Other 0 Literal,
    TRAILER "trailer" Trailer 0 Repeated,
    TRANSFER_ENCODING "transfer-encoding" TransferEncoding 57 Repeated,
    UPGRADE "upgrade" Upgrade 0 Repeated,
    USER_AGENT "user-agent" Other 58 Repeated,
    VARY "vary" Other 59 Repeated,
    VIA "via" Via 60 Repeated,
    WARNING "warning" Other 0 Repeated,
    WWW_AUTHENTICATE "www-authenticate" Other 61 Repeated,
    X_FORWARDED_FOR "x-forwarded-for" Other 0 Repeated,
    X_REQUEST_ID "x-request-id" Other 0 Literal,
}

/// Slots of the look-up by name; far more than names, so that nearly every look-up ends in its first slot.
const SLOTS: usize = 512;

/// The tokens by the hash of their names, with linear probing; 0 is an empty slot.
static BY_NAME: [u8; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut token = Token::FIRST;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
    while token < NAMES.len() {
        let mut slot = slot_of(NAMES[token]);
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = token as u8;
        token += 1;
    }
    slots
};

/// Mixes the length and three letters, without regard to case.
const fn slot_of(name: &[u8]) -> usize {
    let (first, middle, last) = match (name.first(), name.split_at_checked(name.len() / 2), name.last()) {
        (Some(first), Some((_, [middle, ..])), Some(last)) => (*first, *middle, *last),
        _ => (0, 0, 0),
    };
    let letters =
        ((first | 0x20) as usize) * 37 + ((middle | 0x20) as usize) * 101 + ((last | 0x20) as usize) * 11;
    (letters + name.len() * 59) % SLOTS
}

// === impl Token ===

impl Token {
    /// The name has not been looked up.
    pub(crate) const UNSEEN: Self = Self(0);
    /// The name is none of those that have a number of their own.
    pub(crate) const OTHER: Self = Self(1);
    /// The number of the first name.
    const FIRST: usize = 2;

    /// The token of a name in any case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut slot = slot_of(name);
        while let Some(number @ 1..) = BY_NAME.get(slot) {
            let token = Self(*number);
            if token.name().eq_ignore_ascii_case(name) {
                return token;
            }
            slot = (slot + 1) % SLOTS;
        }
        Self::OTHER
    }

    const fn row(self) -> Option<&'static Row> {
        match ROWS.split_at_checked(self.0 as usize) {
            Some((_, [row, ..])) => Some(row),
            _ => None,
        }
    }

    /// The name in lower case; empty for [`Token::UNSEEN`] and [`Token::OTHER`].
    pub(crate) fn name(self) -> &'static [u8] {
        self.row().map_or(b"", |row| row.name.as_bytes())
    }

    pub(crate) const fn known(self) -> Name {
        match self.row() {
            Some(row) => row.known,
            None => Name::Other,
        }
    }

    pub(crate) fn has_name(self) -> bool {
        self > Self::OTHER
    }

    pub(crate) fn is_pseudo(self) -> bool {
        (Self::AUTHORITY..=Self::PROTOCOL).contains(&self)
    }

    /// A bit of its own for each pseudo-field.
    pub(crate) fn pseudo_bit(self) -> u8 {
        if self.is_pseudo() { 1 << (self.0 - Self::AUTHORITY.0) } else { 0 }
    }

    /// The first entry of the static table with this name.
    pub(super) fn first_index(self) -> Option<usize> {
        self.row().map(|row| usize::from(row.first_index)).filter(|index| *index > 0)
    }

    pub(super) fn policy(self) -> Policy {
        self.row().map_or(Policy::Repeated, |row| row.policy)
    }

    /// For keys of look-ups.
    pub(super) fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack::static_table;

    #[test]
    fn every_name_is_found_in_any_case_and_agrees_with_the_static_table() {
        for number in Token::FIRST..NAMES.len() {
            let token = Token(u8::try_from(number).unwrap());
            let name = token.name();
            assert_eq!(Token::of(name), token);
            assert_eq!(Token::of(&name.to_ascii_uppercase()), token);
            assert_eq!(token.known(), Name::classify(name));
            assert_eq!(token.is_pseudo(), name.starts_with(b":"));
            assert_eq!(Token::of(name.get(1..).unwrap()), Token::OTHER);
            if let Some(index) = token.first_index() {
                let earlier = static_table::get(index - 1);
                assert_eq!(static_table::get(index).unwrap().judged.token, token);
                assert!(earlier.is_none_or(|entry| entry.judged.token != token));
            }
        }
        for index in 1..=static_table::ENTRIES {
            let entry = static_table::get(index).unwrap();
            let token = entry.judged.token;
            let written = entry.line.get(..entry.judged.name_bytes as usize).unwrap();
            assert_eq!(if token == Token::AUTHORITY { b"host" } else { token.name() }, written);
            assert!(token.first_index().unwrap() <= index);
        }
        assert!(static_table::get(0).is_none() && static_table::get(62).is_none());
    }

    #[test]
    fn names_of_http_1_that_mean_something_all_have_a_token() {
        for name in ["te", "upgrade", "http2-settings", "sec-websocket-version", "proxy-connection"] {
            assert_ne!(Token::of(name.as_bytes()), Token::OTHER);
        }
        for name in ["", "x", "x-", "grpc-status", "x-b3-traceid"] {
            assert_eq!(Token::of(name.as_bytes()), Token::OTHER);
        }
    }
}
