use crate::{Error, Name, ascii, h2::hpack::Token};

/// A range of [`Head`]'s block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // A block is bounded by `Limits::head_bytes_max` and a few edits.
        debug_assert!(end <= u32::MAX as usize, "{end}");
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn of(self, block: &[u8]) -> &[u8] {
        block.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A request method: case-sensitive, any token (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method<'a>(pub &'a [u8]);

impl Method<'_> {
    /// No registered method comes near this length.
    pub(crate) const BYTES_MAX: usize = 24;

    pub fn is(self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }

    /// Whether a request that may have been received can be sent again (RFC 9110 section 9.2.2). Unknown methods
    /// are taken for not idempotent.
    pub fn is_idempotent(self) -> bool {
        matches!(self.0, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
    }

    /// Whether requests with the method are read at all; the decoders know that it is a token.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.0 {
            // CONNECT is told apart by its target; PRI is the start of HTTP/2's preface.
            b"TRACE" | b"PRI" => Err(Error::Method),
            name if name.len() > Self::BYTES_MAX => Err(Error::Method),
            name if name.iter().any(u8::is_ascii_lowercase) => Err(Error::Method),
            _ => Ok(()),
        }
    }
}

/// The version that the peer speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// A trailer section has no start line.
    #[default]
    None,
    Request,
    /// The status code.
    Response(u16),
}

/// One field line of a head: ranges into the head's block, valid only for that head.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    /// Where the line ends, after its CRLF. The line starts where its name does.
    pub(crate) line_end: u32,
    pub(crate) known: Name,
    pub(crate) removed: bool,
    /// No hop may put it into a table (RFC 7541 section 6.2.3).
    pub(crate) never_indexed: bool,
    pub(crate) token: Token,
}

impl Field {
    pub fn known(&self) -> Name {
        self.known
    }
}

/// The head of a message (or a trailer section): its bytes as received in one block, and its fields as ranges into
/// it. Edits append to the block and move ranges, so whatever is not edited is forwarded byte for byte.
///
/// A head is meant to be reused: [`Head::clear`] keeps the allocations.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub(crate) block: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) start: Start,
    pub(crate) version: Version,
    /// Method of a request.
    pub(crate) method: Span,
    /// Target of a request, reason of a response.
    pub(crate) text: Span,
    /// `:protocol` of an extended CONNECT.
    pub(crate) protocol: Span,
    /// The start line with its CRLF; empty once an edit made the received one wrong, and when there was none.
    pub(crate) line: Span,
    /// The names that occur, a bit each.
    pub(crate) names: u32,
}

// === impl Head ===

impl Head {
    pub fn clear(&mut self) {
        let Self { block, fields, start, version, method, text, protocol, line, names } = self;
        block.clear();
        fields.clear();
        *start = Start::None;
        *version = Version::Http11;
        (*method, *text, *protocol, *line) = Default::default();
        *names = 0;
    }

    pub fn start(&self) -> Start {
        self.start
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The method of a request; empty for anything else.
    pub fn method(&self) -> Method<'_> {
        Method(self.method.of(&self.block))
    }

    /// The target of a request as it will be sent; for a response its reason phrase.
    pub fn target(&self) -> &[u8] {
        self.text.of(&self.block)
    }

    /// What an extended CONNECT wants to speak (RFC 8441); empty for anything else.
    pub fn protocol(&self) -> &[u8] {
        self.protocol.of(&self.block)
    }

    /// The status of a response, 0 for anything else.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Response(status) => status,
            Start::None | Start::Request => 0,
        }
    }

    /// Bytes that this head holds, edits included.
    pub fn bytes(&self) -> usize {
        self.block.len()
    }

    /// Bytes that this head can hold without taking more memory.
    pub fn capacity_bytes(&self) -> usize {
        self.block.capacity()
    }

    /// All fields in wire order as (name, value). A removed field reads as an empty name, so that a position in
    /// this iterator is an index for [`Head::remove`] and [`Head::replace`] whatever happened before.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter().map(|field| match field.removed {
            true => (&[][..], &[][..]),
            false => (field.name.of(&self.block), field.value.of(&self.block)),
        })
    }

    /// The values of all fields of that name, in wire order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let occurs = self.names & bit(name) != 0;
        let fields = if occurs { self.fields.as_slice() } else { &[] };
        fields
            .iter()
            .filter(move |field| field.known == name && !field.removed)
            .map(|field| field.value.of(&self.block))
    }

    /// The first value of that name.
    pub fn value(&self, name: Name) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Removes the field at `index`; one that is not there is none to remove.
    pub fn remove(&mut self, index: usize) {
        if let Some(field) = self.fields.get_mut(index) {
            field.removed = true;
        }
    }

    /// Removes every field of that name.
    pub fn remove_all(&mut self, name: Name) {
        if self.names & bit(name) == 0 {
            return;
        }
        for field in self.fields.iter_mut().filter(|field| field.known == name) {
            field.removed = true;
        }
    }

    /// Replaces the value of the field at `index`, keeping its name as it was written and its place; one that
    /// is not there, or was removed, is none to replace.
    ///
    /// # Errors
    /// [`Error::Field`] when the value is not a field value (RFC 9110 section 5.5); the head is unchanged then.
    pub fn replace(&mut self, index: usize, value: &[u8]) -> Result<(), Error> {
        let Some(field) = self.fields.get(index).filter(|field| !field.removed) else { return Ok(()) };
        let never_indexed = field.never_indexed;
        let name = field.name.of(&self.block).to_vec();
        let line = self.write_line(&name, value)?;
        if let Some(field) = self.fields.get_mut(index) {
            *field = Field { never_indexed, ..line };
        }
        Ok(())
    }

    /// Appends a field.
    ///
    /// # Errors
    /// [`Error::Field`] when name or value is not one (RFC 9110 section 5); the head is unchanged then.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let field = self.write_line(name, value)?;
        self.fields.push(field);
        Ok(())
    }

    /// Appends a field whose name and value are ours, and so known to be well-formed.
    pub(crate) fn append_own(&mut self, name: &'static str, value: &'static str) {
        let appended = self.append(name.as_bytes(), value.as_bytes());
        debug_assert!(appended.is_ok(), "{name}: {value} is not a field");
    }

    /// Makes this the one field of a known name: in the place of the first, or appended where there is none.
    ///
    /// # Errors
    /// As [`Head::append`].
    pub(crate) fn set_only(&mut self, known: Name, name: &'static str, value: &[u8]) -> Result<(), Error> {
        let mut line = Some(self.write_line(name.as_bytes(), value)?);
        for field in self.fields.iter_mut().filter(|field| field.known == known && !field.removed) {
            match line.take() {
                Some(line) => *field = line,
                None => field.removed = true,
            }
        }
        self.fields.extend(line);
        Ok(())
    }

    /// Empties the head and makes it the start of a response of our own.
    pub fn start_response(&mut self, status: u16) {
        self.clear();
        self.set_status(status);
    }

    /// Makes the head that of a response with another status, between 100 and 599. The reason phrase goes, for it
    /// explained the old one.
    pub fn set_status(&mut self, status: u16) {
        debug_assert!((100..=599).contains(&status), "{status} is no status");
        self.start = Start::Response(status);
        (self.text, self.line) = Default::default();
    }

    /// Gives the request another method. `CONNECT` may be one, for a request that becomes an extended one.
    ///
    /// # Errors
    /// [`Error::Method`] when no decoder would take it; the head is unchanged then.
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), Error> {
        if !ascii::is_token(method) {
            return Err(Error::Method);
        }
        Method(method).check()?;
        self.method = self.store(method);
        self.line = Span::default();
        Ok(())
    }

    /// Sets what an extended CONNECT wants to speak (RFC 8441 section 4); an empty one takes it back.
    ///
    /// # Errors
    /// [`Error::Upgrade`] when it is not a token; the head is unchanged then.
    pub fn set_protocol(&mut self, protocol: &[u8]) -> Result<(), Error> {
        if !protocol.is_empty() && !ascii::is_token(protocol) {
            return Err(Error::Upgrade);
        }
        self.protocol = self.store(protocol);
        self.line = Span::default();
        Ok(())
    }

    /// Makes the request ask for another origin-form target.
    ///
    /// # Errors
    /// [`Error::Target`] when it is not one; the head is unchanged then.
    pub fn replace_target(&mut self, target: &[u8]) -> Result<(), Error> {
        match crate::target_form(self.method(), target)? {
            crate::TargetForm::Origin => {
                self.set_target(target);
                Ok(())
            }
            crate::TargetForm::Absolute { .. } | crate::TargetForm::Asterisk => Err(Error::Target),
        }
    }

    /// Makes the request ask for another target; its start line is written anew when it is encoded.
    pub(crate) fn set_target(&mut self, target: &[u8]) {
        self.text = self.store(target);
        self.line = Span::default();
    }

    /// Copies an earlier range of the block as the new target.
    pub(crate) fn set_target_from(&mut self, from: usize, to: usize) {
        self.text = Span::new(from, to);
        self.line = Span::default();
    }

    /// Appends bytes to the block.
    fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.block.len();
        self.block.extend_from_slice(bytes);
        Span::new(start, self.block.len())
    }

    fn write_line(&mut self, name: &[u8], value: &[u8]) -> Result<Field, Error> {
        if !ascii::is_token(name) || !ascii::is_field_value(value) {
            return Err(Error::Field);
        }
        let at = self.block.len();
        self.block.extend_from_slice(name);
        self.block.extend_from_slice(b": ");
        self.block.extend_from_slice(value);
        self.block.extend_from_slice(b"\r\n");
        let value_start = at + name.len() + 2;
        let known = Name::classify(name);
        self.names |= bit(known);
        Ok(Field {
            name: Span::new(at, at + name.len()),
            value: Span::new(value_start, value_start + value.len()),
            line_end: Span::new(0, self.block.len()).end,
            known,
            removed: false,
            never_indexed: false,
            token: Token::UNSEEN,
        })
    }

    /// Writes the lines of all fields that are kept. Lines that stand next to each other in the block are copied
    /// together, so an unedited head costs one or two copies.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>) {
        let mut run = Span::default();
        for field in self.fields.iter().filter(|field| !field.removed) {
            if field.name.start != run.end {
                out.extend_from_slice(run.of(&self.block));
                run.start = field.name.start;
            }
            run.end = field.line_end;
        }
        out.extend_from_slice(run.of(&self.block));
    }
}

/// The bit of a name in [`Head::names`].
pub(crate) fn bit(name: Name) -> u32 {
    1 << (name as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, Limits, h1, h2};

    fn lines(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn edits_keep_the_place_of_what_they_do_not_touch() {
        let mut head = Head::default();
        for (name, value) in [("A", "1"), ("b", "2"), ("C", "3")] {
            head.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head.replace(1, b"two").unwrap();
        head.remove(0);
        head.append(b"d", b"4").unwrap();
        assert_eq!(lines(&head), "b: two\r\nC: 3\r\nd: 4\r\n");
        assert_eq!(head.pairs().count(), 4);
        assert_eq!(head.pairs().next(), Some((&b""[..], &b""[..])));
    }

    #[test]
    fn an_edit_cannot_inject_a_line() {
        let mut head = Head::default();
        for (name, value) in
            [("a", "1\r\nb: 2"), ("a b", "1"), ("", "1"), ("a", "\0"), ("a", " x"), ("a:", "1")]
        {
            assert_eq!(
                head.append(name.as_bytes(), value.as_bytes()),
                Err(Error::Field),
                "{name:?} {value:?}"
            );
        }
        assert_eq!(lines(&head), "");
    }

    #[test]
    fn known_names_are_found_after_an_append() {
        let mut head = Head::default();
        assert_eq!(head.value(Name::Host), None);
        head.append(b"Host", b"a").unwrap();
        assert_eq!(head.value(Name::Host), Some(&b"a"[..]));
        head.remove_all(Name::Host);
        assert_eq!(head.value(Name::Host), None);
    }

    fn read_request(bytes: &[u8]) -> Head {
        let mut head = Head::default();
        h1::read_request(bytes, &Limits::default(), &mut head).unwrap().unwrap();
        head
    }

    fn request_line(head: &Head) -> String {
        let mut out = Vec::new();
        h1::encode_request(head, Framing::None, None, &mut out);
        String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
    }

    fn status_line(head: &Head) -> String {
        let encoding = h1::ResponseEncoding {
            framing: Framing::None,
            client: Version::Http11,
            persistence: h1::Persistence::KeepAlive,
            upgrade: None,
        };
        let mut out = Vec::new();
        h1::encode_response(head, encoding, &mut out);
        String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
    }

    #[test]
    fn an_upgrade_becomes_an_extended_connect_and_the_other_way_round() {
        let mut head = read_request(b"GET /chat HTTP/1.1\r\nhost: a\r\n\r\n");
        head.set_method(b"CONNECT").unwrap();
        head.set_protocol(b"websocket").unwrap();
        let (mut encoder, mut block, mut read) = (h2::Encoder::new(), Vec::new(), Head::default());
        encoder.encode_request(&head, h2::Scheme::Http, &mut block);
        let mut decoder = h2::Decoder::default();
        let meta = decoder.decode(&block, h2::Section::Request, &Limits::default(), &mut read).unwrap();
        assert!(meta.has_protocol && read.method().is("CONNECT"));
        assert_eq!((read.protocol(), read.target()), (&b"websocket"[..], &b"/chat"[..]));

        read.set_method(b"GET").unwrap();
        read.set_protocol(b"").unwrap();
        assert_eq!(read.protocol(), b"");
        assert_eq!(request_line(&read), "GET /chat HTTP/1.1");
    }

    #[test]
    fn a_method_or_protocol_cannot_be_more_than_one() {
        let mut head = read_request(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        for method in ["", "G T", "get", "PRI", "GET\r\n", "AAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(head.set_method(method.as_bytes()), Err(Error::Method), "{method:?}");
        }
        assert_eq!(head.set_protocol(b"foo/1"), Err(Error::Upgrade));
        assert_eq!(request_line(&head), "GET / HTTP/1.1");
    }

    #[test]
    fn another_status_has_another_line_and_no_reason() {
        let mut head = Head::default();
        let wire = b"HTTP/1.1 101 Switching Protocols\r\na: 1\r\n\r\n";
        h1::read_response(wire, Method(b"GET"), &Limits::default(), &mut head).unwrap().unwrap();
        head.set_status(200);
        assert_eq!((head.status(), status_line(&head).as_str()), (200, "HTTP/1.1 200 "));
        assert_eq!(lines(&head), "a: 1\r\n");
        head.start_response(503);
        assert_eq!((head.status(), status_line(&head).as_str()), (503, "HTTP/1.1 503 "));
        assert_eq!(lines(&head), "");
    }

    #[test]
    fn the_only_field_of_a_name_stands_where_the_first_stood() {
        let mut head = Head::default();
        for (name, value) in [("a", "1"), ("Te", "x"), ("b", "2"), ("te", "y")] {
            head.append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head.set_only(Name::Te, "te", b"z").unwrap();
        assert_eq!(lines(&head), "a: 1\r\nte: z\r\nb: 2\r\n");
        head.set_only(Name::Via, "via", b"v").unwrap();
        assert_eq!(lines(&head), "a: 1\r\nte: z\r\nb: 2\r\nvia: v\r\n");
        assert_eq!(head.set_only(Name::Via, "via", b"\n"), Err(Error::Field));
    }
}
