use crate::{Error, Head, Name, Start, Version, ascii, head::bit};

/// More options than this in one message are an attack on whoever matches them against fields.
const CONNECTION_OPTIONS_MAX: usize = 32;

/// What a message's `Connection` fields say about the connection it came on (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Fields of this message are nominated by name. A trailer section may hold one of them, so it is not forwarded
    /// (RFC 9110 section 6.5.1 lets any recipient discard it).
    pub nominates: bool,
}

/// Reads the connection options and removes the fields that they nominate. To be called after the routing key has
/// been read: what a peer nominates cannot change where its request goes.
///
/// `is_protected` names the fields that a peer must not be able to remove: the carriers of routing keys,
/// `authorization` and the like. A nomination of one of these, or of a field that frames the message, is refused
/// (RFC 9110: fields that are intended for all recipients MUST NOT be nominated).
///
/// # Errors
/// [`Error::ConnectionOption`]; the head may have lost some of its fields then and must not be forwarded.
pub fn connection_options(
    head: &mut Head,
    is_protected: impl Fn(&[u8]) -> bool,
) -> Result<ConnectionOptions, Error> {
    let mut options = ConnectionOptions::default();
    if head.names & bit(Name::Connection) == 0 {
        return Ok(options);
    }
    let mut count = 0;
    let is_response = matches!(head.start(), Start::Response(_));
    let Head { fields, block, .. } = head;
    for at in 0..fields.len() {
        let Some(field) = fields.get(at).filter(|field| field.known == Name::Connection && !field.removed)
        else {
            continue;
        };
        for option in ascii::list(field.value.of(block)) {
            count += 1;
            if count > CONNECTION_OPTIONS_MAX || !option.iter().all(|byte| ascii::is_tchar(*byte)) {
                return Err(Error::ConnectionOption);
            }
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => options.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                // Gone or written anew in any case; not removed yet, for they are still being read.
                // It goes anyway, and what the encoder writes is ours; some servers do nominate it.
                _ if is_response && option.eq_ignore_ascii_case(b"transfer-encoding") => {}
                _ if [b"connection".as_slice(), b"te"].iter().any(|n| option.eq_ignore_ascii_case(n)) => {}
                _ if !may_nominate(option) || is_protected(option) => return Err(Error::ConnectionOption),
                _ => {
                    options.nominates = true;
                    fields
                        .iter_mut()
                        .filter(|field| field.name.of(block).eq_ignore_ascii_case(option))
                        .for_each(|field| field.removed = true);
                }
            }
        }
    }
    Ok(options)
}

/// Removes the fields that are meant for one hop only. `TE: trailers` is kept: with its nomination in a head of HTTP/1,
/// and as it is in one of HTTP/2, which gets the nomination when it is written as HTTP/1. `Transfer-Encoding` goes, for
/// the encoder writes its own.
pub fn remove_hop_by_hop(head: &mut Head) {
    if head.names & HOP_BY_HOP == 0 {
        return;
    }
    if head.version == Version::Http2 {
        // Its decoder let no other `te` pass, and a nomination means nothing there (RFC 9113 section 8.2.2).
        let meant_for_one_hop = HOP_BY_HOP & !bit(Name::Te);
        head.fields.iter_mut().filter(|field| meant_for_one_hop & bit(field.known) != 0).for_each(|field| {
            field.removed = true;
        });
        return;
    }
    let trailers = head
        .values(Name::Te)
        .any(|te| ascii::list(te).any(|coding| coding.eq_ignore_ascii_case(b"trailers")));
    for field in head.fields.iter_mut().filter(|field| HOP_BY_HOP & bit(field.known) != 0) {
        field.removed = true;
    }
    if trailers {
        head.append_own("te", "trailers");
        head.append_own("connection", "te");
    }
}

const HOP_BY_HOP: u32 = {
    const NAMES: [Name; 9] = [
        Name::Connection,
        Name::Http2Settings,
        Name::KeepAlive,
        Name::ProxyAuthenticate,
        Name::ProxyAuthorization,
        Name::ProxyConnection,
        Name::Te,
        Name::TransferEncoding,
        Name::Upgrade,
    ];
    let mut bits = 0;
    let mut i = 0;
    while i < NAMES.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiled, within bounds")]
        {
            bits |= 1 << (NAMES[i] as u32);
        }
        i += 1;
    }
    bits
};

/// Names whose removal would change what a message means to the next peer.
fn may_nominate(option: &[u8]) -> bool {
    !matches!(
        Name::classify(option),
        Name::ContentLength
            | Name::Expect
            | Name::Host
            | Name::SecWebsocketKey
            | Name::SecWebsocketVersion
            | Name::TransferEncoding
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        for (name, value) in fields {
            head.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head
    }

    fn kept(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nominated_and_listed_fields_go_and_the_rest_stays() {
        let mut head = head(&[
            ("Connection", "close, X-Foo"),
            ("x-foo", "1"),
            ("X-Bar", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "x"),
            ("TE", "gzip"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAA"),
            ("Transfer-Encoding", "chunked"),
        ]);
        let options = connection_options(&mut head, |_| false).unwrap();
        remove_hop_by_hop(&mut head);
        assert_eq!(options, ConnectionOptions { close: true, nominates: true, ..Default::default() });
        assert_eq!(kept(&head), "X-Bar: 2\r\n");
    }

    #[test]
    fn te_trailers_is_kept_with_its_nomination() {
        let mut head = head(&[("te", "gzip, trailers"), ("connection", "TE")]);
        connection_options(&mut head, |_| false).unwrap();
        remove_hop_by_hop(&mut head);
        assert_eq!(kept(&head), "te: trailers\r\nconnection: te\r\n");
    }

    #[test]
    fn protected_and_framing_fields_cannot_be_nominated() {
        for option in ["baggage", "Host", "content-length", "Transfer-Encoding", "expect"] {
            let mut head = head(&[("connection", option), ("baggage", "a=b")]);
            let outcome = connection_options(&mut head, |name| name.eq_ignore_ascii_case(b"baggage"));
            assert_eq!(outcome, Err(Error::ConnectionOption), "{option}");
        }
    }

    #[test]
    fn a_list_of_ten_thousand_options_is_refused() {
        let mut head = head(&[("connection", &"a,".repeat(10_000))]);
        assert_eq!(connection_options(&mut head, |_| false), Err(Error::ConnectionOption));
    }

    #[test]
    fn close_on_any_line_counts_even_if_a_later_line_says_keep_alive() {
        let mut head = head(&[("connection", "close"), ("connection", "keep-alive")]);
        let options = connection_options(&mut head, |_| false).unwrap();
        assert!(options.close && options.keep_alive);
    }
}
