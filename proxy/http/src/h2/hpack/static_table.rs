//! The static table (RFC 7541 Appendix A), each entry as the line that it is in a head.

use crate::h2::{head::Judged, hpack::Token};

/// How many entries there are; the dynamic table's first index is the next.
pub(super) const ENTRIES: usize = 61;

/// One entry: `name: value` with its CRLF.
#[derive(Clone, Copy)]
pub(super) struct StaticEntry {
    pub(super) line: &'static [u8],
    /// Bytes of the name as it stands in the line.
    pub(super) name_bytes: usize,
    pub(super) token: Token,
}

impl StaticEntry {
    pub(super) fn judged(&self) -> Judged {
        let value = self.value();
        // The values that are there are good; what may not be empty is said by its token.
        let value_defect = if value.is_empty() { Judged::value(self.token, value) } else { None };
        let name_defect = Judged::token(self.token);
        Judged { token: self.token, name_defect, value_defect, name_bytes: self.name_bytes as u32 }
    }

    pub(super) fn value(&self) -> &'static [u8] {
        let end = self.line.len().saturating_sub(2);
        self.line.get(self.name_bytes + 2..end).unwrap_or_default()
    }
}

/// The entry at an index that counts from 1.
pub(super) fn get(index: usize) -> Option<&'static StaticEntry> {
    STATIC.get(index.checked_sub(1)?)
}

macro_rules! entries {
    ($($token:ident $name:literal $value:literal,)*) => {
        [$(StaticEntry {
            line: concat!($name, ": ", $value, "\r\n").as_bytes(),
            name_bytes: $name.len(),
            token: Token::$token,
        }),*]
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
