//! From JSON to documents.
//!
//! Every function reads on after a fault, so that one pass finds all of them; what it then returns is thrown away.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Map, Value};
use spurline_route::{Endpoint, OnUnavailable, PortMatch, RoutingKey, Workload};

use super::{
    API_VERSION, Baseline, ConflictRule, Document, ENDPOINTS_MAX, FORKS_MAX, Fault, Fork, Kind, LABELS_MAX,
    Labels, MEMBERS_MAX, NAME_LEN_MAX, PORTS_MAX, Ports, RouteGroup, Sandbox, Ttl, grammar,
    reader::{At, Quoted, Reader, member},
};

const NAME: &str = "1 to 63 of a-z 0-9 -, neither first nor last a -";
const WORKLOAD: &str = "namespace/Kind/name, as in shop/Deployment/cart";
const KEY: &str = "1 to 64 of A-Z a-z 0-9 . _ -";
const FORK: &str = "1 to 800 of A-Z a-z 0-9 . _ - / @";
const HOSTNAME: &str = "1 to 253 of a-z 0-9 - and ., beginning and ending with a letter or digit";
const APP_PROTOCOL: &str = "1 to 63 of A-Z a-z 0-9 . _ - + /, as in http, grpc, tcp";
const DURATION: &str = "a whole number and one of s m h d w, as in 72h; 1s to 365d";
const LABEL_KEY: &str = "1 to 63 of A-Z a-z 0-9 - _ ., beginning and ending with a letter or digit, \
                         and before it, if need be, a DNS subdomain and a /";
const LABEL_VALUE: &str = "up to 63 of A-Z a-z 0-9 - _ ., beginning and ending with a letter or digit";
const PORT: &str = "1 to 65535, or * for every other port";
const ENDPOINT: &str = "an address in digits with a port, as in 127.0.0.1:9102 or [::1]:9102";

pub(super) fn document(value: &Value, kind: Option<Kind>) -> Result<Document, Vec<Fault>> {
    let mut reader = Reader::default();
    let document = reader.document(value, kind);
    reader.finish()?;
    // Without a fault there is a document; the other arm is never taken.
    document.ok_or_else(|| vec![Fault::of_whole("cannot be read", "a document")])
}

/// What all kinds have in common.
struct Metadata<N> {
    name: N,
    labels: Labels,
}

// === impl Reader ===

impl Reader {
    fn document(&mut self, value: &Value, kind: Option<Kind>) -> Option<Document> {
        let fields = ["apiVersion", "kind", "metadata", "spec", "status"];
        let object = self.object(value, None, &fields)?;
        if let Some(version) = member(object, "apiVersion") {
            self.choice(version, &At::top("apiVersion"), &[(API_VERSION, ())]);
        }
        let kind = self.kind(object, kind);
        if member(object, "spec").is_none() {
            self.missing(&At::top("spec"), "an object");
        }
        match kind {
            None => {
                self.metadata(object, "a name", |name| Some(Arc::<str>::from(name)));
                None
            }
            Some(Kind::Sandbox) => {
                let metadata = self.metadata(object, NAME, name);
                self.sandbox(member(object, "spec")?, metadata)
            }
            Some(Kind::RouteGroup) => {
                let metadata = self.metadata(object, NAME, name);
                self.route_group(member(object, "spec")?, metadata)
            }
            Some(Kind::Workload) => {
                let metadata = self.metadata(object, WORKLOAD, |text| Workload::parse(text).ok());
                self.baseline(member(object, "spec")?, metadata)
            }
        }
    }

    /// The kind that is asked for, which the document may repeat, else the one that it names.
    fn kind(&mut self, object: &Map<String, Value>, asked: Option<Kind>) -> Option<Kind> {
        let at = At::top("kind");
        let choices = Kind::ALL.map(|kind| (kind.as_str(), kind));
        let Some(named) = member(object, "kind") else {
            if asked.is_none() {
                self.missing(&at, &choices.map(|(word, _)| word).join(", "));
            }
            return asked;
        };
        match asked {
            None => self.choice(named, &at, &choices),
            Some(kind) => self.choice(named, &at, &[(kind.as_str(), kind)]).or(asked),
        }
    }

    fn metadata<N>(
        &mut self,
        object: &Map<String, Value>,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<N>,
    ) -> Option<Metadata<N>> {
        let at = At::top("metadata");
        let Some(value) = member(object, "metadata") else {
            self.missing(&at.member("name"), allowed);
            return None;
        };
        let object = self.object(value, Some(&at), &["name", "labels"])?;
        let labels = member(object, "labels").and_then(|labels| self.labels(labels, &at.member("labels")));
        let name = match member(object, "name") {
            Some(name) => self.text(name, &at.member("name"), allowed, parse)?,
            None => {
                return {
                    self.missing(&at.member("name"), allowed);
                    None
                };
            }
        };
        Some(Metadata { name, labels: labels.unwrap_or_default() })
    }

    fn sandbox(&mut self, spec: &Value, metadata: Option<Metadata<Arc<str>>>) -> Option<Document> {
        let at = At::top("spec");
        let spec = self.object(spec, Some(&at), &["routingKey", "ttl", "forks"])?;
        let routing_key = self.routing_key(spec, &at);
        let ttl = self.ttl(spec, &at);
        let forks = member(spec, "forks").and_then(|forks| self.forks(forks, &at.member("forks")));
        let Metadata { name, labels } = metadata?;
        let forks = forks.unwrap_or_default();
        Some(Document::Sandbox(Sandbox { name, labels, routing_key, ttl, forks }))
    }

    fn forks(&mut self, value: &Value, at: &At<'_>) -> Option<Box<[Fork]>> {
        let list = self.list(value, at, FORKS_MAX)?;
        let mut forks: Vec<(usize, Fork)> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            forks.extend(self.fork(value, &at.index(index)).map(|fork| (index, fork)));
        }
        // A stable sort: of two forks of one workload the later one is the fault.
        forks.sort_by(|(_, one), (_, other)| one.workload.cmp(&other.workload));
        for ((_, one), (index, next)) in forks.iter().zip(forks.iter().skip(1)) {
            if one.workload == next.workload {
                let what = format!("is {}, which is forked already", next.workload);
                self.fault(Some(&at.index(*index).member("workload")), what, "one fork of a workload");
            }
        }
        Some(forks.into_iter().map(|(_, fork)| fork).collect())
    }

    fn fork(&mut self, value: &Value, at: &At<'_>) -> Option<Fork> {
        let fork = self.object(value, Some(at), &["workload", "fork", "onUnavailable", "ports"])?;
        let workload = match member(fork, "workload") {
            Some(value) => {
                self.text(value, &at.member("workload"), WORKLOAD, |text| Workload::parse(text).ok())
            }
            None => {
                self.missing(&at.member("workload"), WORKLOAD);
                None
            }
        };
        let name = member(fork, "fork")
            .and_then(|name| self.text(name, &at.member("fork"), FORK, grammar::if_so(grammar::is_fork)));
        let choices = [("Reject", OnUnavailable::Reject), ("Baseline", OnUnavailable::Baseline)];
        let on_unavailable = member(fork, "onUnavailable")
            .and_then(|value| self.choice(value, &at.member("onUnavailable"), &choices));
        let ports = self.ports(fork, at);
        Some(Fork {
            workload: workload?,
            name,
            on_unavailable: on_unavailable.unwrap_or_default(),
            ports: ports?,
        })
    }

    fn ports(&mut self, object: &Map<String, Value>, at: &At<'_>) -> Option<Ports> {
        let at = at.member("ports");
        let Some(value) = member(object, "ports") else {
            self.missing(&at, "an object from ports to lists of addresses");
            return None;
        };
        let map = self.map(value, &at, PORTS_MAX)?;
        if map.is_empty() {
            self.fault(Some(&at), "is empty", "at least one port");
        }
        let mut ports = Vec::with_capacity(map.len());
        for (port, value) in map {
            let at = at.member(port);
            match grammar::port(port) {
                Some(port) => ports.extend(self.endpoints(value, &at).map(|endpoints| (port, endpoints))),
                // What is below is not read: its faults would each repeat this key, however long it is.
                None => self.fault(Some(&at), format!("is the port {}", Quoted(port)), PORT),
            }
        }
        ports.sort_unstable_by_key(|(port, _): &(PortMatch, Arc<[Endpoint]>)| *port);
        Some(ports.into_boxed_slice())
    }

    fn endpoints(&mut self, value: &Value, at: &At<'_>) -> Option<Arc<[Endpoint]>> {
        let list = self.list(value, at, ENDPOINTS_MAX)?;
        let mut seen: Vec<(SocketAddr, usize)> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let addr = self.text(value, &at.index(index), ENDPOINT, grammar::addr);
            seen.extend(addr.map(|addr| (addr, index)));
        }
        let endpoints = seen.iter().map(|(addr, _)| Endpoint { addr: *addr }).collect();
        seen.sort_unstable();
        for (one, next) in seen.iter().zip(seen.iter().skip(1)) {
            if one.0 == next.0 {
                let what = format!("is {}, which is listed already", next.0);
                self.fault(Some(&at.index(next.1)), what, "each address once");
            }
        }
        Some(endpoints)
    }

    fn route_group(&mut self, spec: &Value, metadata: Option<Metadata<Arc<str>>>) -> Option<Document> {
        let at = At::top("spec");
        let spec = self.object(spec, Some(&at), &["routingKey", "sandboxes", "conflict", "ttl"])?;
        let routing_key = self.routing_key(spec, &at);
        let choices = [
            ("Oldest", ConflictRule::Oldest),
            ("Newest", ConflictRule::Newest),
            ("Reject", ConflictRule::Reject),
        ];
        let conflict = member(spec, "conflict")
            .and_then(|value| self.choice(value, &at.member("conflict"), &choices))
            .unwrap_or_default();
        let ttl = self.ttl(spec, &at);
        let (names, match_labels) = self.members(spec, &at.member("sandboxes"))?;
        let Metadata { name, labels } = metadata?;
        let group = RouteGroup { name, labels, routing_key, ttl, names, match_labels, conflict };
        Some(Document::RouteGroup(group))
    }

    fn members(&mut self, spec: &Map<String, Value>, at: &At<'_>) -> Option<(Box<[Arc<str>]>, Labels)> {
        const ALLOWED: &str = "names, selector, or both";
        let Some(value) = member(spec, "sandboxes") else {
            self.missing(at, ALLOWED);
            return None;
        };
        let object = self.object(value, Some(at), &["names", "selector"])?;
        let (names, selector) = (member(object, "names"), member(object, "selector"));
        if names.is_none() && selector.is_none() {
            self.fault(Some(at), "selects nothing", ALLOWED);
        }
        let names = names.and_then(|names| self.names(names, &at.member("names")));
        let match_labels = selector.and_then(|value| self.selector(value, &at.member("selector")));
        Some((names.unwrap_or_default(), match_labels.unwrap_or_default()))
    }

    fn names(&mut self, value: &Value, at: &At<'_>) -> Option<Box<[Arc<str>]>> {
        let list = self.list(value, at, MEMBERS_MAX)?;
        if list.is_empty() {
            self.fault(Some(at), "is empty", "at least one name");
        }
        let mut names: Vec<(Arc<str>, usize)> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            names.extend(self.text(value, &at.index(index), NAME, name).map(|name| (name, index)));
        }
        names.sort_unstable();
        for (one, next) in names.iter().zip(names.iter().skip(1)) {
            if one.0 == next.0 {
                let what = format!("is {}, which is listed already", next.0);
                self.fault(Some(&at.index(next.1)), what, "each name once");
            }
        }
        Some(names.into_iter().map(|(name, _)| name).collect())
    }

    fn selector(&mut self, value: &Value, at: &At<'_>) -> Option<Labels> {
        let selector = self.object(value, Some(at), &["matchLabels"])?;
        let at = at.member("matchLabels");
        let Some(labels) = member(selector, "matchLabels") else {
            self.missing(&at, "labels");
            return None;
        };
        if labels.as_object().is_some_and(Map::is_empty) {
            self.fault(Some(&at), "is empty", "at least one label");
        }
        self.labels(labels, &at)
    }

    fn baseline(&mut self, spec: &Value, metadata: Option<Metadata<Workload>>) -> Option<Document> {
        let at = At::top("spec");
        let spec = self.object(spec, Some(&at), &["hostname", "appProtocol", "ports"])?;
        let hostname = member(spec, "hostname").and_then(|value| {
            self.text(value, &at.member("hostname"), HOSTNAME, grammar::if_so(grammar::is_dns_subdomain))
        });
        let app_protocol = member(spec, "appProtocol").and_then(|value| {
            let parse = grammar::if_so(grammar::is_app_protocol);
            self.text(value, &at.member("appProtocol"), APP_PROTOCOL, parse)
        });
        let ports = self.ports(spec, &at);
        let Metadata { name: workload, labels } = metadata?;
        Some(Document::Workload(Baseline { workload, labels, hostname, app_protocol, ports: ports? }))
    }

    fn routing_key(&mut self, spec: &Map<String, Value>, at: &At<'_>) -> Option<RoutingKey> {
        let parse = |text: &str| text.parse().ok();
        self.text(member(spec, "routingKey")?, &at.member("routingKey"), KEY, parse)
    }

    fn ttl(&mut self, spec: &Map<String, Value>, at: &At<'_>) -> Ttl {
        let Some(value) = member(spec, "ttl") else { return Ttl::default() };
        let at = at.member("ttl");
        let Some(object) = self.object(value, Some(&at), &["after", "idle"]) else { return Ttl::default() };
        let (after, idle) = (member(object, "after"), member(object, "idle"));
        if after.is_none() && idle.is_none() {
            self.fault(Some(&at), "is empty", "after, idle, or both");
        }
        Ttl {
            after_s: after.and_then(|v| self.text(v, &at.member("after"), DURATION, grammar::duration_s)),
            idle_s: idle.and_then(|v| self.text(v, &at.member("idle"), DURATION, grammar::duration_s)),
        }
    }

    fn labels(&mut self, value: &Value, at: &At<'_>) -> Option<Labels> {
        let map = self.map(value, at, LABELS_MAX)?;
        let mut labels = Vec::with_capacity(map.len());
        for (key, value) in map {
            let at = at.member(key);
            if !grammar::is_label_key(key) {
                self.fault(Some(&at), format!("is the label {}", Quoted(key)), LABEL_KEY);
            }
            let value = self.text(value, &at, LABEL_VALUE, grammar::if_so(grammar::is_label_value));
            labels.extend(value.map(|value| (Arc::from(key.as_str()), value)));
        }
        // Whether the map is sorted depends on how serde_json was built.
        labels.sort_unstable();
        Some(labels.into_boxed_slice())
    }
}

fn name(text: &str) -> Option<Arc<str>> {
    let is_name = |text: &str| text.len() <= NAME_LEN_MAX && grammar::is_dns_label(text);
    is_name(text).then(|| Arc::from(text))
}
