//! One stream of delta discovery, without its sockets: what to ask for, and what to answer.
//!
//! Rules of the protocol are Envoy's (`xds_protocol.rst`). What matters here:
//! a stream begins with the versions of what is known, so that only differences are sent; each response is answered with
//! its nonce once its resources count; a rejected resource is not recorded, so that the server offers it again on the
//! next stream; nonces die with their stream, and are not compared, for a client has nothing to compare them with.

use foldhash::HashSet;
use prost::Message;
use spurline_api::{
    REJECTIONS_TYPE_URL,
    envoy::{
        config::core::v3::{Node as WireNode, node::UserAgentVersionType},
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    google::{protobuf::Any, rpc::Status},
    spurline::routing::v1 as wire,
};

use crate::{Known, Node, ResourceType, Scope, decode::Fault, known::RESOURCE_NAME_BYTES_MAX, mirror::Batch};

/// The most bytes of names and versions in the first request of a type; a client that knows more says that it knows
/// nothing, is sent everything, and forgets what was not among it.
const INITIAL_VERSIONS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most resources that are named in one rejection; beyond, the response is rejected without names.
const REJECTIONS_MAX: usize = 1000;
/// The longest nonce that is sent back.
const NONCE_BYTES_MAX: usize = 1024;
/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// The state of one stream. Begins anew with [`Session::open`].
#[derive(Debug)]
pub struct Session {
    node: Node,
    types: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    ty: ResourceType,
    names: Vec<String>,
    /// The server has said all there is, on this stream.
    complete: bool,
    /// What was known when the stream began, if the server was not told: what it does not name is gone.
    unconfirmed: Option<HashSet<Box<str>>>,
}

/// What a response leads to.
#[derive(Debug)]
pub struct Answer {
    /// The acknowledgement or rejection; to be sent after the resources count.
    pub request: DeltaDiscoveryRequest,
    /// What was not taken, by name.
    pub rejected: Vec<(String, Fault)>,
    /// The response as a whole was not taken.
    pub refused: Option<&'static str>,
}

/// What ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It cannot be answered.
    #[error("a response without a nonce")]
    NoNonce,
    /// Answering it is for the server to make cheap.
    #[error("a nonce of more than {NONCE_BYTES_MAX} bytes")]
    LongNonce,
}

// === impl Session ===

impl Session {
    /// A session that asks for `scope`.
    #[must_use]
    pub fn new(node: Node, scope: &Scope) -> Self {
        let subscription = |ty| {
            let names = scope.names(ty);
            (!names.is_empty()).then_some(Subscription { ty, names, complete: false, unconfirmed: None })
        };
        Self { node, types: ResourceType::ALL.into_iter().filter_map(subscription).collect() }
    }

    /// Begins a stream; what the one before left unfinished is forgotten. The requests are to be sent in this order.
    pub fn open(&mut self, known: &Known) -> Vec<DeltaDiscoveryRequest> {
        let mut node = Some(wire_node(&self.node));
        let open = |subscription: &mut Subscription| {
            subscription.complete = false;
            subscription.unconfirmed = None;
            let ty = subscription.ty;
            let bytes = known.iter(ty).map(|record| record.name().len() + record.version().len() + 8);
            let fits = bytes.sum::<usize>() <= INITIAL_VERSIONS_BYTES_MAX;
            if !fits {
                subscription.unconfirmed = Some(known.iter(ty).map(|record| record.name().into()).collect());
            }
            let told = known.iter(ty).filter(|_| fits);
            DeltaDiscoveryRequest {
                // Who asks stands in the first message of a stream only.
                node: node.take(),
                type_url: ty.type_url().to_owned(),
                resource_names_subscribe: subscription.names.clone(),
                initial_resource_versions: told
                    .map(|record| (record.name().to_owned(), record.version().to_owned()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            }
        };
        self.types.iter_mut().map(open).collect()
    }

    /// Takes what is good of a response. Each resource is freed as soon as it is taken: what is kept of it fills the
    /// room that it leaves.
    ///
    /// # Errors
    /// When the stream is to be ended.
    pub fn receive(
        &mut self,
        mut response: DeltaDiscoveryResponse,
        batch: &mut Batch<'_>,
    ) -> Result<Answer, Violation> {
        match response.nonce.len() {
            0 => return Err(Violation::NoNonce),
            1..=NONCE_BYTES_MAX => {}
            _ => return Err(Violation::LongNonce),
        }
        let ty = ResourceType::from_type_url(&response.type_url);
        let subscribed = self.types.iter_mut().find(|subscription| Some(subscription.ty) == ty);
        let Some(subscription) = subscribed else {
            return Ok(refusal(&response, "no resources of this type are subscribed to"));
        };
        let rejected = subscription.take(&mut response, batch);
        subscription.complete |= !response.system_version_info.is_empty();
        self.forget_unconfirmed(batch);
        Ok(answer(&response, rejected))
    }

    /// Removes what the server was not told of and has not named. Overrides stay until all is said of keys: one that is
    /// gone as well would be served by the baseline meanwhile.
    fn forget_unconfirmed(&mut self, batch: &mut Batch<'_>) {
        let awaits_keys = self.awaited().any(|ty| ty == ResourceType::KeyOwner);
        for subscription in self.types.iter_mut().filter(|subscription| subscription.complete) {
            if subscription.ty == ResourceType::Override && awaits_keys {
                continue;
            }
            for gone in subscription.unconfirmed.take().into_iter().flatten() {
                batch.remove(subscription.ty, &gone);
            }
        }
    }

    /// Whether the server has said all there is of every type, on this stream.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.types.iter().all(|subscription| subscription.complete)
    }

    /// The types of which the server has not yet said all there is.
    pub fn awaited(&self) -> impl Iterator<Item = ResourceType> {
        self.types.iter().filter(|subscription| !subscription.complete).map(|subscription| subscription.ty)
    }
}

// === impl Subscription ===

impl Subscription {
    /// Takes resources and removals out of a response; returns what was wrong.
    fn take(&mut self, response: &mut DeltaDiscoveryResponse, batch: &mut Batch<'_>) -> Vec<(String, Fault)> {
        let repeated = repeated(response);
        let mut rejected = Vec::new();
        for resource in response.resources.drain(..) {
            let name = resource.name.as_str();
            if let Some(unconfirmed) = &mut self.unconfirmed {
                // It exists, wrong or not.
                unconfirmed.remove(name);
            }
            let taken =
                if repeated.contains(name) { Err(Fault::Twice) } else { batch.put(self.ty, &resource) };
            if let Err(fault) = taken {
                rejected.push((clip(name).to_owned(), fault));
            }
        }
        for name in response.removed_resources.drain(..).filter(|name| !repeated.contains(name)) {
            batch.remove(self.ty, &name);
        }
        rejected
    }
}

/// The names that a response names more than once.
fn repeated(response: &DeltaDiscoveryResponse) -> HashSet<String> {
    let named = response.resources.iter().map(|resource| &resource.name);
    let mut seen: HashSet<&str> = HashSet::default();
    named.chain(&response.removed_resources).filter(|name| !seen.insert(name)).cloned().collect()
}

fn wire_node(node: &Node) -> WireNode {
    WireNode {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        user_agent_name: "spurline-proxy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(node.version.clone())),
        ..WireNode::default()
    }
}

fn answer(response: &DeltaDiscoveryResponse, rejected: Vec<(String, Fault)>) -> Answer {
    let error_detail = (!rejected.is_empty()).then(|| {
        let count = rejected.len();
        let first = rejected.first().map(|(name, fault)| format!("{name}: {fault}")).unwrap_or_default();
        let message = if count == 1 { first } else { format!("{count} resources rejected; {first}") };
        Status { code: INVALID_ARGUMENT, message, details: rejections(&rejected).into_iter().collect() }
    });
    Answer { request: request(response, error_detail), rejected, refused: None }
}

/// Every rejected resource with its reason, unless there are too many to name.
fn rejections(rejected: &[(String, Fault)]) -> Option<Any> {
    if rejected.len() > REJECTIONS_MAX {
        return None;
    }
    let rejections = rejected
        .iter()
        .map(|(name, fault)| wire::Rejection { name: name.clone(), reason: fault.to_string() })
        .collect();
    let value = wire::Rejections { rejections }.encode_to_vec().into();
    Some(Any { type_url: REJECTIONS_TYPE_URL.to_owned(), value })
}

fn refusal(response: &DeltaDiscoveryResponse, reason: &'static str) -> Answer {
    let status = Status { code: INVALID_ARGUMENT, message: reason.to_owned(), details: Vec::new() };
    Answer { request: request(response, Some(status)), rejected: Vec::new(), refused: Some(reason) }
}

fn request(response: &DeltaDiscoveryResponse, error_detail: Option<Status>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: clip(&response.type_url).to_owned(),
        response_nonce: response.nonce.clone(),
        error_detail,
        ..DeltaDiscoveryRequest::default()
    }
}

/// No good name is longer; what a server sends is not sent back at any length.
fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(RESOURCE_NAME_BYTES_MAX)).unwrap_or_default()
}
