//! Start lines, fields and the length they promise.

use super::{Length, Parse};

/// A field line: the name as sent and the value without surrounding white space.
pub type Field = (String, Vec<u8>);

/// A start line and its fields, in wire order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The start line without its CRLF.
    pub start: String,
    /// The field lines in order.
    pub fields: Vec<Field>,
}

/// The first value of `name` in `fields`, as text.
pub fn get<'a>(fields: &'a [Field], name: &str) -> Option<&'a str> {
    let (_, value) = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

impl Head {
    /// The first value of a field, as text; `None` when it is absent or not UTF-8.
    pub fn field(&self, name: &str) -> Option<&str> {
        get(&self.fields, name)
    }

    /// Every value of a field, in order, lossily decoded.
    pub fn values(&self, name: &str) -> Vec<String> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The method of a request line.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request line.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn status(&self) -> Result<u16, String> {
        let wrong = || format!("status line {:?}", self.start);
        let rest = self.start.strip_prefix("HTTP/1.1 ").or_else(|| self.start.strip_prefix("HTTP/1.0 "));
        let (code, _) = rest.and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        code.parse().map_err(|_| wrong())
    }

    /// Checks what only requests must obey, and says how long the content is.
    pub(super) fn request_length(&self) -> Result<Length, String> {
        let parts: Vec<&str> = self.start.split(' ').collect();
        let [method, target, version] = parts.as_slice() else {
            return Err(format!("request line {:?}", self.start));
        };
        let visible = !target.is_empty() && target.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !is_token(method) || !visible || target.contains('#') || *version != "HTTP/1.1" {
            return Err(format!("request line {:?}", self.start));
        }
        if self.values("host").len() != 1 {
            return Err(format!("{} Host fields", self.values("host").len()));
        }
        for name in ["keep-alive", "proxy-connection"] {
            if !self.values(name).is_empty() {
                return Err(format!("hop-by-hop field {name} forwarded"));
            }
        }
        Ok(self.declared()?.unwrap_or(Length::Exact(0)))
    }

    /// How long the content of a response with this head is (RFC 9112 section 6.3).
    pub(super) fn response_length(&self, method: &str, status: u16) -> Result<Length, String> {
        let declared = self.declared()?;
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Ok(Length::Exact(0));
        }
        Ok(declared.unwrap_or(Length::Close))
    }

    fn declared(&self) -> Result<Option<Length>, String> {
        let lengths = self.values("content-length");
        let codings = self.values("transfer-encoding");
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(None),
            ([length], []) => {
                let value: u64 = length.parse().map_err(|_| format!("Content-Length {length:?}"))?;
                if value.to_string() == *length {
                    Ok(Some(Length::Exact(value)))
                } else {
                    Err(format!("Content-Length {length:?} is not canonical"))
                }
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Length::Chunked)),
            _ => Err(format!("ambiguous length: Content-Length {lengths:?}, Transfer-Encoding {codings:?}")),
        }
    }
}

/// Reads a head, up to and with its empty line.
pub(super) fn parse(bytes: &[u8]) -> Parse<Head> {
    let (start, mut used) = match line(bytes) {
        Parse::Complete(start, used) => (start, used),
        Parse::Incomplete => return Parse::Incomplete,
        Parse::Malformed(why) => return Parse::Malformed(why),
    };
    let Ok(start) = String::from_utf8(start) else {
        return Parse::Malformed("start line is not text".to_owned());
    };
    match lines(&bytes[used..]) {
        Parse::Complete(fields, size) => {
            used += size;
            Parse::Complete(Head { start, fields }, used)
        }
        Parse::Incomplete => Parse::Incomplete,
        Parse::Malformed(why) => Parse::Malformed(why),
    }
}

/// Reads field lines up to and with the empty line that ends them.
pub fn lines(bytes: &[u8]) -> Parse<Vec<Field>> {
    let mut fields = Vec::new();
    let mut used = 0;
    loop {
        match line(&bytes[used..]) {
            Parse::Complete(line, size) => {
                used += size;
                if line.is_empty() {
                    return Parse::Complete(fields, used);
                }
                match field(&line) {
                    Ok(field) => fields.push(field),
                    Err(why) => return Parse::Malformed(why),
                }
            }
            Parse::Incomplete => return Parse::Incomplete,
            Parse::Malformed(why) => return Parse::Malformed(why),
        }
    }
}

fn field(line: &[u8]) -> Result<Field, String> {
    let wrong = || format!("field line {:?}", String::from_utf8_lossy(line));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| wrong())?;
    if !is_token(name) {
        return Err(wrong());
    }
    let value = line[colon + 1..].trim_ascii();
    if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.to_vec()))
}

fn line(bytes: &[u8]) -> Parse<Vec<u8>> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        None => Parse::Incomplete,
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => {
            let line = &bytes[..end - 1];
            if line.contains(&b'\r') {
                return Parse::Malformed(format!("bare CR in {:?}", String::from_utf8_lossy(line)));
            }
            Parse::Complete(line.to_vec(), end + 1)
        }
        Some(end) => Parse::Malformed(format!("bare LF after {:?}", String::from_utf8_lossy(&bytes[..end]))),
    }
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}
