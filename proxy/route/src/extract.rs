//! Extraction: which routing key a request holds.
//!
//! Total: no input makes it fail, and a request without a carrier costs one look at each field's name and no allocation.
//! Whether the sender may be trusted is [`Extractor::admit`]'s question.

use crate::{
    Carrier, CarrierConfig, CarrierError, CarrierSet, GatewayCarrier, GatewayCarriers, OnConflict,
    RejectReason, Request, RoutingKey,
    members::{self, Found, List},
    pairs, percent,
    scan::{NameSet, Names, Role},
};

mod build;

/// Reads and writes the carriers of one [`CarrierConfig`], compiled for speed. Immutable; made once per configuration.
#[derive(Clone, Debug)]
pub struct Extractor {
    pub(crate) names: Names,
    /// The main member first.
    pub(crate) members: Vec<String>,
    pub(crate) gateway: GatewayCarriers,
    /// The names whose values are keys.
    keyed: NameSet,
    /// What is read one after the other until something holds a key.
    steps: Vec<Step>,
    on_conflict: OnConflict,
    own_key: Option<RoutingKey>,
}

/// What a request's carriers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    /// The key that counts.
    pub key: Option<RoutingKey>,
    /// Where it was read.
    pub carrier: Option<Carrier>,
    /// A different key that another carrier holds, and that does not count; the first in the order of reading.
    pub conflict: Option<RoutingKey>,
    /// How many carriers hold something that is no key.
    pub malformed: u16,
    /// The carriers which hold something, readable or not.
    pub present: CarrierSet,
    /// Whether the sender would rather be refused than fall back (`x-spurline-strict: 1`).
    pub strict: bool,
    /// Whether the sender asks for the decision (`x-spurline-explain: 1`).
    pub explain: bool,
    /// Whether `baggage` holds the key and no carrier another one, so that there is nothing to write.
    pub(crate) canonical: bool,
}

/// One entry of the order of reading.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The field at this position of the names.
    Field(u8, Carrier),
    /// This member of `baggage`.
    Baggage(usize, Carrier),
    /// This member of `tracestate`.
    Tracestate(usize, Carrier),
    Gateway(GatewayCarrier),
}

/// What all the values of a carrier say together that can have only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Single {
    Absent,
    Key(RoutingKey),
    /// Unreadable, or several that differ.
    Malformed,
}

// === impl Extractor ===

impl Extractor {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// When a name cannot be what it is configured for, or there are two of it, or too many.
    pub fn new(config: CarrierConfig) -> Result<Self, CarrierError> {
        build::extractor(config)
    }

    /// Reads the key, believing whatever stands there.
    ///
    /// Without one in the message, the own key of the configuration counts.
    #[must_use]
    #[inline]
    pub fn extract<'a, I>(&self, request: &Request<'a, I>) -> Extraction
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let seen = self.names.scan(request.fields.clone());
        let mut extraction = if seen == 0 && self.gateway.order.is_empty() {
            Extraction::default()
        } else {
            self.read(request, seen, &mut |value| RoutingKey::parse(value).ok())
        };
        if let (None, Some(key)) = (extraction.key, self.own_key) {
            (extraction.key, extraction.carrier) = (Some(key), Some(Carrier::Own));
        }
        extraction
    }

    /// Why a request is to be refused before any look-up: only for conflicting keys, only if so configured.
    #[must_use]
    pub fn refusal(&self, extraction: &Extraction) -> Option<RejectReason> {
        let conflict = self.on_conflict == OnConflict::Reject && extraction.conflict.is_some();
        conflict.then_some(RejectReason::ConflictingKeys)
    }

    /// Whether a field is one that a peer must not name in `Connection` (RFC 9110 section 7.6.1), lest the next hop lose
    /// the key, the trace, or what the request is for.
    #[must_use]
    pub fn is_protected(&self, name: &[u8]) -> bool {
        const NAMES: [&[u8]; 5] = [b"host", b"authorization", b"traceparent", b"tracestate", b"baggage"];
        const PREFIXES: [&[u8]; 2] = [b"x-forwarded-", b"x-spurline-"];
        let has =
            |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        self.names.find(name).is_some()
            || NAMES.iter().any(|protected| name.eq_ignore_ascii_case(protected))
            || PREFIXES.iter().any(|prefix| has(prefix))
    }

    /// Reads every carrier in order; `seen` is what a scan of the names found, `parse` what counts as a key.
    pub(crate) fn read<'a, I>(
        &self,
        request: &Request<'a, I>,
        seen: NameSet,
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) -> Extraction
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let mut extraction = Extraction {
            strict: self.is_asked(request, seen, Role::Strict),
            explain: self.is_asked(request, seen, Role::Explain),
            ..Extraction::default()
        };
        let baggage = self.list(request, seen, Role::Baggage, parse);
        let tracestate = self.list(request, seen, Role::Tracestate, parse);
        if baggage.is_none()
            && tracestate.is_none()
            && seen & self.keyed == 0
            && self.gateway.order.is_empty()
        {
            return extraction;
        }
        let (baggage, tracestate) = (baggage.as_ref(), tracestate.as_ref());
        let lists = [baggage, tracestate].into_iter().flatten();
        extraction.malformed = lists.clone().fold(0, |sum, found| sum.saturating_add(found.malformed));
        for step in &self.steps {
            match *step {
                Step::Field(at, carrier) if seen & (1 << at) != 0 => {
                    extraction.note_single(carrier, self.single(request, at, parse));
                }
                Step::Field(..) => {}
                Step::Baggage(member, carrier) => extraction.note_member(carrier, baggage, member),
                Step::Tracestate(member, carrier) => extraction.note_member(carrier, tracestate, member),
                Step::Gateway(carrier) => self.note_gateway(&mut extraction, carrier, request, parse),
            }
        }
        lists.for_each(|found| extraction.note_conflict(found.conflict));
        let in_baggage = baggage.is_some_and(|found| matches!(found.keys, [Some(_), ..]));
        extraction.canonical = in_baggage && extraction.conflict.is_none();
        extraction
    }

    /// What all the fields of one name say together.
    pub(crate) fn single<'a, I>(
        &self,
        request: &Request<'a, I>,
        at: u8,
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) -> Single
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let values = self.lines(request, at).flat_map(|line| line.split(|&byte| byte == b','));
        values.fold(Single::Absent, |single, value| single.and(parse(members::trim(value))))
    }

    /// The values of all the fields of one name, in order.
    pub(crate) fn lines<'a, I>(
        &self,
        request: &Request<'a, I>,
        at: u8,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, '_, I>
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let fields = request.fields.clone();
        fields
            .filter(move |(name, _)| self.names.find(name).is_some_and(|(found, _)| found == at))
            .map(|f| f.1)
    }

    fn list<'a, I>(
        &self,
        request: &Request<'a, I>,
        seen: NameSet,
        role: Role,
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) -> Option<Found>
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let list = if role == Role::Baggage { List::Baggage } else { List::Tracestate };
        let at = self.names.seen(role, seen)?;
        list.read(self.lines(request, at), &self.members, parse)
    }

    fn is_asked<'a, I>(&self, request: &Request<'a, I>, seen: NameSet, role: Role) -> bool
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let at = self.names.seen(role, seen);
        at.is_some_and(|at| self.lines(request, at).any(|value| members::trim(value) == b"1"))
    }

    fn note_gateway<'a, I>(
        &self,
        extraction: &mut Extraction,
        carrier: GatewayCarrier,
        request: &Request<'a, I>,
        parse: &mut impl FnMut(&[u8]) -> Option<RoutingKey>,
    ) where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        match carrier {
            GatewayCarrier::Host => {
                let pattern = self.gateway.host_pattern.as_ref();
                let host = pattern.zip(request.authority).and_then(|(pattern, host)| pattern.read(host));
                // A host name has no case, a key has: the lower-case one is meant.
                let key = host.map(|host| parse(host.key).map(|key| key.to_lowercase()));
                extraction
                    .note_single(Carrier::Host, key.map_or(Single::Absent, |key| Single::Absent.and(key)));
            }
            GatewayCarrier::Query => {
                let name = self.gateway.query.as_deref().unwrap_or_default();
                let mut buffer = [0; percent::DECODED_LEN_MAX];
                let values = pairs::query_values(request.target, name);
                let single = values.fold(Single::Absent, |single, value| {
                    single.and(percent::decode(value, &mut buffer).and_then(&mut *parse))
                });
                extraction.note_single(Carrier::Query, single);
            }
            GatewayCarrier::Cookie => {
                let name = self.gateway.cookie.as_deref().unwrap_or_default();
                let lines = self.names.position(Role::Cookie).map(|at| self.lines(request, at));
                let values = lines.into_iter().flatten().flat_map(|line| pairs::cookie_values(line, name));
                let single = values.fold(Single::Absent, |single, value| single.and(parse(value)));
                extraction.note_single(Carrier::Cookie, single);
            }
        }
    }
}

// === impl Extraction ===

impl Extraction {
    /// Sets the key that trace correlation found, unless the message itself held one. It goes before the own key.
    pub fn recover(&mut self, key: RoutingKey) {
        if matches!(self.carrier, None | Some(Carrier::Own)) {
            (self.key, self.carrier) = (Some(key), Some(Carrier::Trace));
        }
    }

    fn note_single(&mut self, carrier: Carrier, single: Single) {
        match single {
            Single::Absent => return,
            Single::Key(key) => self.note_key(carrier, key),
            Single::Malformed => self.malformed = self.malformed.saturating_add(1),
        }
        self.present.insert(carrier);
    }

    fn note_member(&mut self, carrier: Carrier, found: Option<&Found>, member: usize) {
        let Some(found) = found else { return };
        if found.named & (1 << member) != 0 {
            self.present.insert(carrier);
        }
        if let Some(&Some(key)) = found.keys.get(member) {
            self.note_key(carrier, key);
        }
    }

    fn note_key(&mut self, carrier: Carrier, key: RoutingKey) {
        match self.key {
            None => (self.key, self.carrier) = (Some(key), Some(carrier)),
            Some(_) => self.note_conflict(Some(key)),
        }
    }

    fn note_conflict(&mut self, key: Option<RoutingKey>) {
        if self.conflict.is_none() && key != self.key {
            self.conflict = key;
        }
    }
}

// === impl Single ===

impl Single {
    /// With one more value: `None` is one that is no key.
    fn and(self, key: Option<RoutingKey>) -> Self {
        match (self, key) {
            (Self::Absent, Some(key)) => Self::Key(key),
            (Self::Key(first), Some(key)) if first == key => self,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
