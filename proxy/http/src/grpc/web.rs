//! gRPC-web (PROTOCOL-WEB.md): the same messages, with the trailers as the last of them.
//!
//! Not here: CORS, which is a matter between a browser and the application behind us.

use crate::{
    Head, Name, Version, ascii,
    grpc::{Coding, Kind, Status, split, status},
};

/// How a call of gRPC-web is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Web {
    pub request: Coding,
    pub response: Coding,
}

/// Makes a request of gRPC-web one of gRPC, once its hop-by-hop fields are gone; any other is left alone, and `None`.
/// What [`Web::request`] says is to be done to its body. The client says with `accept` how it wants the response; it is
/// as its request where it does not.
pub fn to_grpc(head: &mut Head) -> Option<Web> {
    let Some(Kind::Web(request)) = Kind::of(head) else { return None };
    let response = accepted(head).unwrap_or(request);
    set_kind(head, Kind::Grpc);
    if request == Coding::Text {
        head.remove_all(Name::ContentLength);
    }
    if head.value(Name::Te).is_none() {
        head.append_own("te", "trailers");
        if head.version() != Version::Http2 {
            head.append_own("connection", "te");
        }
    }
    Some(Web { request, response })
}

/// Makes a response of gRPC one of gRPC-web; any other is left alone, for something between us and the server has answered.
/// Returns whether its body is to be written in that coding and to end with [`trailers_frame`]: not where the head already
/// says how the call ended, for such a response has no messages (PROTOCOL-HTTP2.md, "Trailers-Only").
pub fn to_web(head: &mut Head, coding: Coding) -> bool {
    if Kind::of(head) != Some(Kind::Grpc) {
        return false;
    }
    set_kind(head, Kind::Web(coding));
    head.remove_all(Name::Trailer);
    if head.pairs().any(|(name, _)| is_status(name)) {
        return false;
    }
    head.remove_all(Name::ContentLength);
    true
}

/// Appends the trailers as the last message of a response. Where there is no `grpc-status`, clients of gRPC are told what
/// they would say themselves: those of gRPC-web take a body that merely ends for a success.
pub fn trailers_frame(trailers: Option<&Head>, out: &mut Vec<u8>) {
    /// Uncompressed trailers.
    const FLAG: u8 = 0x80;
    let start = out.len();
    out.extend_from_slice(&[FLAG, 0, 0, 0, 0]);
    let mut has_status = false;
    let pairs = trailers.into_iter().flat_map(Head::pairs).filter(|(name, _)| !name.is_empty());
    for (name, value) in pairs {
        has_status |= is_status(name);
        let name_start = out.len();
        out.extend_from_slice(name);
        out.get_mut(name_start..).unwrap_or_default().make_ascii_lowercase();
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    if !has_status {
        let mut missing = Head::default();
        status::append_status(&mut missing, Status::Unknown, "the response ended without a status");
        missing.write_fields(out);
    }
    // Trailers are bounded by `Limits::trailer_bytes_max`.
    let length = u32::try_from(out.len() - start - 5).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start + 1..start + 5) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn is_status(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"grpc-status")
}

/// The coding that the client asks for: text if it names that at all, for who can read text may not be able to read
/// anything else.
fn accepted(head: &Head) -> Option<Coding> {
    let mut accepted = None;
    let accept = head.pairs().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
    for media_type in accept.flat_map(|(_, value)| ascii::list(value)) {
        match split(media_type) {
            Some((Kind::Web(Coding::Text), _)) => return Some(Coding::Text),
            Some((Kind::Web(Coding::Binary), _)) => accepted = Some(Coding::Binary),
            Some((Kind::Grpc, _)) | None => {}
        }
    }
    accepted
}

/// Rewrites the first `content-type`, keeping how messages are written. Others, which nobody reads, go.
fn set_kind(head: &mut Head, kind: Kind) {
    let Some(rest) = head.value(Name::ContentType).and_then(split).map(|(_, rest)| rest) else { return };
    let value = [kind.media_type(), rest].concat();
    let set = head.set_only(Name::ContentType, "content-type", &value);
    debug_assert!(set.is_ok(), "{value:?} is no field value");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, fields: &[(&str, &str)]) -> Head {
        let mut head = Head { version, ..Default::default() };
        for (name, value) in fields {
            head.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head
    }

    fn lines(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn frame(trailers: Option<&Head>) -> (Vec<u8>, String) {
        let mut out = b"before".to_vec();
        trailers_frame(trailers, &mut out);
        let (head, lines) = out.strip_prefix(b"before").unwrap().split_at(5);
        (head.to_vec(), String::from_utf8(lines.to_vec()).unwrap())
    }

    #[test]
    fn a_request_of_grpc_web_becomes_one_of_grpc() {
        let mut http2 = head(
            Version::Http2,
            &[("content-type", "application/grpc-web+proto"), ("content-length", "7"), ("accept", "*/*")],
        );
        let web = Web { request: Coding::Binary, response: Coding::Binary };
        assert_eq!(to_grpc(&mut http2), Some(web));
        assert_eq!(
            lines(&http2),
            "content-type: application/grpc+proto\r\ncontent-length: 7\r\naccept: */*\r\nte: trailers\r\n"
        );
        let mut http1 =
            head(Version::Http11, &[("Content-Type", "application/grpc-web-text"), ("Content-Length", "8")]);
        let web = Web { request: Coding::Text, response: Coding::Text };
        assert_eq!(to_grpc(&mut http1), Some(web));
        assert_eq!(lines(&http1), "content-type: application/grpc\r\nte: trailers\r\nconnection: te\r\n");
    }

    #[test]
    fn the_client_says_how_it_wants_the_response() {
        for (content_type, accept, response) in [
            ("application/grpc-web", "application/grpc-web-text", Coding::Text),
            ("application/grpc-web", "application/grpc-web, application/grpc-web-text+proto", Coding::Text),
            ("application/grpc-web-text", "application/grpc-web+proto, */*;q=0.1", Coding::Binary),
            ("application/grpc-web-text", "*/*", Coding::Text),
            ("application/grpc-web", "application/grpc", Coding::Binary),
        ] {
            let fields = [("content-type", content_type), ("Accept", accept)];
            let web = to_grpc(&mut head(Version::Http2, &fields)).unwrap();
            assert_eq!(web.response, response, "{content_type}, {accept}");
        }
    }

    #[test]
    fn what_is_not_grpc_web_is_left_alone() {
        for content_type in ["application/grpc", "application/json", "application/grpc-websocket"] {
            let mut head = head(Version::Http2, &[("content-type", content_type), ("trailer", "a")]);
            let before = lines(&head);
            assert_eq!(to_grpc(&mut head), None);
            assert_eq!(to_web(&mut head, Coding::Text), content_type == "application/grpc");
            assert_eq!(lines(&head) == before, content_type != "application/grpc");
        }
    }

    #[test]
    fn a_response_becomes_one_of_grpc_web_without_what_its_body_makes_wrong() {
        let mut head = head(
            Version::Http2,
            &[
                ("content-type", "application/grpc+json; a=b"),
                ("content-length", "5"),
                ("trailer", "grpc-status"),
                ("content-type", "text/html"),
            ],
        );
        assert!(to_web(&mut head, Coding::Text));
        assert_eq!(lines(&head), "content-type: application/grpc-web-text+json; a=b\r\n");
    }

    #[test]
    fn a_response_whose_head_says_how_the_call_ended_has_no_body_to_write() {
        let fields = [("content-type", "application/grpc"), ("Grpc-Status", "5"), ("content-length", "0")];
        let mut head = head(Version::Http2, &fields);
        assert!(!to_web(&mut head, Coding::Binary));
        assert_eq!(
            lines(&head),
            "content-type: application/grpc-web\r\nGrpc-Status: 5\r\ncontent-length: 0\r\n"
        );
    }

    #[test]
    fn trailers_become_a_frame_with_names_in_lower_case() {
        let mut trailers = head(
            Version::Http2,
            &[("Grpc-Status", "0"), ("gone", "x"), ("X-Bin", "AA"), ("x", ""), ("X-UP", "UP")],
        );
        trailers.remove(1);
        let (head, lines) = frame(Some(&trailers));
        assert_eq!(lines, "grpc-status: 0\r\nx-bin: AA\r\nx: \r\nx-up: UP\r\n");
        assert_eq!(head, [0x80, 0, 0, 0, u8::try_from(lines.len()).unwrap()]);
    }

    #[test]
    fn a_response_without_a_status_does_not_read_as_a_success() {
        let expected = "grpc-status: 2\r\ngrpc-message: the response ended without a status\r\n";
        assert_eq!(frame(None).1, expected);
        let trailers = head(Version::Http2, &[("a", "1")]);
        assert_eq!(frame(Some(&trailers)).1, format!("a: 1\r\n{expected}"));
    }
}
