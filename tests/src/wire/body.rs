//! Content: exact lengths and the chunked coding.

use super::{Field, Parse, head};

/// How the end of a message's content is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// By a count of bytes (also where there is no content).
    Exact(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection (responses only).
    Close,
}

/// Decoded content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The content without its transfer coding.
    pub content: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<Field>,
}

/// Reads content of a given length from the start of `bytes`. [`Length::Close`] is never complete here.
pub fn decode(bytes: &[u8], length: Length) -> Parse<Body> {
    match length {
        Length::Close => Parse::Incomplete,
        Length::Exact(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            match bytes.get(..count) {
                Some(content) => {
                    Parse::Complete(Body { content: content.to_vec(), trailers: Vec::new() }, count)
                }
                None => Parse::Incomplete,
            }
        }
        Length::Chunked => chunked(bytes),
    }
}

/// Encodes one chunk; an empty one is the last chunk without the empty line after the trailers.
pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    if !data.is_empty() {
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn chunked(bytes: &[u8]) -> Parse<Body> {
    let mut content = Vec::new();
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let Some(end) = rest.windows(2).take(20).position(|pair| pair == b"\r\n") else {
            let wrong = rest.len() > 20 || rest.contains(&b'\n') || rest.contains(&b';');
            return if wrong { malformed(rest) } else { Parse::Incomplete };
        };
        let digits = std::str::from_utf8(&rest[..end]).unwrap_or("");
        let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(size) = usize::from_str_radix(digits, 16).ok().filter(|_| hex) else {
            return malformed(rest);
        };
        used += end + 2;
        if size == 0 {
            return match head::lines(&bytes[used..]) {
                Parse::Complete(trailers, size) => Parse::Complete(Body { content, trailers }, used + size),
                Parse::Incomplete => Parse::Incomplete,
                Parse::Malformed(why) => Parse::Malformed(why),
            };
        }
        let Some(data) = bytes.get(used..used + size) else { return Parse::Incomplete };
        content.extend_from_slice(data);
        used += size;
        match bytes.get(used..used + 2) {
            Some(b"\r\n") => used += 2,
            Some(other) => return malformed(other),
            None if bytes.get(used).is_some_and(|byte| *byte != b'\r') => return malformed(&bytes[used..]),
            None => return Parse::Incomplete,
        }
    }
}

fn malformed(rest: &[u8]) -> Parse<Body> {
    let shown = String::from_utf8_lossy(&rest[..rest.len().min(32)]).into_owned();
    Parse::Malformed(format!("chunk {shown:?}"))
}
