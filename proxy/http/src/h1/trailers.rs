use crate::{Error, Head, Limits, Name, Start, h1::parse, trailer};

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
        field.removed = field.known != Name::Other || trailer::is_forbidden(field.name.of(block));
    }
    Ok(Some(consumed))
}
