//! One resource type of a session: what is subscribed to, how far it was told, and what is not answered yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use spurline_core::catalog::{Catalog, Pattern, ResourceType, Revision, Truncated};

use super::response::{Batch, Overlap, Response};
use crate::feed::{Feed, Known, Sink};

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) ty: ResourceType,
    subscriptions: BTreeMap<Pattern, Subscription>,
    /// A request of this type has come.
    pub(super) is_known: bool,
    /// A request has to be answered even if there is nothing to tell.
    owes: bool,
    /// Something under a subscription changed, or a subscription came.
    woken: bool,
    /// The last response did not hold everything.
    more: bool,
    /// A response was rejected as a whole: nothing counts as acknowledged, and with the next change everything since
    /// the last acknowledgement is told again.
    poisoned: bool,
    /// Names whose subscription ended while another covers them: they are told once more (checklist S13).
    again: BTreeSet<Arc<str>>,
    /// What the client had when the stream began, as far as it has not been compared.
    known: Known,
    unanswered: Option<Unanswered>,
}

/// Responses that were sent and not answered. More than one only when the older ones were given up.
#[derive(Debug)]
struct Unanswered {
    /// Of the oldest and of the latest response.
    nonces: (u64, u64),
    /// The catalog's revision at the oldest: what the client may still receive is not older.
    floor: Revision,
    /// The catalog's revision at the latest.
    made_at: Revision,
    sent_at: Instant,
    complete: Option<Revision>,
}

#[derive(Debug)]
enum Subscription {
    /// One name.
    Name {
        /// Up to where it was told; `None`: not at all, or it has to be told again.
        told: Option<Revision>,
        /// Whether the client was told that it exists.
        exists: bool,
        /// The same as of the last acknowledgement.
        acknowledged: Option<Revision>,
    },
    /// `*` or a prefix.
    Feed {
        /// `None` until it is first told.
        feed: Option<Feed>,
        /// The listing was acknowledged, and the changes up to here.
        acknowledged: Option<Revision>,
        /// Changes since here have to be told if everything is told again.
        base: Option<Revision>,
    },
}

/// What became of an answered response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// How long the answer took.
    pub(super) after: Option<Duration>,
    /// The client has everything up to here.
    pub(super) acknowledged: Option<Revision>,
}

/// What a client says of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, but for what it names.
    Taken,
    /// Not taken at all.
    Rejected,
}

impl Lane {
    pub(super) fn new(ty: ResourceType) -> Self {
        Self {
            ty,
            subscriptions: BTreeMap::new(),
            is_known: false,
            owes: false,
            woken: false,
            more: false,
            poisoned: false,
            again: BTreeSet::new(),
            known: Known::new(),
            unanswered: None,
        }
    }

    /// Ends the first request of the type, which may say what the client has.
    pub(super) fn begin(&mut self, known: Known) {
        self.is_known = true;
        self.owes = true;
        self.known = known;
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Subscribing again tells again: the client may have forgotten.
    pub(super) fn subscribe(&mut self, pattern: Pattern) {
        self.owes = true;
        self.woken = true;
        self.distrust(&pattern);
        let base = self.base(&pattern);
        let subscription = match pattern {
            Pattern::Exact(_) => Subscription::Name { told: None, exists: false, acknowledged: None },
            Pattern::All | Pattern::Prefix(_) => Subscription::Feed { feed: None, acknowledged: None, base },
        };
        self.subscriptions.insert(pattern, subscription);
    }

    /// False if there was no such subscription.
    pub(super) fn unsubscribe(&mut self, pattern: &Pattern) -> bool {
        if self.subscriptions.remove(pattern).is_none() {
            return false;
        }
        self.distrust(pattern);
        if let Pattern::Exact(name) = pattern
            && self.is_covered(name)
        {
            self.again.insert(Arc::clone(name));
            self.owes = true;
        }
        true
    }

    /// What the client had when it came back, it may have dropped by now. That it had it still counts.
    fn distrust(&mut self, pattern: &Pattern) {
        self.known
            .iter_mut()
            .filter(|(name, _)| pattern.matches(name))
            .for_each(|(_, version)| version.clear());
    }

    /// From where changes have to be told to someone who begins with `pattern`: what the client has of it already, or
    /// will have when what is under way arrives, may have gone since. `None`: it has nothing of it.
    fn base(&self, pattern: &Pattern) -> Option<Revision> {
        let related = self.subscriptions.iter().filter(|(other, _)| overlap(pattern, other));
        let bases = related.filter_map(|(_, subscription)| match subscription {
            Subscription::Feed { base, .. } => *base,
            Subscription::Name { .. } => None,
        });
        bases.chain(self.unanswered.as_ref().map(|unanswered| unanswered.floor)).min()
    }

    fn is_covered(&self, name: &str) -> bool {
        self.subscriptions.keys().any(|pattern| pattern.matches(name))
    }

    /// True if the change joins others that wait for the client's answer.
    pub(super) fn wake(&mut self) -> bool {
        let joins = self.unanswered.is_some();
        self.woken = true;
        joins
    }

    /// Whether something is, or may be, left to tell.
    pub(super) fn is_pending(&self) -> bool {
        self.owes || self.woken || self.more
    }

    /// When the response that is waited for is given up.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        let unanswered = self.unanswered.as_ref().filter(|_| self.is_pending())?;
        Some(unanswered.sent_at + timeout)
    }

    /// The catalog's revision at the response of this nonce, if it waits for its answer; of one that was given up, not
    /// a later one.
    pub(super) fn made_at(&self, nonce: u64) -> Option<Revision> {
        let unanswered = self.unanswered.as_ref()?;
        let (oldest, latest) = unanswered.nonces;
        let made_at = if nonce == latest { unanswered.made_at } else { unanswered.floor };
        (oldest..=latest).contains(&nonce).then_some(made_at)
    }

    /// Takes the answer to the response of this nonce. One that was given up can only be rejected; its acceptance
    /// shows with the next.
    pub(super) fn answer(&mut self, nonce: u64, verdict: Verdict, now: Instant) -> Answered {
        let Some(unanswered) = &self.unanswered else { return Answered::default() };
        let (oldest, latest) = unanswered.nonces;
        if !(oldest..=latest).contains(&nonce) {
            return Answered::default();
        }
        self.poisoned |= verdict == Verdict::Rejected;
        if nonce != latest {
            // What came after may have been mended already, so that no other change would bring the rest.
            self.woken |= verdict == Verdict::Rejected;
            return Answered::default();
        }
        let after = Some(now.saturating_duration_since(unanswered.sent_at));
        let complete = unanswered.complete;
        self.unanswered = None;
        if self.poisoned {
            return Answered { after, acknowledged: None };
        }
        let all = self.acknowledge();
        Answered { after, acknowledged: complete.filter(|_| all) }
    }

    /// Takes what was told as acknowledged. Whether that is everything.
    fn acknowledge(&mut self) -> bool {
        let mut all = true;
        for subscription in self.subscriptions.values_mut() {
            match subscription {
                Subscription::Name { told, acknowledged, .. } => {
                    *acknowledged = *told;
                    all &= told.is_some();
                }
                Subscription::Feed { feed: Some(feed), acknowledged, base } if feed.is_listed() => {
                    *acknowledged = Some(feed.since());
                    *base = *acknowledged;
                }
                Subscription::Feed { .. } => all = false,
            }
        }
        all
    }

    /// Goes back to what was last acknowledged.
    fn go_back(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            match subscription {
                Subscription::Name { told, acknowledged, exists } => {
                    *told = *acknowledged;
                    *exists = told.is_some();
                }
                Subscription::Feed { feed, acknowledged, base } => {
                    *base = (*base).or_else(|| feed.as_ref().map(Feed::since));
                    *feed = acknowledged.map(Feed::changes);
                }
            }
        }
        self.poisoned = false;
    }

    /// The next response, or what counts as acknowledged because there is nothing to tell.
    pub(super) fn poll(
        &mut self,
        catalog: &Catalog,
        (nonce, bytes_max): (u64, usize),
        (now, timeout): (Instant, Duration),
    ) -> Result<Polled, Truncated> {
        let waits = self.unanswered.as_ref().is_some_and(|last| now < last.sent_at + timeout);
        if waits || !self.is_pending() {
            return Ok(Polled::Nothing);
        }
        if self.poisoned && self.woken {
            self.go_back();
        }
        let overlap = if self.subscriptions.len() + self.again.len() > 1 {
            Overlap::Possible
        } else {
            Overlap::Impossible
        };
        let mut batch = Batch::new(bytes_max, overlap);
        let complete = self.fill(catalog, &mut batch)?.then(|| catalog.revision());
        self.woken = false;
        self.more = complete.is_none();
        let owed = complete.is_some() && std::mem::take(&mut self.owes);
        if batch.is_empty() && !owed {
            return Ok(self.nothing_to_tell(complete));
        }
        self.sent(nonce, (catalog.revision(), complete), now);
        Ok(Polled::Response(Response { ty: self.ty, nonce, complete, batch }))
    }

    fn nothing_to_tell(&mut self, complete: Option<Revision>) -> Polled {
        match &mut self.unanswered {
            // The answer that is still out speaks for this revision as well.
            Some(unanswered) => unanswered.complete = complete,
            None if !self.poisoned => {
                let all = self.acknowledge();
                if let Some(revision) = complete.filter(|_| all) {
                    return Polled::Acknowledged(revision);
                }
            }
            None => {}
        }
        Polled::Nothing
    }

    fn sent(&mut self, nonce: u64, (made_at, complete): (Revision, Option<Revision>), sent_at: Instant) {
        let (oldest, floor) = match &self.unanswered {
            Some(given_up) => (given_up.nonces.0, given_up.floor),
            None => (nonce, made_at),
        };
        self.unanswered = Some(Unanswered { nonces: (oldest, nonce), floor, made_at, sent_at, complete });
    }

    /// True when nothing is left to tell.
    fn fill(&mut self, catalog: &Catalog, batch: &mut Batch) -> Result<bool, Truncated> {
        while let Some(name) = self.again.pop_first() {
            tell(catalog, self.ty, &name, batch);
            if batch.room() == 0 {
                return Ok(false);
            }
        }
        for subscription in self.subscriptions.values_mut() {
            if let Subscription::Feed { base, .. } = subscription {
                base.get_or_insert(catalog.revision());
            }
        }
        for (pattern, subscription) in &mut self.subscriptions {
            if batch.room() == 0 {
                return Ok(false);
            }
            let told = subscription.fill((catalog, self.ty), pattern, &mut self.known, batch)?;
            if !told {
                return Ok(false);
            }
        }
        // Everything was compared; what is left belongs to no subscription.
        self.known.clear();
        self.subscriptions.values_mut().for_each(|subscription| subscription.caught_up(catalog.revision()));
        Ok(true)
    }
}

#[derive(Debug)]
pub(super) enum Polled {
    Nothing,
    Acknowledged(Revision),
    Response(Response),
}

impl Subscription {
    fn fill(
        &mut self,
        (catalog, ty): (&Catalog, ResourceType),
        pattern: &Pattern,
        known: &mut Known,
        batch: &mut Batch,
    ) -> Result<bool, Truncated> {
        match self {
            Self::Name { told, exists, .. } => {
                let Pattern::Exact(name) = pattern else { return Ok(true) };
                let entry = catalog.get(ty, name);
                match (&told, entry) {
                    (Some(told), Some(entry)) if entry.revision() <= *told => {}
                    (Some(_), None) if !*exists => {}
                    _ => {
                        let same = entry.zip(known.remove(&**name));
                        if same.is_none_or(|(entry, version)| entry.version() != version) {
                            tell(catalog, ty, name, batch);
                        }
                    }
                }
                *told = Some(catalog.revision());
                *exists = entry.is_some();
                Ok(true)
            }
            Self::Feed { feed, base, .. } => {
                let since = base.unwrap_or_else(|| catalog.revision());
                let feed = feed.get_or_insert_with(|| Feed::listing(since));
                feed.fill((catalog, ty), pattern, known, batch)
            }
        }
    }

    /// Notes that nothing was left to tell up to here.
    fn caught_up(&mut self, revision: Revision) {
        match self {
            Self::Name { told, .. } => *told = Some(revision),
            Self::Feed { feed, .. } => *feed = Some(Feed::changes(revision)),
        }
    }
}

/// Whether a name can fall under both.
fn overlap(one: &Pattern, other: &Pattern) -> bool {
    match (one, other) {
        (Pattern::All, _) | (_, Pattern::All) => true,
        (Pattern::Prefix(one), Pattern::Prefix(other)) => {
            one.starts_with(&**other) || other.starts_with(&**one)
        }
        (Pattern::Exact(name), pattern) | (pattern, Pattern::Exact(name)) => pattern.matches(name),
    }
}

/// Says what is so of one name, once.
fn tell(catalog: &Catalog, ty: ResourceType, name: &Arc<str>, batch: &mut Batch) {
    match catalog.get(ty, name) {
        Some(entry) => batch.changed(entry),
        None => batch.removed(name),
    }
}
