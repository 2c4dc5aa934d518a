//! One delta ADS stream as a state machine: requests, wake-ups and time go in, responses and effects come out.
//!
//! Per type there is at most one response that the client has not answered; what changes meanwhile is not queued but
//! read from the catalog once it is answered. The state is a few words per subscription: what the client has is
//! known by a point in the catalog's history, not by a list of names.
//!
//! It sees no socket, no lock and no clock, and encodes nothing twice. Rules are those of the xDS protocol document,
//! "Incremental xDS". Three of its rules have no place here: that a stale nonce of state of the world still counts for
//! subscriptions and that its answers are full sets, because only the incremental variant is served; and that endpoints
//! are sent again after a change of their cluster, because none of our resources is warmed by another.
//!
//! Whatever a client sends, what is kept of it is bounded: subscriptions and names that are given up by
//! [`Limits::subscriptions_max`], what it had before by [`INITIAL_VERSIONS_MAX`]. What it rejects and why is not kept here.
//! The rest of a message is gone when it has been read.

mod lane;
mod response;
mod subscription;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message;
use spurline_api::{
    REJECTIONS_TYPE_URL,
    envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest},
    google::rpc::Status,
    spurline::routing::v1::Rejections,
};
use spurline_core::catalog::{
    Catalog, PATTERN_LEN_MAX, Pattern, PatternError, ResourceType, Revision, Truncated,
};
use spurline_hub::{REJECTIONS_MAX, Rejection};

pub(crate) use response::Response;

use crate::feed::Known;
use lane::{Lane, Polled, Removals, Turn, Verdict};

/// Resources that a client may say it has when it comes back. Ours says it of 2 MiB of names and versions at most.
const INITIAL_VERSIONS_MAX: usize = 100_000;
/// A client that comes back with overrides is told of none before it has asked for key owners, which it does at once
/// if at all, or before this has passed.
const KEY_OWNERS_WAIT: Duration = Duration::from_secs(1);

/// What bounds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Subscriptions of a stream, all types together; and names in one message.
    pub(crate) subscriptions_max: usize,
    /// Bytes of resources and names in a response; one resource may go beyond.
    pub(crate) response_bytes_max: usize,
    /// After this a response counts as lost and the next one is sent.
    pub(crate) answer_timeout: Duration,
}

/// What the stream has to do for the session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// The client said who it is.
    Describe(Node),
    Subscribe(ResourceType, Pattern),
    Unsubscribe(ResourceType, Pattern),
    /// The client has everything of its subscriptions up to here.
    Acknowledged(ResourceType, Revision),
    /// The client did not take something.
    Rejected(ResourceType, Rejection),
    /// A response was answered after this long.
    Answered(ResourceType, Duration),
    /// The client asks for a type that is not served here.
    UnknownType(String),
}

/// Why a stream has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("subscription \"{name}\": {error}")]
    Pattern { name: String, error: PatternError },
    #[error("more than {0} subscriptions on one stream")]
    Subscriptions(usize),
    #[error(
        "more than {INITIAL_VERSIONS_MAX} initial_resource_versions; allowed: none, and everything is sent"
    )]
    InitialVersions,
}

#[derive(Debug)]
pub(crate) struct Session {
    limits: Limits,
    lanes: [Lane; ResourceType::ALL.len()],
    nonce: u64,
    is_first: bool,
    wildcard: LegacyWildcard,
    effects: Vec<Effect>,
    /// Responses that were made together, in their order; at most one of each type.
    made: VecDeque<Response>,
    /// Until when overrides wait for key owners to be asked for.
    key_owners_by: Option<Instant>,
    /// When it was last seen what there is to say.
    polled_at: Option<Instant>,
}

/// Whether a first request without names asks for everything. gRPC clients never mean that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LegacyWildcard {
    Off,
    On,
}

impl Session {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: ResourceType::ALL.map(Lane::new),
            nonce: 0,
            is_first: true,
            wildcard: LegacyWildcard::On,
            effects: Vec::new(),
            made: VecDeque::new(),
            key_owners_by: None,
            polled_at: None,
        }
    }

    /// What to do since the last call, in this order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes a request: an answer, subscriptions, or both. A subscription counts whatever the nonce beside it.
    ///
    /// # Errors
    /// When the stream has to end.
    pub(crate) fn request(&mut self, request: DeltaDiscoveryRequest, now: Instant) -> Result<(), Refusal> {
        if std::mem::take(&mut self.is_first)
            && let Some(node) = request.node
        {
            if node.user_agent_name.starts_with("gRPC") {
                self.wildcard = LegacyWildcard::Off;
            }
            self.effects.push(Effect::Describe(node));
        }
        let Some(ty) = ResourceType::from_type_url(&request.type_url) else {
            self.effects.push(Effect::UnknownType(request.type_url.chars().take(PATTERN_LEN_MAX).collect()));
            return Ok(());
        };
        if !request.response_nonce.is_empty() {
            self.answer(ty, (&request.response_nonce, request.error_detail.as_ref()), now);
        }
        let is_first = !self.lane(ty).is_known;
        let mut subscribe = request.resource_names_subscribe;
        let is_empty = subscribe.is_empty() && request.resource_names_unsubscribe.is_empty();
        if is_first && is_empty && self.wildcard == LegacyWildcard::On {
            subscribe.push("*".to_owned());
        }
        let mut unsubscribe = request.resource_names_unsubscribe;
        for names in [&mut subscribe, &mut unsubscribe] {
            names.sort_unstable();
            names.dedup();
            if names.len() > self.limits.subscriptions_max {
                return Err(Refusal::Subscriptions(self.limits.subscriptions_max));
            }
        }
        for name in subscribe {
            self.subscribe(ty, &name)?;
        }
        for name in unsubscribe {
            // What cannot be subscribed to cannot be unsubscribed from.
            if let Ok(pattern) = Pattern::parse(&name)
                && self.lane(ty).unsubscribe(&pattern)
            {
                self.effects.push(Effect::Unsubscribe(ty, pattern));
            }
        }
        if is_first {
            // What the client has counts here and nowhere else.
            if request.initial_resource_versions.len() > INITIAL_VERSIONS_MAX {
                return Err(Refusal::InitialVersions);
            }
            let known = Known::from(request.initial_resource_versions);
            if ty == ResourceType::Override && !known.is_empty() {
                self.key_owners_by = Some(now + KEY_OWNERS_WAIT);
            }
            self.lane(ty).begin(known);
        }
        Ok(())
    }

    fn subscribe(&mut self, ty: ResourceType, name: &str) -> Result<(), Refusal> {
        let pattern = match Pattern::parse(name) {
            Ok(pattern) => pattern,
            Err(error) => {
                let name = name.chars().take(64).collect();
                return Err(Refusal::Pattern { name, error });
            }
        };
        self.lane(ty).subscribe(pattern.clone());
        self.effects.push(Effect::Subscribe(ty, pattern));
        if self.lanes.iter().map(Lane::subscriptions).sum::<usize>() > self.limits.subscriptions_max {
            return Err(Refusal::Subscriptions(self.limits.subscriptions_max));
        }
        Ok(())
    }

    fn answer(&mut self, ty: ResourceType, (nonce, error): (&str, Option<&Status>), now: Instant) {
        // A nonce that was never given answers nothing, like a stale one.
        let Ok(nonce) = nonce.parse() else { return };
        let mut verdict = Verdict::Taken;
        if let (Some(error), Some(revision)) = (error, self.lane(ty).made_at(nonce)) {
            let rejections = rejections(error, revision);
            if rejections.iter().any(|rejection| rejection.name.is_none()) {
                verdict = Verdict::Rejected;
            }
            self.effects.extend(rejections.into_iter().map(|rejection| Effect::Rejected(ty, rejection)));
        }
        let answered = self.lane(ty).answer(nonce, verdict, now);
        self.effects.extend(answered.after.map(|after| Effect::Answered(ty, after)));
        self.effects.extend(answered.acknowledged.map(|revision| Effect::Acknowledged(ty, revision)));
    }

    /// Something under a subscription of this type changed. True if it joins changes that wait for an answer.
    pub(crate) fn wake(&mut self, ty: ResourceType) -> bool {
        self.lane(ty).wake()
    }

    /// The next response, if there is one to send.
    ///
    /// # Errors
    /// When it cannot be said any more what went. The stream has to end; the client resumes with what it has.
    pub(crate) fn poll(&mut self, catalog: &Catalog, now: Instant) -> Result<Option<Response>, Truncated> {
        if self.made.is_empty() {
            self.make(catalog, now)?;
            self.polled_at = Some(now);
        }
        Ok(self.made.pop_front())
    }

    /// Makes what can be said now, all of it from the same state of the catalog.
    ///
    /// At no point may a client know a key whose overrides it has not yet, or has no more: it would serve strict requests
    /// by the baseline. Therefore keys go before overrides go, and come after overrides come.
    fn make(&mut self, catalog: &Catalog, now: Instant) -> Result<(), Truncated> {
        let turn = self.turn(catalog, now);
        if [ResourceType::Override, ResourceType::KeyOwner].into_iter().any(|ty| self.lane(ty).is_due(turn)) {
            // Changes are visible a little before anybody is woken for them, and must not be told of one type only.
            self.lane(ResourceType::Override).look(catalog.revision());
            self.lane(ResourceType::KeyOwner).look(catalog.revision());
        }
        if self.lane(ResourceType::Override).is_due(turn)
            && !self.awaits_key_owners(now)
            && self.tell_gone_keys(turn)?
        {
            self.tell(ResourceType::Override, self.turn(catalog, now))?;
        }
        self.tell(ResourceType::Baseline, self.turn(catalog, now))?;
        if !self.lane(ResourceType::Override).is_pending() {
            self.tell(ResourceType::KeyOwner, self.turn(catalog, now))?;
        }
        Ok(())
    }

    /// Whether nothing is left to tell of them.
    fn tell_gone_keys(&mut self, turn: Turn<'_>) -> Result<bool, Truncated> {
        let (response, all) = match self.lane(ResourceType::KeyOwner).poll_removals(turn)? {
            Removals::Told(response) => (response, true),
            Removals::More(response) => (Some(response), false),
            Removals::Wait => (None, false),
        };
        self.say(response);
        Ok(all)
    }

    fn tell(&mut self, ty: ResourceType, turn: Turn<'_>) -> Result<(), Truncated> {
        match self.lane(ty).poll(turn)? {
            Polled::Nothing => {}
            Polled::Acknowledged(revision) => self.effects.push(Effect::Acknowledged(ty, revision)),
            Polled::Response(response) => self.say(Some(response)),
        }
        Ok(())
    }

    fn say(&mut self, response: Option<Response>) {
        if let Some(response) = response {
            self.nonce = response.nonce;
            self.made.push_back(response);
        }
    }

    fn turn<'a>(&self, catalog: &'a Catalog, now: Instant) -> Turn<'a> {
        Turn { catalog, nonce: self.nonce + 1, limits: self.limits, now }
    }

    /// Whether what is gone of the keys may come to light only with the next request.
    fn awaits_key_owners(&mut self, now: Instant) -> bool {
        if self.lane(ResourceType::KeyOwner).is_known || self.key_owners_by.is_some_and(|by| by <= now) {
            self.key_owners_by = None;
        }
        self.key_owners_by.is_some()
    }

    /// When to poll again even if nothing happens. To be asked after [`Session::poll`]: what was due by then and was
    /// not said waits for another type, and its time has no more to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let answers = self.lanes.iter().filter_map(|lane| lane.deadline(self.limits.answer_timeout));
        let is_ahead = |at: &Instant| self.polled_at.is_none_or(|polled_at| *at > polled_at);
        answers.chain(self.key_owners_by).filter(is_ahead).min()
    }

    /// Whether all that was asked for so far was sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.made.is_empty()
            && self.lanes.iter().any(|lane| lane.is_known)
            && !self.lanes.iter().any(Lane::is_pending)
    }

    fn lane(&mut self, ty: ResourceType) -> &mut Lane {
        let [overrides, baselines, key_owners] = &mut self.lanes;
        match ty {
            ResourceType::Override => overrides,
            ResourceType::Baseline => baselines,
            ResourceType::KeyOwner => key_owners,
        }
    }
}

/// What the details name; one without a name if they name nothing: then all of the response was rejected.
fn rejections(error: &Status, revision: Revision) -> Vec<Rejection> {
    let named: Vec<Rejection> = error
        .details
        .iter()
        .filter(|detail| detail.type_url == REJECTIONS_TYPE_URL)
        .filter_map(|detail| Rejections::decode(&*detail.value).ok())
        .flat_map(|detail| detail.rejections)
        // No resource has a longer name.
        .filter(|rejection| (1..=PATTERN_LEN_MAX).contains(&rejection.name.len()))
        .map(|rejection| Rejection {
            name: Some(Arc::from(rejection.name)),
            revision,
            reason: rejection.reason,
        })
        .collect();
    // So many are not kept; our client names none of them then.
    if named.is_empty() || named.len() > REJECTIONS_MAX {
        return vec![Rejection { name: None, revision, reason: error.message.clone() }];
    }
    named
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
