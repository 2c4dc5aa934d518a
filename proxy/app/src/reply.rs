//! Answers of the proxy itself.

use std::io;

use spurline_http::{Head, h2};
use spurline_telemetry::metrics::Reason;

use crate::{explain::EXPLAIN_FIELD, link::Link};

const ALLOWED: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

/// The response field that says why the proxy answered.
pub(crate) const REASON_FIELD: &str = "x-spurline-reason";

/// An answer of the proxy itself: why, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: Reason,
}

/// What follows an answer on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Close,
    KeepAlive,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn new(status: u16, reason: Reason) -> Self {
        Self { status, reason }
    }

    /// The answer to a request that breaks HTTP.
    pub(crate) fn to_bad_request(error: spurline_http::Error) -> Self {
        Self::new(error.status(), reason(error))
    }

    /// The answer in place of a response that breaks HTTP.
    pub(crate) fn to_bad_response(error: spurline_http::Error) -> Self {
        use spurline_http::Error;
        let reason = match error {
            Error::HeadTooLarge | Error::TooManyFields | Error::TrailersTooLarge | Error::ChunkExtensions => {
                Reason::UpstreamTooLarge
            }
            Error::Truncated => Reason::UpstreamReset,
            _ => Reason::UpstreamMalformed,
        };
        Self::new(502, reason)
    }

    /// Sends the whole response. A response to HEAD has no content.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn send(
        self,
        link: &mut Link,
        (is_head, then): (bool, Then),
        explanation: Option<&str>,
    ) -> io::Result<()> {
        let Some(stream) = link.stream_mut() else {
            self.encode(is_head, then, explanation, link.output.writer());
            return Ok(());
        };
        let content = [self.reason.label(), "\n"].concat();
        let mut length = itoa::Buffer::new();
        let mut head = Head::default();
        head.start_response(self.status);
        let fields = [
            (REASON_FIELD, Some(self.reason.label())),
            ("allow", (self.status == 405).then_some(ALLOWED)),
            ("content-type", Some("text/plain")),
            ("content-length", Some(length.format(content.len()))),
            (EXPLAIN_FIELD, explanation),
        ];
        for (name, value) in fields {
            // All of them are names and values by their making; were one not, the reply goes without it.
            let _appended = value.map(|value| head.append(name.as_bytes(), value.as_bytes()));
        }
        if is_head {
            return stream.send_head(&head, h2::End::Stream);
        }
        stream.send_head(&head, h2::End::More)?;
        stream.end(None);
        link.output.writer().extend_from_slice(content.as_bytes());
        Ok(())
    }

    /// Writes the whole response as HTTP/1 has it.
    fn encode(self, is_head: bool, then: Then, explanation: Option<&str>, out: &mut Vec<u8>) {
        let Self { status, reason } = self;
        let content = [reason.label(), "\n"].concat();
        let fields = match status {
            405 => ["allow: ", ALLOWED, "\r\n"].concat(),
            426 => "sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade\r\n".to_owned(),
            _ => String::new(),
        };
        let mut number = itoa::Buffer::new();
        for part in ["HTTP/1.1 ", number.format(status), " ", phrase(status), "\r\n", REASON_FIELD, ": "] {
            out.extend_from_slice(part.as_bytes());
        }
        let kind = "content-type: text/plain\r\ncontent-length: ";
        for part in [reason.label(), "\r\n", &fields, kind, number.format(content.len())] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(explanation) = explanation {
            for part in ["\r\n", EXPLAIN_FIELD, ": ", explanation] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(match then {
            Then::Close => b"\r\nconnection: close\r\n\r\n".as_slice(),
            Then::KeepAlive => b"\r\n\r\n",
        });
        if !is_head {
            out.extend_from_slice(content.as_bytes());
        }
    }
}

/// The reason that stands for each error of the codec.
fn reason(error: spurline_http::Error) -> Reason {
    use spurline_http::Error;
    match error {
        Error::AmbiguousField => Reason::AmbiguousField,
        Error::Authority => Reason::MalformedHost,
        Error::Base64 => Reason::MalformedText,
        Error::Chunk => Reason::MalformedChunk,
        Error::ChunkExtensions => Reason::ChunkExtensionsTooLong,
        Error::ConnectionOption => Reason::ProtectedNominated,
        Error::ContentLength => Reason::MalformedLength,
        Error::ContentLengthRepeated => Reason::RepeatedLength,
        Error::Expectation => Reason::ExpectationFailed,
        Error::ConnectionField
        | Error::Field
        | Error::LineEnd
        | Error::PseudoField
        | Error::StartLine
        | Error::Status => Reason::MalformedHead,
        Error::Framing => Reason::LengthAndChunked,
        Error::HeadTooLarge => Reason::HeadTooLarge,
        Error::Method => Reason::MethodNotAllowed,
        Error::Scheme => Reason::UnsupportedScheme,
        Error::Target => Reason::MalformedTarget,
        Error::TargetTooLarge => Reason::TargetTooLong,
        Error::TooManyFields => Reason::TooManyFields,
        Error::Trailer | Error::TrailersTooLarge => Reason::MalformedTrailer,
        Error::TransferCoding => Reason::UnsupportedTransferCoding,
        Error::Truncated => Reason::BodyIncomplete,
        Error::Upgrade | Error::UpgradeVersion => Reason::UpgradeRefused,
        Error::Version => Reason::UnsupportedVersion,
    }
}

/// The reason phrases of RFC 9110 section 15 for the statuses that are sent.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: Reply, is_head: bool, then: Then) -> String {
        let mut out = Vec::new();
        reply.encode(is_head, then, None, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_is_a_whole_response_with_its_reason() {
        assert_eq!(
            encoded(Reply::new(503, Reason::ForkUnavailable), false, Then::Close),
            "HTTP/1.1 503 Service Unavailable\r\nx-spurline-reason: fork-unavailable\r\n\
             content-type: text/plain\r\ncontent-length: 17\r\nconnection: close\r\n\r\nfork-unavailable\n"
        );
    }

    #[test]
    fn a_reply_to_head_announces_its_content_and_leaves_it_out() {
        let text = encoded(Reply::new(400, Reason::MalformedHead), true, Then::KeepAlive);
        assert!(text.ends_with("content-length: 15\r\n\r\n"), "{text}");
    }
}
