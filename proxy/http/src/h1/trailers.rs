use crate::{Error, Head, Limits, Name, Start, h1::parse};

/// Reads a whole trailer section from the start of `input`, blank line included, into `head`. `None`: not complete.
///
/// Fields that must not be in trailers (RFC 9110 section 6.5.1: framing, routing, authentication, request modifiers,
/// content format) are dropped, the rest is kept. Trailers are never merged into the head.
pub(super) fn read_trailers(input: &[u8], limits: &Limits, head: &mut Head) -> Result<Option<usize>, Error> {
    head.clear();
    let input = parse::within(input, limits.trailer_bytes_max);
    let mut slots = [httparse::EMPTY_HEADER; Limits::FIELDS_CEILING];
    let slots = slots.get_mut(..limits.trailer_fields_max).ok_or(Error::TrailersTooLarge)?;
    let parsed = httparse::parse_headers(input, slots).map_err(|error| match error {
        httparse::Error::TooManyHeaders => Error::TrailersTooLarge,
        _ => Error::Trailer,
    })?;
    let httparse::Status::Complete((consumed, headers)) = parsed else {
        let over = input.len() >= limits.trailer_bytes_max;
        return if over { Err(Error::TrailersTooLarge) } else { Ok(None) };
    };
    head.start = Start::None;
    parse::read_fields(head, input, headers, (0, consumed)).map_err(|_| Error::Trailer)?;
    head.block.extend_from_slice(input.get(..consumed).unwrap_or_default());
    let Head { fields, block, .. } = head;
    for field in fields.iter_mut() {
        field.removed = field.known != Name::Other || is_forbidden(field.name.of(block));
    }
    Ok(Some(consumed))
}

/// Names that are not [`Name`]s of their own and must not be in trailers, in lower case.
const FORBIDDEN: [&str; 29] = [
    "age",
    "authorization",
    "baggage",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
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

fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| forbidden.as_bytes().eq_ignore_ascii_case(name))
}
