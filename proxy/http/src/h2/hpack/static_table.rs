//! The static table (RFC 7541 Appendix A), each entry as the line that it is in a head.

use crate::{
    Error,
    h2::{head::Judged, hpack::Token},
};

/// How many entries there are; the dynamic table's first index is the next.
pub(super) const ENTRIES: usize = 61;

/// One entry: `name: value` with its CRLF.
#[derive(Clone, Copy)]
pub(super) struct StaticEntry {
    pub(super) line: &'static [u8],
    pub(super) judged: Judged,
}

impl StaticEntry {
    const fn new(line: &'static [u8], name_bytes: u32, token: Token) -> Self {
        // The values that are there are good; what may not be empty is said by its token.
        let is_empty = line.len() == name_bytes as usize + 4;
        let value_defect = match token {
            Token::AUTHORITY | Token::HOST if is_empty => Some(Error::Authority),
            Token::EXPECT if is_empty => Some(Error::Expectation),
            _ => None,
        };
        let name_defect = match token {
            Token::TRANSFER_ENCODING => Some(Error::ConnectionField),
            _ => None,
        };
        let judged = Judged { token, known: token.known(), name_defect, value_defect, name_bytes };
        Self { line, judged }
    }
}

/// The entry at an index that counts from 1.
pub(super) fn get(index: usize) -> Option<&'static StaticEntry> {
    STATIC.get(index.checked_sub(1)?)
}

/// The entry that is the whole field.
pub(super) fn find(token: Token, value: &[u8]) -> Option<usize> {
    match token {
        Token::METHOD => match value {
            b"GET" => Some(2),
            b"POST" => Some(3),
            _ => None,
        },
        Token::PATH => match value {
            b"/" => Some(4),
            b"/index.html" => Some(5),
            _ => None,
        },
        Token::SCHEME => match value {
            b"http" => Some(6),
            b"https" => Some(7),
            _ => None,
        },
        Token::STATUS => match value {
            b"200" => Some(8),
            b"204" => Some(9),
            b"206" => Some(10),
            b"304" => Some(11),
            b"400" => Some(12),
            b"404" => Some(13),
            b"500" => Some(14),
            _ => None,
        },
        Token::ACCEPT_ENCODING if value == b"gzip, deflate" => Some(16),
        _ => None,
    }
}

macro_rules! entries {
    ($($token:ident $name:literal $value:literal,)*) => {
        [$(StaticEntry::new(
            concat!($name, ": ", $value, "\r\n").as_bytes(),
            $name.len() as u32,
            Token::$token,
        )),*]
    };
}

/// `:authority` is the field `host` in a head (RFC 9113 section 8.3.1), so that is how its line reads.
#[rustfmt::skip]
static STATIC: [StaticEntry; ENTRIES] = entries![
    AUTHORITY "host" "",
    METHOD ":method" "GET",
    METHOD ":method" "POST",
    PATH ":path" "/",
    PATH ":path" "/index.html",
    SCHEME ":scheme" "http",
    SCHEME ":scheme" "https",
    STATUS ":status" "200",
    STATUS ":status" "204",
    STATUS ":status" "206",
    STATUS ":status" "304",
    STATUS ":status" "400",
    STATUS ":status" "404",
    STATUS ":status" "500",
    ACCEPT_CHARSET "accept-charset" "",
    ACCEPT_ENCODING "accept-encoding" "gzip, deflate",
    ACCEPT_LANGUAGE "accept-language" "",
    ACCEPT_RANGES "accept-ranges" "",
    ACCEPT "accept" "",
    ACCESS_CONTROL_ALLOW_ORIGIN "access-control-allow-origin" "",
    AGE "age" "",
    ALLOW "allow" "",
    AUTHORIZATION "authorization" "",
    CACHE_CONTROL "cache-control" "",
    CONTENT_DISPOSITION "content-disposition" "",
    CONTENT_ENCODING "content-encoding" "",
    CONTENT_LANGUAGE "content-language" "",
    CONTENT_LENGTH "content-length" "",
    CONTENT_LOCATION "content-location" "",
    CONTENT_RANGE "content-range" "",
    CONTENT_TYPE "content-type" "",
    COOKIE "cookie" "",
    DATE "date" "",
    ETAG "etag" "",
    EXPECT "expect" "",
    EXPIRES "expires" "",
    FROM "from" "",
    HOST "host" "",
    IF_MATCH "if-match" "",
    IF_MODIFIED_SINCE "if-modified-since" "",
    IF_NONE_MATCH "if-none-match" "",
    IF_RANGE "if-range" "",
    IF_UNMODIFIED_SINCE "if-unmodified-since" "",
    LAST_MODIFIED "last-modified" "",
    LINK "link" "",
    LOCATION "location" "",
    MAX_FORWARDS "max-forwards" "",
    PROXY_AUTHENTICATE "proxy-authenticate" "",
    PROXY_AUTHORIZATION "proxy-authorization" "",
    RANGE "range" "",
    REFERER "referer" "",
    REFRESH "refresh" "",
    RETRY_AFTER "retry-after" "",
    SERVER "server" "",
    SET_COOKIE "set-cookie" "",
    STRICT_TRANSPORT_SECURITY "strict-transport-security" "",
    TRANSFER_ENCODING "transfer-encoding" "",
    USER_AGENT "user-agent" "",
    VARY "vary" "",
    VIA "via" "",
    WWW_AUTHENTICATE "www-authenticate" "",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_a_value_are_found_and_judged_good() {
        for index in 1..=ENTRIES {
            let StaticEntry { line, judged } = *get(index).unwrap();
            let value = &line[judged.name_bytes as usize + 2..line.len() - 2];
            assert_eq!(find(judged.token, value), (!value.is_empty()).then_some(index));
            assert_eq!(judged.known, judged.token.known());
            assert_eq!(judged.name_defect, Judged::token(judged.token));
            assert_eq!(judged.value_defect, Judged::value(judged.token, value));
        }
    }
}
