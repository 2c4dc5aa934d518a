//! One delta ADS stream as a state machine: requests, wake-ups and time go in, responses and effects come out.
//!
//! Per type there is at most one response that the client has not answered; what changes meanwhile is not queued but
//! read from the catalog once it is answered. The state is a few words per subscription: what the client has is
//! known by a point in the catalog's history, not by a list of names.
//!
//! It sees no socket, no lock and no clock, and encodes nothing twice. Rules are those of the xDS protocol document,
//! "Incremental xDS".

mod lane;
mod response;

use std::{
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
use spurline_core::catalog::{Catalog, Pattern, PatternError, ResourceType, Revision, Truncated};
use spurline_hub::Rejection;

pub(crate) use response::Response;

use crate::feed::Known;
use lane::{Lane, Polled, Verdict};

/// Rejections by name that are told apart; a response with more counts as rejected as a whole.
const REJECTIONS_MAX: usize = 256;

/// What bounds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Subscriptions of a stream, all types together.
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
}

#[derive(Debug)]
pub(crate) struct Session {
    limits: Limits,
    lanes: [Lane; ResourceType::ALL.len()],
    nonce: u64,
    is_first: bool,
    wildcard: LegacyWildcard,
    effects: Vec<Effect>,
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
            self.effects.push(Effect::UnknownType(request.type_url));
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
        for name in subscribe {
            self.subscribe(ty, &name)?;
        }
        for name in request.resource_names_unsubscribe {
            // What cannot be subscribed to cannot be unsubscribed from.
            if let Ok(pattern) = Pattern::parse(&name)
                && self.lane(ty).unsubscribe(&pattern)
            {
                self.effects.push(Effect::Unsubscribe(ty, pattern));
            }
        }
        if is_first {
            // What the client has counts here and nowhere else.
            self.lane(ty).begin(Known::from_iter(request.initial_resource_versions));
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
        for ty in ResourceType::ALL {
            // A key must not be known before its overrides are: a strict request would be served by the baseline.
            if ty == ResourceType::KeyOwner && self.lane(ResourceType::Override).is_pending() {
                continue;
            }
            let limits = self.limits;
            let nonce = self.nonce + 1;
            let polled = self.lane(ty).poll(
                catalog,
                (nonce, limits.response_bytes_max),
                (now, limits.answer_timeout),
            )?;
            match polled {
                Polled::Nothing => {}
                Polled::Acknowledged(revision) => self.effects.push(Effect::Acknowledged(ty, revision)),
                Polled::Response(response) => {
                    self.nonce = nonce;
                    return Ok(Some(response));
                }
            }
        }
        Ok(None)
    }

    /// When to poll again even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.deadline(self.limits.answer_timeout)).min()
    }

    /// Whether all that was asked for so far was sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_known) && !self.lanes.iter().any(Lane::is_pending)
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
        .filter(|rejection| !rejection.name.is_empty())
        .map(|rejection| Rejection {
            name: Some(Arc::from(rejection.name)),
            revision,
            reason: rejection.reason,
        })
        .collect();
    if named.is_empty() || named.len() > REJECTIONS_MAX {
        return vec![Rejection { name: None, revision, reason: error.message.clone() }];
    }
    named
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
