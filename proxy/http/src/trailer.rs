//! What must not be in a trailer section, in any version of HTTP.

/// Names that are not [`crate::Name`]s of their own and must not be in trailers, in lower case.
const FORBIDDEN: [&str; 28] = [
    "age",
    "authorization",
    "baggage",
    "cache-control",
    "content-encoding",
    "content-range",
    "cookie",
    "date",
    "expires",
    "forwarded",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
];

/// Whether trailers must not have a field of this name, in any case (RFC 9110 section 6.5.1). The names that are
/// [`crate::Name`]s are forbidden too, and not looked at here.
pub(crate) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| forbidden.as_bytes().eq_ignore_ascii_case(name))
}
