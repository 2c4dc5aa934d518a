use crate::{
    Error, Framing, Head, Limits, Method, Name, Start, Version,
    h1::parse::{self, Announced},
    head::Span,
};

/// What reading a response head found beside the head itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the input that the head took; the body starts there.
    pub consumed: usize,
    pub framing: Framing,
}

/// Reads one response head to a request with `method` from the start of `input` into `head`. `None`: not complete
/// yet. An interim (1xx) response is read like any other and has no body.
///
/// # Errors
/// What peers are known to read in different ways, as for requests; the answer to the client is 502 and the
/// connection cannot be used again.
pub fn read_response(
    input: &[u8],
    method: Method<'_>,
    limits: &Limits,
    head: &mut Head,
) -> Result<Option<ResponseHead>, Error> {
    head.clear();
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(Error::StartLine);
    }
    let input = parse::within(input, limits.head_bytes_max);
    let mut slots = parse::slots();
    let slots = slots.get_mut(..limits.fields_max).ok_or(Error::HeadTooLarge)?;
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, slots)
        .map_err(parse::error)?;
    let httparse::Status::Complete(consumed) = parsed else {
        let over = input.len() >= limits.head_bytes_max;
        return if over { Err(Error::HeadTooLarge) } else { Ok(None) };
    };
    let fields_start = read_start_line(head, input, &response)?;
    parse::read_fields(head, input, response.headers, (fields_start, consumed))?;
    head.block.extend_from_slice(input.get(..consumed).unwrap_or_default());
    merge_equal_lengths(head);
    let framing = framing(head, method)?;
    if head.status() < 200 || head.status() == 204 {
        // A server MUST NOT send it there (RFC 9110 section 8.6), and a client that believes it waits for a body.
        head.remove_all(Name::ContentLength);
    }
    Ok(Some(ResponseHead { consumed, framing }))
}

/// Records the status line and returns where the fields start.
fn read_start_line(
    head: &mut Head,
    input: &[u8],
    response: &httparse::Response<'_, '_>,
) -> Result<usize, Error> {
    /// `HTTP/1.1 200`
    const CODE_END: usize = 12;
    let (Some(code), Some(version)) = (response.code, response.version) else { return Err(Error::StartLine) };
    let line_end = memchr::memchr(b'\n', input).ok_or(Error::StartLine)? + 1;
    let Some(content_end) = line_end.checked_sub(2).filter(|at| input.get(*at) == Some(&b'\r')) else {
        return Err(Error::LineEnd);
    };
    if !input.starts_with(b"HTTP/1.") || content_end < CODE_END {
        return Err(Error::StartLine);
    }
    if !(100..=599).contains(&code) {
        return Err(Error::Status);
    }
    head.start = Start::Response(code);
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head.text = Span::new((CODE_END + 1).min(content_end), content_end);
    // The space before the reason must be sent even where there is no reason (RFC 9112 section 4).
    head.line = if content_end > CODE_END { Span::new(0, line_end) } else { Span::default() };
    Ok(line_end)
}

/// Several equal lengths are merged into one, which RFC 9112 section 6.3 lets a recipient do; servers behind
/// application frameworks do send them. Different ones are left for [`parse::announced`] to refuse.
fn merge_equal_lengths(head: &mut Head) {
    let mut lengths = head.values(Name::ContentLength);
    let Some(first) = lengths.next() else { return };
    let (count, equal) = lengths.fold((1, true), |(count, equal), next| (count + 1, equal && next == first));
    if count == 1 || !equal {
        return;
    }
    let mut seen = false;
    for field in head.fields.iter_mut().filter(|field| field.known == Name::ContentLength) {
        field.removed = seen;
        seen = true;
    }
}

/// RFC 9112 section 6.3, for responses.
fn framing(head: &Head, method: Method<'_>) -> Result<Framing, Error> {
    let announced = parse::announced(head)?;
    let status = head.status();
    if method.is("HEAD") || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::None);
    }
    Ok(match announced {
        Announced::Nothing => Framing::Close,
        Announced::Length(0) => Framing::None,
        Announced::Length(length) => Framing::Length(length),
        Announced::Chunked => Framing::Chunked,
    })
}
