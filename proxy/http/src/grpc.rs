//! What a proxy has to know of gRPC: which requests speak it, until when they want an answer, how a failure is told, and
//! gRPC-web, which is gRPC for those who cannot read trailers.
//!
//! Not here: messages. Their frames are data like any other, and no length in them is looked at. When a deadline has
//! passed, and what is answered then, is for the relay to say.

mod status;
mod text;
mod timeout;
mod web;

pub use status::{Status, append_status};
pub use text::{TextDecoder, encode_text};
pub use timeout::{set_timeout, timeout};
pub use web::{Web, to_grpc, to_web, trailers_frame};

use crate::{Head, Name, ascii};

/// Which gRPC a message speaks, by its `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// gRPC over HTTP/2 (PROTOCOL-HTTP2.md).
    Grpc,
    /// gRPC-web (PROTOCOL-WEB.md).
    Web(Coding),
}

/// How the bytes of gRPC-web are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Binary,
    /// In base64.
    Text,
}

// === impl Kind ===

impl Kind {
    /// What the first `content-type` says; `None` for whatever is not gRPC. As for all media types, case does not matter
    /// and parameters may follow (RFC 9110 section 8.3.1).
    pub fn of(head: &Head) -> Option<Self> {
        split(head.value(Name::ContentType)?).map(|(kind, _)| kind)
    }

    /// The media type, without what says how messages are written.
    fn media_type(self) -> &'static [u8] {
        match self {
            Self::Grpc => b"application/grpc",
            Self::Web(Coding::Binary) => b"application/grpc-web",
            Self::Web(Coding::Text) => b"application/grpc-web-text",
        }
    }
}

/// The kind that a media type is of, and what of the value follows: `+proto`, parameters, both or nothing.
fn split(value: &[u8]) -> Option<(Kind, &[u8])> {
    [Kind::Grpc, Kind::Web(Coding::Binary), Kind::Web(Coding::Text)].into_iter().find_map(|kind| {
        let (start, rest) = value.split_at_checked(kind.media_type().len())?;
        let is_whole = matches!(ascii::trim_ows(rest), [] | [b'+' | b';', ..]);
        (start.eq_ignore_ascii_case(kind.media_type()) && is_whole).then_some((kind, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content_type: &str) -> Option<Kind> {
        let mut head = Head::default();
        head.append(b"Content-Type", content_type.as_bytes()).unwrap();
        Kind::of(&head)
    }

    #[test]
    fn the_media_type_says_which_grpc_it_is() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC ; a=b",
            "application/grpc+x;a=b",
        ] {
            assert_eq!(kind(value), Some(Kind::Grpc), "{value}");
        }
        for value in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web; a=b"] {
            assert_eq!(kind(value), Some(Kind::Web(Coding::Binary)), "{value}");
        }
        for value in ["application/grpc-web-text", "APPLICATION/GRPC-WEB-TEXT+proto"] {
            assert_eq!(kind(value), Some(Kind::Web(Coding::Text)), "{value}");
        }
    }

    #[test]
    fn other_media_types_are_not_grpc() {
        for value in [
            "",
            "application/grp",
            "application/grpcx",
            "application/grpc-websocket",
            "application/grpc-web-texts",
            "application/grpc proto",
            "application/json",
            "text/html, application/grpc",
        ] {
            assert_eq!(kind(value), None, "{value}");
        }
        assert_eq!(Kind::of(&Head::default()), None);
    }
}
