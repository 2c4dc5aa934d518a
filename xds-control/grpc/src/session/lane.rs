//! One resource type of a session: what is subscribed to, how far it was told, and what is not answered yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use spurline_core::catalog::{Catalog, Pattern, ResourceType, Revision, Truncated};

use super::{
    Limits,
    response::{Batch, Overlap, Response},
    subscription::{Subscription, tell},
};
use crate::feed::{Known, Sink};

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
    /// When everything was told last.
    complete_at: Option<Revision>,
    /// When all that is gone was told last; `None`: not since something was subscribed to.
    removals_at: Option<Revision>,
    unanswered: Option<Unanswered>,
}

/// What a response is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) nonce: u64,
    pub(super) limits: Limits,
    pub(super) now: Instant,
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
    /// A subscription ended since: what is rejected may be what is not asked for any more.
    is_narrowed: bool,
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
            complete_at: None,
            removals_at: None,
            unanswered: None,
        }
    }

    /// Ends the first request of the type, which may say what the client has.
    pub(super) fn begin(&mut self, known: Known) {
        self.is_known = true;
        self.owes = true;
        self.known = known;
    }

    /// How many names are kept for the client, with those that it gave up and has not been told of.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len() + self.again.len()
    }

    /// Subscribing again tells again: the client may have forgotten.
    pub(super) fn subscribe(&mut self, pattern: Pattern) {
        self.owes = true;
        self.woken = true;
        self.removals_at = None;
        self.known.distrust(&pattern);
        let subscription = Subscription::new(&pattern, self.base(&pattern));
        self.subscriptions.insert(pattern, subscription);
    }

    /// False if there was no such subscription.
    pub(super) fn unsubscribe(&mut self, pattern: &Pattern) -> bool {
        if self.subscriptions.remove(pattern).is_none() {
            return false;
        }
        self.woken |= self.poisoned;
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.is_narrowed = true;
        }
        self.known.distrust(pattern);
        if let Pattern::Exact(name) = pattern {
            if self.is_covered(name) {
                self.again.insert(Arc::clone(name));
                self.owes = true;
            }
        } else {
            self.subscriptions.values_mut().for_each(Subscription::may_exist);
        }
        true
    }

    /// From where changes have to be told to someone who begins with `pattern`: what the client has of it already, or
    /// will have when what is under way arrives, may have gone since. `None`: it has nothing of it.
    fn base(&self, pattern: &Pattern) -> Option<Revision> {
        let related = self.subscriptions.iter().filter(|(other, _)| overlap(pattern, other));
        let bases = related.filter_map(|(_, subscription)| subscription.base());
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

    /// Whether there is something to tell and nothing to wait for.
    pub(super) fn is_due(&self, turn: Turn<'_>) -> bool {
        let Turn { now, limits, .. } = turn;
        let waits = self.unanswered.as_ref().is_some_and(|last| now < last.sent_at + limits.answer_timeout);
        self.is_pending() && !waits
    }

    /// Looks for changes of which nobody has been woken yet.
    pub(super) fn look(&mut self, revision: Revision) {
        self.woken |= self.is_known && self.complete_at != Some(revision);
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
        self.woken |= self.poisoned && unanswered.is_narrowed;
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
        self.known.acknowledge();
        let mut all = true;
        for subscription in self.subscriptions.values_mut() {
            all &= subscription.acknowledge();
        }
        all
    }

    /// Goes back to what was last acknowledged.
    fn go_back(&mut self) {
        self.known.go_back();
        self.subscriptions.values_mut().for_each(Subscription::go_back);
        self.removals_at = None;
        self.poisoned = false;
    }

    /// The next response, or what counts as acknowledged because there is nothing to tell.
    pub(super) fn poll(&mut self, turn: Turn<'_>) -> Result<Polled, Truncated> {
        if !self.is_due(turn) {
            return Ok(Polled::Nothing);
        }
        let Turn { catalog, nonce, now, .. } = turn;
        let mut batch = self.batch(turn);
        let complete = self.fill(catalog, &mut batch)?.then(|| catalog.revision());
        self.woken = false;
        self.more = complete.is_none();
        if complete.is_some() {
            (self.complete_at, self.removals_at) = (complete, complete);
        }
        let owed = complete.is_some() && std::mem::take(&mut self.owes);
        if batch.is_empty() && !owed {
            return Ok(self.nothing_to_tell(complete));
        }
        self.sent(nonce, (catalog.revision(), complete), now);
        Ok(Polled::Response(Response { ty: self.ty, nonce, complete, batch }))
    }

    /// A response with what is gone, ahead of all else. It completes nothing, and what it tells is not told again.
    pub(super) fn poll_removals(&mut self, turn: Turn<'_>) -> Result<Removals, Truncated> {
        let Turn { catalog, nonce, now, .. } = turn;
        if !self.is_known || self.removals_at == Some(catalog.revision()) {
            return Ok(Removals::Told(None));
        }
        // The rest has to be told as well, and if nobody answers it is the time-out that goes on.
        self.woken = true;
        if !self.is_due(turn) {
            return Ok(Removals::Wait);
        }
        let mut batch = self.batch(turn);
        let mut all = true;
        for (pattern, subscription) in &mut self.subscriptions {
            subscription.begin(catalog.revision());
            let known = &mut self.known;
            all = batch.room() > 0
                && subscription.fill_removals((catalog, self.ty), pattern, known, &mut batch)?;
            if !all {
                break;
            }
        }
        self.removals_at = all.then(|| catalog.revision());
        if batch.is_empty() {
            return Ok(Removals::Told(None));
        }
        self.sent(nonce, (catalog.revision(), None), now);
        let response = Response { ty: self.ty, nonce, complete: None, batch };
        Ok(if all { Removals::Told(Some(response)) } else { Removals::More(response) })
    }

    /// Begins a response.
    fn batch(&mut self, turn: Turn<'_>) -> Batch {
        if self.poisoned && self.woken {
            self.go_back();
        }
        // What the client came with can be gone since long, and be gone once more since.
        let several = self.subscriptions.len() + self.again.len() > 1 || !self.known.is_empty();
        let overlap = if several { Overlap::Possible } else { Overlap::Impossible };
        Batch::new(turn.limits.response_bytes_max, overlap)
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
        let (oldest, floor, is_narrowed) = match &self.unanswered {
            Some(given_up) => (given_up.nonces.0, given_up.floor, given_up.is_narrowed),
            None => (nonce, made_at, false),
        };
        let nonces = (oldest, nonce);
        self.unanswered = Some(Unanswered { nonces, floor, made_at, sent_at, complete, is_narrowed });
    }

    /// True when nothing is left to tell.
    fn fill(&mut self, catalog: &Catalog, batch: &mut Batch) -> Result<bool, Truncated> {
        while let Some(name) = self.again.pop_first() {
            tell((catalog, self.ty), &name, batch);
            if batch.room() == 0 {
                return Ok(false);
            }
        }
        self.subscriptions.values_mut().for_each(|subscription| subscription.begin(catalog.revision()));
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

/// What became of the removals that have to be told first.
#[derive(Debug)]
pub(super) enum Removals {
    /// They are told, with this response if there were any.
    Told(Option<Response>),
    /// More follow when this is answered.
    More(Response),
    /// They follow when the last response is answered.
    Wait,
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
