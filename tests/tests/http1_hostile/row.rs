//! What a row of the table is.

use spurline_tests::wire::Request;

/// What has to happen to the bytes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One local reply with one of these statuses, then the connection ends; no upstream sees a whole request.
    Refused(&'static [u16]),
    /// A local reply to a request whose framing is not in doubt: the connection may go on, and then works.
    Denied(&'static [u16]),
    /// So many requests are forwarded and answered.
    Served(usize),
    /// So many are answered, what follows is refused.
    ServedThenRefused(usize, &'static [u16]),
    /// Either forwarded once in clean form, or refused.
    Either(&'static [u16]),
    /// The content is broken after a head that was fine: a 400 or only an end, and no upstream sees a whole request.
    Broken,
}

/// What has to hold for each request that was forwarded.
pub(crate) type Check = fn(&Request) -> Result<(), String>;

/// One hostile or odd input.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
    pub(crate) check: Option<Check>,
    /// Whether the client ends its direction after the bytes.
    pub(crate) finish: bool,
}

impl Row {
    pub(crate) fn new(id: impl Into<String>, bytes: impl Into<Vec<u8>>, expect: Expect) -> Self {
        Self { id: id.into(), bytes: bytes.into(), expect, check: None, finish: false }
    }

    #[must_use]
    pub(crate) fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    #[must_use]
    pub(crate) fn finish(mut self) -> Self {
        self.finish = true;
        self
    }
}

/// A request head for `method` with extra field lines (each with its CRLF), and what follows it.
pub(crate) fn message(method: &str, fields: impl AsRef<[u8]>, rest: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = format!("{method} /row HTTP/1.1\r\nHost: a.test\r\nX-Id: row\r\n").into_bytes();
    bytes.extend_from_slice(fields.as_ref());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(rest.as_ref());
    bytes
}

/// A GET with extra field lines.
pub(crate) fn get(fields: impl AsRef<[u8]>) -> Vec<u8> {
    message("GET", fields, "")
}

/// A POST with the chunked coding and this content as sent.
pub(crate) fn chunked(content: impl AsRef<[u8]>) -> Vec<u8> {
    message("POST", "Transfer-Encoding: chunked\r\n", content)
}

/// What an attacker wants to be read as a request of its own.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A second request that is really meant.
pub(crate) const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a.test\r\nX-Id: next\r\n\r\n";
