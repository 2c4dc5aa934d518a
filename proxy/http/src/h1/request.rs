use crate::{
    Error, Framing, Head, Limits, Method, Name, Start, TargetForm, Version, ascii, authority_is_valid,
    h1::parse::{self, Announced},
    head::Span,
    target_form,
};

/// What reading a request head found beside the head itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the input that the head took; the body starts there.
    pub consumed: usize,
    /// [`Framing::None`], [`Framing::Length`] or [`Framing::Chunked`].
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

/// Reads one request head from the start of `input` into `head`. `None`: the head is not complete yet.
///
/// An absolute-form target is turned into origin-form and its authority into the one `Host` field (RFC 9112 section
/// 3.2.2), so what follows sees one authority and one form. `TRACE` and `CONNECT` are not served.
///
/// # Errors
/// Every departure from RFC 9112 that peers are known to read in different ways; the connection is to be closed
/// after the answer, for where the next request starts is not known.
pub fn read_request(input: &[u8], limits: &Limits, head: &mut Head) -> Result<Option<RequestHead>, Error> {
    head.clear();
    let input = parse::within(input, limits.head_bytes_max);
    let Some(skipped) = parse::skip_empty_line(input)? else { return Ok(None) };
    let full = input.len() >= limits.head_bytes_max;
    let input = input.get(skipped..).unwrap_or_default();
    check_line_length(input, limits)?;
    let mut slots = parse::slots();
    let slots = slots.get_mut(..limits.fields_max).ok_or(Error::HeadTooLarge)?;
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(input, slots);
    let parsed = parsed.map_err(|error| check_version(parse::error(error), input))?;
    let httparse::Status::Complete(consumed) = parsed else {
        return if full { Err(Error::HeadTooLarge) } else { Ok(None) };
    };
    head.start = Start::Request;
    let fields_start = read_start_line(head, input, &request, limits)?;
    parse::read_fields(head, input, request.headers, (fields_start, consumed))?;
    head.block.extend_from_slice(input.get(..consumed).unwrap_or_default());
    head.method().check()?;
    check_authority(head)?;
    let framing = match parse::announced(head)? {
        Announced::Nothing => Framing::None,
        Announced::Length(0) => Framing::None,
        Announced::Length(length) => Framing::Length(length),
        Announced::Chunked => Framing::Chunked,
    };
    let expects_continue = read_expectation(head)?;
    Ok(Some(RequestHead { consumed: skipped + consumed, framing, expects_continue }))
}

/// A line longer than any that can be valid is refused for its length, whether or not its end has arrived.
fn check_line_length(input: &[u8], limits: &Limits) -> Result<(), Error> {
    /// Two spaces, `HTTP/1.1` and CRLF.
    const REST_BYTES: usize = 12;
    match input.get(..Method::BYTES_MAX + limits.target_bytes_max + REST_BYTES) {
        Some(longest) if memchr::memchr(b'\n', longest).is_none() => Err(Error::TargetTooLarge),
        _ => Ok(()),
    }
}

/// What does not even look like a version is a line with a space too many.
fn check_version(error: Error, input: &[u8]) -> Error {
    let version = input.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    if error == Error::Version && !version.starts_with(b"HTTP/") { Error::StartLine } else { error }
}

/// Records the start line and returns where the fields start. The line must be exactly
/// `method SP target SP HTTP/1.x CRLF`.
fn read_start_line(
    head: &mut Head,
    input: &[u8],
    request: &httparse::Request<'_, '_>,
    limits: &Limits,
) -> Result<usize, Error> {
    /// `HTTP/1.1`
    const VERSION_BYTES: usize = 8;
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Error::StartLine);
    };
    let target_start = method.len() + 1;
    let target_end = target_start + target.len();
    let line_end = target_end + 1 + VERSION_BYTES;
    let exact = parse::offset(input, method.as_bytes()) == 0
        && parse::offset(input, target.as_bytes()) == target_start
        && input.get(target_end) == Some(&b' ')
        && input.get(line_end..line_end + 2) == Some(b"\r\n");
    if !exact {
        return Err(Error::LineEnd);
    }
    if target.len() > limits.target_bytes_max {
        return Err(Error::TargetTooLarge);
    }
    head.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head.method = Span::new(0, method.len());
    head.text = Span::new(target_start, target_end);
    head.line = Span::new(0, line_end + 2);
    Ok(line_end + 2)
}

/// Leaves the request with an origin-form (or asterisk) target and exactly one valid `Host`, or none when the client
/// speaks HTTP/1.0 and sent none.
fn check_authority(head: &mut Head) -> Result<(), Error> {
    let mut hosts = head.values(Name::Host);
    let host = hosts.next();
    if hosts.next().is_some() || host.is_some_and(|host| !authority_is_valid(host)) {
        return Err(Error::Authority);
    }
    if host.is_none() && head.version == Version::Http11 {
        return Err(Error::Authority);
    }
    drop(hosts);
    let form = target_form(head.method(), head.target())?;
    if let TargetForm::Absolute { authority, path } = form {
        let (start, end) = (head.text.start as usize, head.text.end as usize);
        let authority = head.target().get(authority.0..authority.1).unwrap_or_default().to_vec();
        match head.block.get(start + path) {
            _ if start + path == end && head.method().is("OPTIONS") => head.set_target(b"*"),
            Some(b'?') => {
                let target = [b"/", head.block.get(start + path..end).unwrap_or_default()].concat();
                head.set_target(&target);
            }
            _ if start + path == end => head.set_target(b"/"),
            _ => head.set_target_from(start + path, end),
        }
        head.remove_all(Name::Host);
        head.append(b"host", &authority)?;
    }
    Ok(())
}

/// `100-continue` is the only expectation there is; HTTP/1.0 has none (RFC 9110 section 10.1.1).
fn read_expectation(head: &mut Head) -> Result<bool, Error> {
    let mut expectations = head.values(Name::Expect);
    let Some(first) = expectations.next() else { return Ok(false) };
    if head.version == Version::Http10 {
        drop(expectations);
        head.remove_all(Name::Expect);
        return Ok(false);
    }
    let known = ascii::trim_ows(first).eq_ignore_ascii_case(b"100-continue");
    if known && expectations.next().is_none() { Ok(true) } else { Err(Error::Expectation) }
}
