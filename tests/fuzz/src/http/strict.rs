//! A parser of HTTP/1.1 messages that takes nothing but the grammar of RFC 9112, written apart from the crate under
//! test: what the crate writes has to be one message to this parser too. It knows no limits and no speed.

/// Names and values in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A message from its first byte to its last.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub start: Vec<Vec<u8>>,
    pub fields: Fields,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

type Parsed<'a, T> = Result<(T, &'a [u8]), &'static str>;

/// Reads one request; returns it with the bytes behind it.
pub fn request(bytes: &[u8]) -> Parsed<'_, Message> {
    let (mut message, rest) = head(bytes)?;
    let [method, target, version] = message.start.as_slice() else { return Err("not three parts") };
    let is_path = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    match () {
        () if method.is_empty() || !method.iter().all(|byte| is_tchar(*byte)) => return Err("method"),
        () if !is_path || !target.iter().all(|byte| (0x21..0x7f).contains(byte)) => return Err("target"),
        () if version != b"HTTP/1.1" => return Err("version"),
        () if values(&message.fields, "host").count() != 1 => return Err("not one host"),
        () => {}
    }
    let rest = body(&mut message, rest)?;
    Ok((message, rest))
}

/// Reads the head of one response; returns it with the bytes behind it.
pub fn response(bytes: &[u8]) -> Parsed<'_, Message> {
    let (message, rest) = head(bytes)?;
    let [version, status, ..] = message.start.as_slice() else { return Err("not three parts") };
    match () {
        () if version != b"HTTP/1.1" => Err("version"),
        () if status.len() != 3 || !status.iter().all(u8::is_ascii_digit) => Err("status"),
        () if message.start.len() != 3 => Err("no space before the reason"),
        () => Ok((message, rest)),
    }
}

/// Reads a chunked body, of which extensions are dropped: content, trailers, and the bytes behind.
pub fn chunked(mut bytes: &[u8]) -> Parsed<'_, (Vec<u8>, Fields)> {
    let mut content = Vec::new();
    loop {
        let (size_line, rest) = line(bytes)?;
        let digits = size_line.split(|byte| *byte == b';').next().unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("chunk size");
        }
        let digits = std::str::from_utf8(digits).map_err(|_| "chunk size")?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| "chunk size")?;
        if size == 0 {
            let (trailers, rest) = fields(rest)?;
            return Ok(((content, trailers), rest));
        }
        if rest.len() < size {
            return Err("chunk is cut");
        }
        let (data, rest) = rest.split_at(size);
        content.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n").ok_or("chunk does not end")?;
    }
}

fn head(bytes: &[u8]) -> Parsed<'_, Message> {
    let (start, rest) = line(bytes)?;
    let (fields, rest) = fields(rest)?;
    let start = start.splitn(3, |byte| *byte == b' ').map(<[u8]>::to_vec).collect();
    let framing = framing(&fields)?;
    Ok((Message { start, fields, framing, body: Vec::new(), trailers: Fields::new() }, rest))
}

fn body<'a>(message: &mut Message, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
    match message.framing {
        Framing::Nothing => Ok(bytes),
        Framing::Length(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
            let (body, rest) = bytes.split_at(length.ok_or("body is cut")?);
            message.body = body.to_vec();
            Ok(rest)
        }
        Framing::Chunked => {
            let ((body, trailers), rest) = chunked(bytes)?;
            (message.body, message.trailers) = (body, trailers);
            Ok(rest)
        }
    }
}

fn framing(fields: &Fields) -> Result<Framing, &'static str> {
    let codings: Vec<_> = values(fields, "transfer-encoding").collect();
    let lengths: Vec<_> = values(fields, "content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(Framing::Nothing),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let digits = std::str::from_utf8(length).map_err(|_| "length")?;
            Ok(Framing::Length(digits.parse::<i64>().map_err(|_| "length")?.unsigned_abs()))
        }
        _ => Err("framing"),
    }
}

fn fields(mut bytes: &[u8]) -> Parsed<'_, Fields> {
    let mut fields = Fields::new();
    loop {
        let (text, rest) = line(bytes)?;
        if text.is_empty() {
            return Ok((fields, rest));
        }
        let colon = text.iter().position(|byte| *byte == b':').ok_or("no colon")?;
        let (name, value) = text.split_at(colon);
        let value = trim(value.strip_prefix(b":").ok_or("no colon")?);
        if name.is_empty() || !name.iter().all(|byte| is_tchar(*byte)) {
            return Err("field name");
        }
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err("field value");
        }
        fields.push((name.to_vec(), value.to_vec()));
        bytes = rest;
    }
}

/// A line without its CRLF; CR and LF stand nowhere else.
fn line(bytes: &[u8]) -> Parsed<'_, &[u8]> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or("line does not end")?;
    let (line, rest) = bytes.split_at(end);
    Ok((line, rest.strip_prefix(b"\r\n").ok_or("bare CR or LF")?))
}

/// The values of a name; a name with `_` in place of `-` counts as it does for servers that take it for the same.
pub fn values<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |(field, _)| {
            field.to_ascii_lowercase().iter().map(|b| if *b == b'_' { b'-' } else { *b }).eq(name.bytes())
        })
        .map(|(_, value)| value.as_slice())
}

fn is_tchar(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
