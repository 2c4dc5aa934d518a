//! A deliberately strict reading of HTTP/1.1 messages (RFC 9112), used to judge what the proxy sends to either side.
//!
//! It accepts only the canonical spelling: CRLF line ends, token field names without white space before the colon, one
//! unambiguous length, chunk sizes without extensions. What a lenient peer would also accept is `Malformed` here,
//! because a proxy that emits it relies on the leniency of others. It is not fast, and not used by the proxy.

mod body;
pub mod frame;
mod head;
pub mod hpack;

pub use body::{Body, Length, chunk, decode};
pub use head::{Field, Head, get, lines};

/// The outcome of reading one message from the start of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parse<T> {
    /// The bytes are a proper prefix of a message.
    Incomplete,
    /// No continuation makes these bytes a well-formed message.
    Malformed(String),
    /// A whole message and its length in bytes.
    Complete(T, usize),
}

/// A complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The request line and the fields.
    pub head: Head,
    /// Content after the transfer coding is removed.
    pub body: Vec<u8>,
    /// Trailer fields, empty without chunked coding.
    pub trailers: Vec<Field>,
}

/// A complete final response with the informational ones before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code of the final response.
    pub status: u16,
    /// The status line and the fields of the final response.
    pub head: Head,
    /// Content after the transfer coding is removed.
    pub body: Vec<u8>,
    /// Trailer fields, empty without chunked coding.
    pub trailers: Vec<Field>,
    /// Heads of the 1xx responses that came first, in order.
    pub informational: Vec<Head>,
    /// How the end of the content was told.
    pub length: Length,
}

impl Request {
    /// The first value of a field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

impl Response {
    /// The first value of a field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The content as text, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the sender says that this connection ends here.
    pub fn closes(&self) -> bool {
        let list = self.head.values("connection").join(",").to_ascii_lowercase();
        list.split(',').any(|option| option.trim() == "close") || self.length == Length::Close
    }
}

/// Reads a request's head alone, judged as strictly as the whole.
pub fn request_head(bytes: &[u8]) -> Parse<Head> {
    match head::parse(bytes) {
        Parse::Complete(head, used) => match head.request_length() {
            Ok(_) => Parse::Complete(head, used),
            Err(why) => Parse::Malformed(why),
        },
        other => other,
    }
}

/// Reads one request from the start of `bytes`.
pub fn request(bytes: &[u8]) -> Parse<Request> {
    let (head, used) = match head::parse(bytes) {
        Parse::Complete(head, used) => (head, used),
        Parse::Incomplete => return Parse::Incomplete,
        Parse::Malformed(why) => return Parse::Malformed(why),
    };
    let length = match head.request_length() {
        Ok(length) => length,
        Err(why) => return Parse::Malformed(why),
    };
    match decode(&bytes[used..], length) {
        Parse::Complete(Body { content, trailers }, size) => {
            Parse::Complete(Request { head, body: content, trailers }, used + size)
        }
        Parse::Incomplete => Parse::Incomplete,
        Parse::Malformed(why) => Parse::Malformed(why),
    }
}

/// Reads one final response, and the informational ones before it, from the start of `bytes`.
///
/// `method` is that of the request it answers; `ended` says that the peer has closed its side, which completes a
/// response without a length.
pub fn response(bytes: &[u8], method: &str, ended: bool) -> Parse<Response> {
    let mut informational = Vec::new();
    let mut start = 0;
    loop {
        let (head, used) = match head::parse(&bytes[start..]) {
            Parse::Complete(head, used) => (head, used),
            Parse::Incomplete => return Parse::Incomplete,
            Parse::Malformed(why) => return Parse::Malformed(why),
        };
        start += used;
        let status = match head.status() {
            Ok(status) => status,
            Err(why) => return Parse::Malformed(why),
        };
        if (100..200).contains(&status) && status != 101 {
            informational.push(head);
            continue;
        }
        let length = match head.response_length(method, status) {
            Ok(length) => length,
            Err(why) => return Parse::Malformed(why),
        };
        let rest = &bytes[start..];
        let parsed = match length {
            Length::Close if ended => {
                Parse::Complete(Body { content: rest.to_vec(), trailers: Vec::new() }, rest.len())
            }
            _ => decode(rest, length),
        };
        return match parsed {
            Parse::Complete(Body { content, trailers }, size) => Parse::Complete(
                Response { status, head, body: content, trailers, informational, length },
                start + size,
            ),
            Parse::Incomplete => Parse::Incomplete,
            Parse::Malformed(why) => Parse::Malformed(why),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_body_is_read_whole() {
        let bytes = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET";
        let Parse::Complete(request, used) = request(bytes) else { panic!("not complete") };
        assert_eq!((request.body.as_slice(), used), (b"abc".as_slice(), bytes.len() - 3));
    }

    #[test]
    fn what_only_a_lenient_peer_accepts_is_malformed() {
        for bytes in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
        ] {
            assert!(matches!(request(bytes.as_bytes()), Parse::Malformed(_)), "{bytes:?}");
        }
    }

    #[test]
    fn informational_responses_are_kept_before_the_final_one() {
        let bytes =
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz";
        let Parse::Complete(response, _) = response(bytes, "GET", false) else { panic!("not complete") };
        assert_eq!((response.status, response.informational.len(), response.text().as_str()), (200, 1, "z"));
    }
}
