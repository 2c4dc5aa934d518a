//! Answers of the proxy itself.

use spurline_telemetry::metrics::Reason;

use crate::explain::EXPLAIN_FIELD;

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

    /// Writes the whole response. A response to HEAD has no content.
    pub(crate) fn encode(self, is_head: bool, then: Then, explanation: Option<&str>, out: &mut Vec<u8>) {
        let Self { status, reason } = self;
        let content = [reason.label(), "\n"].concat();
        let fields = match status {
            405 => "allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n",
            426 => "sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade\r\n",
            _ => "",
        };
        let mut number = itoa::Buffer::new();
        for part in ["HTTP/1.1 ", number.format(status), " ", phrase(status), "\r\n", REASON_FIELD, ": "] {
            out.extend_from_slice(part.as_bytes());
        }
        for part in [reason.label(), "\r\n", fields, "content-type: text/plain\r\ncontent-length: "] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(number.format(content.len()).as_bytes());
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
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
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
