//! Status codes (statuscodes.md), and how a call ends that has none of its own.

use crate::{Head, h2::ErrorCode};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

// === impl Status ===

impl Status {
    /// The number in `grpc-status`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What clients take a response without a `grpc-status` for (http-grpc-status-mapping.md).
    pub fn of_http(status: u16) -> Self {
        match status {
            400 | 431 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What clients take a reset of the stream for (PROTOCOL-HTTP2.md, "Errors"). Codes that the table does not have,
    /// and `STREAM_CLOSED`, which has no stream left to fail, are errors of the transport like the rest.
    pub fn of_reset(code: ErrorCode) -> Self {
        match code {
            ErrorCode::REFUSED_STREAM => Self::Unavailable,
            ErrorCode::CANCEL => Self::Cancelled,
            ErrorCode::ENHANCE_YOUR_CALM => Self::ResourceExhausted,
            ErrorCode::INADEQUATE_SECURITY => Self::PermissionDenied,
            _ => Self::Internal,
        }
    }
}

/// Appends how a call ended, to trailers or to a head that is all of the response. An empty message is left out.
pub fn append_status(head: &mut Head, status: Status, message: &str) {
    let mut digits = itoa::Buffer::new();
    append(head, b"grpc-status", digits.format(status.code()).as_bytes());
    if !message.is_empty() {
        append(head, b"grpc-message", &percent_encoded(message));
    }
}

/// Appends a field that is known to be one.
fn append(head: &mut Head, name: &[u8], value: &[u8]) {
    let appended = head.append(name, value);
    debug_assert!(appended.is_ok(), "{value:?} is no field value");
}

/// Percent-Encoded of PROTOCOL-HTTP2.md. Spaces at the ends are encoded too: a field value has none there.
fn percent_encoded(message: &str) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    let last = message.len().saturating_sub(1);
    let mut out = Vec::with_capacity(message.len());
    for (at, byte) in message.bytes().enumerate() {
        match byte {
            b' ' if at == 0 || at == last => out.extend_from_slice(b"%20"),
            b' '..=b'$' | b'&'..=b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(status: Status, message: &str) -> String {
        let mut head = Head::default();
        append_status(&mut head, status, message);
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_status_is_written_with_its_message() {
        assert_eq!(lines(Status::Ok, ""), "grpc-status: 0\r\n");
        assert_eq!(
            lines(Status::Unavailable, "the fork \"a\" is gone"),
            "grpc-status: 14\r\ngrpc-message: the fork \"a\" is gone\r\n"
        );
    }

    /// The message of the interop case `special_status_message`.
    #[test]
    fn a_message_cannot_be_more_than_a_value() {
        for (message, expected) in [
            (
                "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n",
                "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A",
            ),
            ("100%", "100%25"),
            (" ", "%20"),
            (" a ", "%20a%20"),
            ("~\u{7f}", "~%7F"),
        ] {
            let lines = lines(Status::Unknown, message);
            assert_eq!(lines, format!("grpc-status: 2\r\ngrpc-message: {expected}\r\n"));
        }
    }

    #[test]
    fn http_statuses_are_what_the_table_of_clients_says() {
        for (http, status) in [
            (200, Status::Unknown),
            (400, Status::Internal),
            (401, Status::Unauthenticated),
            (403, Status::PermissionDenied),
            (404, Status::Unimplemented),
            (408, Status::Unknown),
            (429, Status::Unavailable),
            (431, Status::Internal),
            (500, Status::Unknown),
            (502, Status::Unavailable),
            (503, Status::Unavailable),
            (504, Status::Unavailable),
        ] {
            assert_eq!(Status::of_http(http), status, "{http}");
        }
    }

    #[test]
    fn resets_are_what_the_table_of_clients_says() {
        for (code, status) in [
            (ErrorCode::NO_ERROR, Status::Internal),
            (ErrorCode::PROTOCOL_ERROR, Status::Internal),
            (ErrorCode::REFUSED_STREAM, Status::Unavailable),
            (ErrorCode::CANCEL, Status::Cancelled),
            (ErrorCode::ENHANCE_YOUR_CALM, Status::ResourceExhausted),
            (ErrorCode::INADEQUATE_SECURITY, Status::PermissionDenied),
            (ErrorCode::HTTP_1_1_REQUIRED, Status::Internal),
            (ErrorCode(77), Status::Internal),
        ] {
            assert_eq!(Status::of_reset(code), status, "{code:?}");
        }
    }
}
