//! What is known of a field line, worked out once and kept with the line in the table.

use crate::{
    Error, Method, Name, ascii, authority_is_valid,
    h2::{head::Scheme, hpack::Token},
    target,
};

/// What is known of a name with its value, whatever head they stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h2) struct Judged {
    pub(in crate::h2) token: Token,
    pub(in crate::h2) known: Name,
    /// Why no head may have the name.
    pub(in crate::h2) name_defect: Option<Error>,
    /// Why no head may have the value under that name.
    pub(in crate::h2) value_defect: Option<Error>,
    /// Bytes of the name as it stands in the line, where `:authority` is `host`.
    pub(in crate::h2) name_bytes: u32,
}

/// A line at the end of a head's block.
#[derive(Clone, Copy, Debug)]
pub(in crate::h2) struct Line {
    pub(in crate::h2) start: usize,
    pub(in crate::h2) judged: Judged,
    /// It came as a never-indexed literal (RFC 7541 section 6.2.3).
    pub(in crate::h2) never_indexed: bool,
}

// === impl Judged ===

impl Judged {
    /// A name as it came: what it is, and what is wrong with it (RFC 9113 sections 8.2.1 and 8.2.2).
    pub(in crate::h2) fn name(name: &[u8]) -> (Token, Option<Error>) {
        let token = Token::of(name);
        let defect = if token.has_name() {
            if token.name() == name { Self::token(token) } else { Some(Error::Field) }
        } else if name.first() == Some(&b':') {
            Some(Error::PseudoField)
        } else if name.is_empty() || !name.iter().all(|byte| is_name_byte(*byte)) {
            Some(Error::Field)
        } else {
            Name::is_alias(name).then_some(Error::AmbiguousField)
        };
        (token, defect)
    }

    /// Why no head may have the name of this token.
    pub(in crate::h2) fn token(token: Token) -> Option<Error> {
        let of_connection = matches!(
            token.known(),
            Name::Connection
                | Name::KeepAlive
                | Name::ProxyConnection
                | Name::TransferEncoding
                | Name::Upgrade
        );
        of_connection.then_some(Error::ConnectionField)
    }

    /// What is wrong with a value under the name of `token` in any head.
    pub(in crate::h2) fn value(token: Token, value: &[u8]) -> Option<Error> {
        if !ascii::is_field_value(value) {
            return Some(Error::Field);
        }
        match token {
            Token::AUTHORITY | Token::HOST => (!authority_is_valid(value)).then_some(Error::Authority),
            Token::EXPECT => (!value.eq_ignore_ascii_case(b"100-continue")).then_some(Error::Expectation),
            Token::METHOD => {
                if ascii::is_token(value) {
                    Method(value).check().err()
                } else {
                    Some(Error::PseudoField)
                }
            }
            Token::PATH => target::bytes_are_valid(value).err(),
            Token::PROTOCOL => (!ascii::is_token(value)).then_some(Error::PseudoField),
            Token::SCHEME => Scheme::of(value).is_none().then_some(Error::Scheme),
            Token::STATUS => status(value).is_none().then_some(Error::Status),
            // RFC 9113 section 8.2.2.
            Token::TE => (!value.eq_ignore_ascii_case(b"trailers")).then_some(Error::ConnectionField),
            _ => None,
        }
    }

    pub(in crate::h2) fn defect(&self) -> Option<Error> {
        self.name_defect.or(self.value_defect)
    }

    /// Bytes of the name as the peer counts them.
    pub(in crate::h2) fn name_octets(&self) -> usize {
        if self.token == Token::AUTHORITY { b":authority".len() } else { self.name_bytes as usize }
    }
}

/// A status is three digits, and 101 means nothing in HTTP/2 (RFC 9113 sections 8.3.2 and 8.6).
pub(super) fn status(value: &[u8]) -> Option<u16> {
    let [hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = value else { return None };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    (status != 101).then_some(status)
}

fn is_name_byte(byte: u8) -> bool {
    ascii::is_tchar(byte) && !byte.is_ascii_uppercase()
}
