//! How a client has to behave on one stream, whatever it is sent.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::{BASELINE, KEY_OWNER, OVERRIDE, REJECTIONS, Request, Response, Status, routing};

/// What is known of one stream; [`Conduct::judge`] finds what the client did wrong.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    /// Whether the client has said anything.
    begun: bool,
    /// By type and nonce: the names in the response, and how often it was sent and not answered.
    sent: HashMap<(String, String), (Vec<String>, usize)>,
    /// Types of which a request came.
    types: HashSet<String>,
    /// By type: what the client is subscribed to.
    subscribed: HashMap<String, HashSet<String>>,
}

impl Conduct {
    /// Notes what the client was sent.
    pub(super) fn sent(&mut self, response: &Response) {
        let entry = self.sent.entry((response.type_url.clone(), response.nonce.clone())).or_default();
        let added = response.resources.iter().map(|resource| resource.name.clone());
        entry.0.extend(added.chain(response.removed_resources.iter().cloned()));
        entry.1 += 1;
    }

    /// Forgets what was sent: after bytes that are no message nobody knows what the client took them for.
    pub(super) fn sent_unknown(&mut self, type_url: &str, nonce: &str) {
        let entry = self.sent.entry((type_url.to_owned(), nonce.to_owned())).or_default();
        entry.1 += 1;
    }

    /// What the client is subscribed to.
    pub(super) fn patterns(&self, type_url: &str) -> impl Iterator<Item = &str> {
        self.subscribed.get(type_url).into_iter().flatten().map(String::as_str)
    }

    /// What is wrong with a request.
    pub(super) fn judge(&mut self, request: &Request) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{what}: {}", brief(request)));
            }
        };
        let first = !std::mem::replace(&mut self.begun, true);
        must(request.node.is_some() == first, "the node is on the first message of a stream and on no other");
        let known = [OVERRIDE, BASELINE, KEY_OWNER].contains(&request.type_url.as_str());
        must(known, "only types that exist are asked for");
        let first_of_type = self.types.insert(request.type_url.clone());
        let resumes = !request.initial_resource_versions.is_empty();
        must(first_of_type || !resumes, "what a client has is told on the first message of a type only");
        must(
            !request.initial_resource_versions.values().any(String::is_empty),
            "what a client has, it has with its version",
        );
        self.judge_subscriptions(request, &mut must);
        self.judge_answer(request, &mut must);
        faults
    }

    fn judge_subscriptions(&mut self, request: &Request, must: &mut impl FnMut(bool, &str)) {
        let subscribed = self.subscribed.entry(request.type_url.clone()).or_default();
        for name in &request.resource_names_subscribe {
            must(!name.is_empty(), "a subscription has a name");
            must(subscribed.insert(name.clone()), "what is subscribed to is not subscribed to again");
        }
        for name in &request.resource_names_unsubscribe {
            must(subscribed.remove(name), "only what is subscribed to is unsubscribed from");
        }
    }

    fn judge_answer(&mut self, request: &Request, must: &mut impl FnMut(bool, &str)) {
        if request.response_nonce.is_empty() {
            must(request.error_detail.is_none(), "a rejection names the response");
            return;
        }
        let nonce = (request.type_url.clone(), request.response_nonce.clone());
        let Some((names, open)) = self.sent.get_mut(&nonce) else {
            must(false, "only what was sent on this stream is answered");
            return;
        };
        must(*open > 0, "a response is answered once");
        *open = open.saturating_sub(1);
        let Some(status) = &request.error_detail else { return };
        must(status.code != 0, "a rejection has a code");
        must(!status.message.is_empty(), "a rejection says why");
        for one in rejections(status) {
            must(!one.reason.is_empty(), "a rejection of a resource says why");
            must(names.is_empty() || names.contains(&one.name), "only what was sent is rejected");
        }
    }
}

/// The resources a rejection names; empty when it is of the whole response.
pub(super) fn rejections(status: &Status) -> Vec<routing::Rejection> {
    let details = status.details.iter().filter(|detail| detail.type_url == REJECTIONS);
    let decoded =
        details.map(|detail| routing::Rejections::decode(detail.value.clone()).expect("rejections"));
    decoded.flat_map(|rejections| rejections.rejections).collect()
}

/// A request on one line.
pub(super) fn brief(request: &Request) -> String {
    let mut text = format!("{request:?}");
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
    }
    text
}
