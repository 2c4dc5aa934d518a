//! From decoded lines to a [`Head`]: the rules of RFC 9113 section 8 for fields, and the limits.
//!
//! Not here: what the lengths of DATA frames say about a content length, and when trailers may come; the connection
//! knows these.

mod line;

pub(in crate::h2) use line::{Judged, Line};

use crate::{
    Error, Field, Head, Limits, Name, Start, Version, ascii,
    h2::hpack::{BlockError, Token},
    head::{Span, bit},
    trailer,
};

/// Which part of a message a header block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Request,
    /// Final or interim.
    Response,
    Trailers,
}

/// The schemes that are served (RFC 9110 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

/// What decoding found beside the head itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadMeta {
    /// The one `content-length`, which the DATA frames must sum up to (RFC 9113 section 8.1.1). `None` also for
    /// responses that must not have one (1xx, 204), whose field is removed.
    pub content_length: Option<u64>,
    /// `:scheme` of a request.
    pub scheme: Scheme,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// An extended CONNECT (RFC 8441), which is only to be served where it was announced. [`Head::protocol`] has the
    /// protocol.
    pub has_protocol: bool,
}

/// Heads of more than this many times the limit are no mistake.
const BOMB_FACTOR: usize = 4;

/// Takes the lines of one block, keeps those that belong into the head, and judges the whole at the end.
pub(in crate::h2) struct Collector<'a> {
    pub(in crate::h2) head: &'a mut Head,
    section: Section,
    bytes_max: usize,
    fields_max: usize,
    target_bytes_max: usize,
    /// Bytes of all lines as RFC 9113 section 6.5.2 counts them.
    bytes: usize,
    fields: usize,
    cookies: usize,
    content_lengths: usize,
    /// The last of them.
    content_length: Span,
    /// The pseudo-fields that came, a bit each.
    pseudo: u8,
    meta: HeadMeta,
    /// Why the head is refused. Nothing is stored from then on.
    refusal: Option<BlockError>,
}

// === impl Scheme ===

impl Scheme {
    /// The scheme as it stands in `:scheme`. Only lower case, as RFC 3986 section 3.1 has producers write it.
    pub(in crate::h2) fn of(value: &[u8]) -> Option<Self> {
        match value {
            b"http" => Some(Self::Http),
            b"https" => Some(Self::Https),
            _ => None,
        }
    }

    pub(in crate::h2) fn name(self) -> &'static [u8] {
        match self {
            Self::Http => b"http",
            Self::Https => b"https",
        }
    }
}

// === impl Collector ===

impl<'a> Collector<'a> {
    /// `head` must be empty.
    pub(in crate::h2) fn new(section: Section, limits: &Limits, head: &'a mut Head) -> Self {
        let (bytes_max, fields_max) = match section {
            Section::Request | Section::Response => (limits.head_bytes_max, limits.fields_max),
            Section::Trailers => (limits.trailer_bytes_max, limits.trailer_fields_max),
        };
        head.version = Version::Http2;
        Self {
            head,
            section,
            bytes_max,
            fields_max,
            target_bytes_max: limits.target_bytes_max,
            bytes: 0,
            fields: 0,
            cookies: 0,
            content_lengths: 0,
            content_length: Span::default(),
            pseudo: 0,
            meta: HeadMeta::default(),
            refusal: None,
        }
    }

    /// Whether a block of so many bytes is worth decoding.
    pub(in crate::h2) fn allows_block(&self, bytes: usize) -> Result<(), BlockError> {
        if bytes > BOMB_FACTOR * self.bytes_max { Err(BlockError::Bomb) } else { Ok(()) }
    }

    /// Takes a line of a table.
    #[inline]
    pub(in crate::h2) fn copy_line(&mut self, line: &[u8], judged: Judged) -> Result<(), BlockError> {
        let start = self.head.block.len();
        self.head.block.extend_from_slice(line);
        self.take_line(Line { start, judged, never_indexed: false })
    }

    /// Takes the line at the end of the block.
    ///
    /// # Errors
    /// Only [`BlockError::Bomb`]; any other refusal is kept for the end.
    #[inline]
    pub(in crate::h2) fn take_line(&mut self, line: Line) -> Result<(), BlockError> {
        /// What a field costs beside its bytes; `: ` and CRLF are in the line.
        const OVERHEAD_BYTES: usize = 32 - 4;
        self.bytes += self.head.block.len() - line.start + OVERHEAD_BYTES;
        if self.bytes > self.bytes_max {
            self.exceed()?;
        }
        if let Some(defect) = line.judged.defect() {
            self.refuse(BlockError::Malformed(defect));
        }
        if self.refusal.is_none() {
            if line.judged.token.is_pseudo() { self.take_pseudo(line) } else { self.take_field(line) }
        }
        if self.refusal.is_some() {
            self.head.block.truncate(line.start);
        }
        Ok(())
    }

    #[cold]
    fn exceed(&mut self) -> Result<(), BlockError> {
        if self.bytes > BOMB_FACTOR * self.bytes_max {
            return Err(BlockError::Bomb);
        }
        let error = if self.is_trailers() { Error::TrailersTooLarge } else { Error::HeadTooLarge };
        self.refuse(BlockError::TooLarge(error));
        Ok(())
    }

    fn is_trailers(&self) -> bool {
        self.section == Section::Trailers
    }

    #[cold]
    fn refuse(&mut self, error: BlockError) {
        self.refusal.get_or_insert(error);
    }

    /// RFC 9113 section 8.3: each once, before all other fields, and only those of the section.
    fn take_pseudo(&mut self, line: Line) {
        let token = line.judged.token;
        let expected = match self.section {
            Section::Request => token != Token::STATUS,
            Section::Response => token == Token::STATUS,
            Section::Trailers => false,
        };
        let early = self.fields == 0;
        if !expected || !early || self.pseudo & token.pseudo_bit() != 0 {
            return self.refuse(BlockError::Malformed(Error::PseudoField));
        }
        self.pseudo |= token.pseudo_bit();
        let (name, value) = self.spans(line);
        match token {
            Token::METHOD => self.head.method = value,
            Token::PATH => self.head.text = value,
            Token::PROTOCOL => self.head.protocol = value,
            Token::AUTHORITY => self.push(line, (name, value), Name::Host),
            Token::SCHEME => self.meta.scheme = Scheme::of(value.of(&self.head.block)).unwrap_or_default(),
            _ => {
                let status = line::status(value.of(&self.head.block)).unwrap_or_default();
                self.head.start = Start::Response(status);
            }
        }
    }

    #[inline]
    fn take_field(&mut self, line: Line) {
        self.fields += 1;
        if self.fields > self.fields_max {
            let error = if self.is_trailers() { Error::TrailersTooLarge } else { Error::TooManyFields };
            return self.refuse(BlockError::TooLarge(error));
        }
        let token = line.judged.token;
        let (name, value) = self.spans(line);
        if self.is_trailers() && token.has_name() {
            // RFC 9110 section 6.5.1: dropped, never merged.
            if line.judged.known != Name::Other || trailer::is_forbidden(token.name()) {
                return self.head.block.truncate(line.start);
            }
        }
        match token {
            Token::HOST if self.head.names & bit(Name::Host) != 0 => return self.drop_host(line, value),
            Token::COOKIE => self.cookies += 1,
            Token::CONTENT_LENGTH => {
                (self.content_lengths, self.content_length) = (self.content_lengths + 1, value)
            }
            Token::EXPECT => self.meta.expects_continue = true,
            _ => {}
        }
        self.push(line, (name, value), line.judged.known);
    }

    /// There is one authority: a `host` beside `:authority` says the same or the request is malformed (RFC 9113 section
    /// 8.3.1), and a second `host` says nothing at all.
    fn drop_host(&mut self, line: Line, value: Span) {
        let block = &self.head.block;
        let same = self.head.value(Name::Host).is_some_and(|one| one.eq_ignore_ascii_case(value.of(block)));
        let of_authority = self.pseudo & Token::AUTHORITY.pseudo_bit() != 0;
        self.pseudo &= !Token::AUTHORITY.pseudo_bit();
        if same && of_authority {
            self.head.block.truncate(line.start);
        } else {
            self.refuse(BlockError::Malformed(Error::Authority));
        }
    }

    fn spans(&self, line: Line) -> (Span, Span) {
        let name_end = line.start + line.judged.name_bytes as usize;
        let value_end = self.head.block.len().saturating_sub(2);
        (Span::new(line.start, name_end), Span::new(name_end + 2, value_end))
    }

    #[inline]
    fn push(&mut self, line: Line, (name, value): (Span, Span), known: Name) {
        self.head.names |= bit(known);
        self.head.fields.push(Field {
            name,
            value,
            line_end: value.end + 2,
            known,
            removed: false,
            never_indexed: line.never_indexed,
            token: if known == Name::Host { Token::HOST } else { line.judged.token },
        });
    }

    /// Judges the head as a whole.
    pub(in crate::h2) fn finish(mut self) -> Result<HeadMeta, BlockError> {
        if let Some(error) = self.refusal {
            return Err(error);
        }
        if self.cookies > 1 {
            self.join_cookies();
        }
        let judged = match self.section {
            Section::Request => self.finish_request(),
            Section::Response => self.finish_response(),
            Section::Trailers => Ok(()),
        };
        match judged {
            Ok(()) => Ok(self.meta),
            Err(error @ Error::TargetTooLarge) => Err(BlockError::TooLarge(error)),
            Err(error) => Err(BlockError::Malformed(error)),
        }
    }

    fn finish_request(&mut self) -> Result<(), Error> {
        self.head.start = Start::Request;
        self.meta.content_length = self.content_length()?;
        let has = |token: Token| self.pseudo & token.pseudo_bit() != 0;
        self.meta.has_protocol = has(Token::PROTOCOL);
        let method = self.head.method();
        match (method.is("CONNECT"), self.meta.has_protocol) {
            // It asks for a tunnel to anywhere, which is not served, well-formed or not.
            (true, false) => return Err(Error::Method),
            (false, true) => return Err(Error::PseudoField),
            _ => {}
        }
        if !(has(Token::METHOD) && has(Token::SCHEME) && has(Token::PATH)) {
            return Err(Error::PseudoField);
        }
        if self.head.names & bit(Name::Host) == 0 {
            return Err(Error::Authority);
        }
        let target = self.head.target();
        if target.len() > self.target_bytes_max {
            return Err(Error::TargetTooLarge);
        }
        // Its bytes have been looked at; what is left is the form (RFC 9113 section 8.3.1).
        match target {
            [b'/', ..] => Ok(()),
            b"*" if method.is("OPTIONS") => Ok(()),
            _ => Err(Error::Target),
        }
    }

    fn finish_response(&mut self) -> Result<(), Error> {
        let status = self.head.status();
        if status == 0 {
            return Err(Error::PseudoField);
        }
        self.meta.content_length = self.content_length()?;
        if status < 200 || status == 204 {
            // A server MUST NOT send it there (RFC 9110 section 8.6), and a client that believes it waits for a body.
            self.head.remove_all(Name::ContentLength);
            self.meta.content_length = None;
        }
        Ok(())
    }

    /// Makes one line of all cookie crumbs, in the place of the first (RFC 9113 section 8.2.3).
    fn join_cookies(&mut self) {
        let Head { fields, block, .. } = &mut *self.head;
        let name_start = block.len();
        block.extend_from_slice(b"cookie: ");
        let value_start = block.len();
        let mut never_indexed = false;
        for crumb in fields.iter().filter(|field| field.token == Token::COOKIE) {
            never_indexed |= crumb.never_indexed;
            // Without the empty ones: a value must not end in a space.
            let (start, end) = (crumb.value.start as usize, crumb.value.end as usize);
            if start < end && block.len() > value_start {
                block.extend_from_slice(b"; ");
            }
            block.extend_from_within(start..end);
        }
        let value = Span::new(value_start, block.len());
        block.extend_from_slice(b"\r\n");
        let name = Span::new(name_start, value_start - 2);
        let mut joined = false;
        fields.retain_mut(|field| {
            if field.token != Token::COOKIE {
                return true;
            }
            (field.name, field.value, field.line_end) = (name, value, value.end + 2);
            field.never_indexed = never_indexed;
            !std::mem::replace(&mut joined, true)
        });
    }

    /// One plain decimal number, once (RFC 9110 section 8.6).
    fn content_length(&self) -> Result<Option<u64>, Error> {
        match self.content_lengths {
            0 => Ok(None),
            1 => {
                let length = ascii::decimal(self.content_length.of(&self.head.block));
                length.map(Some).ok_or(Error::ContentLength)
            }
            _ => Err(Error::ContentLengthRepeated),
        }
    }
}
