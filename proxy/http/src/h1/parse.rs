//! What requests and responses share: from `httparse`'s slices to ranges, with the strictness it leaves out.

use std::mem::MaybeUninit;

use crate::{Error, Field, Head, Limits, Name, h2::hpack::Token, head::Span};

/// Room for the fields of one head while it is parsed.
pub(super) type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; Limits::FIELDS_CEILING];

pub(super) fn slots<'a>() -> Slots<'a> {
    [const { MaybeUninit::uninit() }; Limits::FIELDS_CEILING]
}

/// The start of `input` that a limit lets be looked at. Nothing behind it can change the outcome, which is thus the
/// same however the input arrives in pieces.
pub(super) fn within(input: &[u8], bytes_max: usize) -> &[u8] {
    input.get(..bytes_max).unwrap_or(input)
}

/// Where `part` starts within `whole`, which it is a slice of.
pub(super) fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// Records the fields of `input`, whose lines must follow one another from `line_start` without a gap and each end
/// in CRLF: `httparse` also takes a bare LF for an end of line, which RFC 9112 section 2.2 lets a peer not do.
/// `end` is where the blank line ends.
pub(super) fn read_fields(
    head: &mut Head,
    input: &[u8],
    headers: &[httparse::Header<'_>],
    (line_start, end): (usize, usize),
) -> Result<(), Error> {
    let mut at = line_start;
    for header in headers {
        let name = header.name.as_bytes();
        let name_start = offset(input, name);
        let value_start = offset(input, header.value);
        let value_end = value_start + header.value.len();
        let line_end = crlf_after(input, value_end)?;
        let colon = input.get(name_start + name.len());
        if name_start != at || name.is_empty() || colon != Some(&b':') {
            return Err(Error::LineEnd);
        }
        let known = Name::classify(name);
        if known == Name::Other && Name::is_alias(name) {
            return Err(Error::AmbiguousField);
        }
        head.names |= crate::head::bit(known);
        head.fields.push(Field {
            name: Span::new(name_start, name_start + name.len()),
            value: Span::new(value_start, value_end),
            line_end: Span::new(0, line_end).end,
            known,
            removed: false,
            never_indexed: false,
            token: Token::UNSEEN,
        });
        at = line_end;
    }
    if input.get(at..end) == Some(b"\r\n") { Ok(()) } else { Err(Error::LineEnd) }
}

/// The end of the line whose content ends at `at`, with nothing but white space and CRLF in between.
fn crlf_after(input: &[u8], mut at: usize) -> Result<usize, Error> {
    while matches!(input.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    if input.get(at..at + 2) == Some(b"\r\n") { Ok(at + 2) } else { Err(Error::LineEnd) }
}

/// `httparse`'s errors in our words.
pub(super) fn error(error: httparse::Error) -> Error {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Error::Field,
        httparse::Error::NewLine => Error::LineEnd,
        httparse::Error::Status => Error::Status,
        httparse::Error::Token => Error::StartLine,
        httparse::Error::TooManyHeaders => Error::TooManyFields,
        httparse::Error::Version => Error::Version,
    }
}

/// Skips the one empty line that may precede a message (RFC 9112 section 2.2). `None`: too early to tell.
///
/// # Errors
/// [`Error::StartLine`] at the second one.
pub(super) fn skip_empty_line(input: &[u8]) -> Result<Option<usize>, Error> {
    let skipped = match input {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    match input.get(skipped) {
        None => Ok(None),
        Some(b'\r' | b'\n') => Err(Error::StartLine),
        Some(_) => Ok(Some(skipped)),
    }
}

/// The body length that the fields announce, before what the kind of message says about it.
pub(super) enum Announced {
    Nothing,
    Length(u64),
    Chunked,
}

/// Reads `Content-Length` and `Transfer-Encoding` as strictly as RFC 9112 section 6 permits: never both, one transfer
/// coding which is exactly `chunked` and not from HTTP/1.0, one plain decimal length.
pub(super) fn announced(head: &Head) -> Result<Announced, Error> {
    let mut codings = head.values(Name::TransferEncoding);
    let mut lengths = head.values(Name::ContentLength);
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Announced::Nothing),
        (Some(_), Some(_)) => Err(Error::Framing),
        (Some(coding), None) => {
            let alone = codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked");
            let may = alone && head.version == crate::Version::Http11;
            if may { Ok(Announced::Chunked) } else { Err(Error::TransferCoding) }
        }
        (None, Some(length)) => match (crate::ascii::decimal(length), lengths.next()) {
            (_, Some(_)) => Err(Error::ContentLengthRepeated),
            (Some(length), None) => Ok(Announced::Length(length)),
            (None, None) => Err(Error::ContentLength),
        },
    }
}
