//! Steady traffic: several keep-alive connections, each sending one request after the other and mixing keyed and
//! unkeyed ones, because selection must follow the request and not the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Connection, Field};
use crate::service::{Reply, Version};
use crate::shop::KEY;

const CONNECTIONS: usize = 8;

/// What a request of the load carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unkeyed,
    KeyInBaggage,
    KeyInHeader,
    UnknownKey,
}

/// One request and what became of it.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    /// Which copy of `cart` answered, or why there was no sound answer.
    pub(crate) outcome: Outcome,
}

/// What a request ended in.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Version),
    /// No answer, a refusal, or one that broke off.
    Lost(String),
    /// An answer, but to another request, or from services that should not have been asked.
    Misrouted(String),
}

/// Load that runs until it is told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    connections: JoinSet<()>,
    incoming: UnboundedReceiver<Sample>,
    received: Vec<Sample>,
}

// === impl Load ===

impl Load {
    pub(crate) fn start(gateway: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // Bounded by the length of a run: each connection waits for an answer before it sends again.
        let (samples, incoming) = unbounded_channel();
        let mut connections = JoinSet::new();
        for number in 0..CONNECTIONS {
            connections.spawn(send(gateway, number, Arc::clone(&stop), samples.clone()));
        }
        Self { stop, connections, incoming, received: Vec::new() }
    }

    /// All requests that were answered or lost until now.
    pub(crate) fn so_far(&mut self) -> &[Sample] {
        while let Ok(sample) = self.incoming.try_recv() {
            self.received.push(sample);
        }
        &self.received
    }

    /// Lets every request that is under way end, and returns all of them.
    pub(crate) async fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        while self.connections.join_next().await.is_some() {}
        self.so_far();
        self.received
    }

    pub(crate) fn connections() -> usize {
        CONNECTIONS
    }
}

async fn send(gateway: SocketAddr, number: usize, stop: Arc<AtomicBool>, samples: UnboundedSender<Sample>) {
    let mut connection = Connection::new(gateway);
    // Each connection begins at another kind, so that at any moment all kinds are under way.
    for (sequence, kind) in Kind::ALL.into_iter().cycle().skip(number).enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = format!("/orders/{number}-{sequence}");
        let baggage = format!("user=7,sd-routing-key={KEY}");
        let sent = Instant::now();
        let answer = connection.get(&path, &kind.fields(&baggage)).await;
        let answered = Instant::now();
        let outcome = match answer.and_then(|answer| answer.reply()) {
            Ok(reply) => cart_of(&reply, &path)
                .map_or_else(|e| Outcome::Misrouted(format!("{e:#}")), Outcome::Answered),
            Err(error) => Outcome::Lost(format!("{error:#}")),
        };
        if samples.send(Sample { kind, sent, answered, outcome }).is_err() {
            break;
        }
    }
}

/// The copy of `cart` in the answer to `path`, if the answer belongs to it and everybody else is the baseline.
pub(crate) fn cart_of(reply: &Reply, path: &str) -> Result<Version> {
    ensure!(reply.path == path, "the answer to {} came for {path}", reply.path);
    let hops: Vec<(&str, Version)> =
        reply.answered_by.iter().map(|hop| (hop.service.as_str(), hop.version)).collect();
    match hops.as_slice() {
        [("frontend", Version::Baseline), ("cart", cart), ("inventory", Version::Baseline)] => Ok(*cart),
        other => anyhow::bail!("answered by {other:?}"),
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether this copy of `cart` answered, rightly or not.
    pub(crate) fn is_by(&self, version: Version) -> bool {
        matches!(self, Self::Answered(by) if *by == version)
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::KeyInBaggage, Self::Unkeyed, Self::KeyInHeader, Self::UnknownKey];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unkeyed => "no key",
            Self::KeyInBaggage => "key in baggage",
            Self::KeyInHeader => "key in sd-routing-key",
            Self::UnknownKey => "unknown key",
        }
    }

    /// Whether its answers follow the routes. The others are the baseline's, always.
    pub(crate) fn is_keyed(self) -> bool {
        matches!(self, Self::KeyInBaggage | Self::KeyInHeader)
    }

    fn fields(self, baggage: &str) -> Vec<Field<'_>> {
        match self {
            Self::Unkeyed => vec![],
            Self::KeyInBaggage => vec![("baggage", baggage)],
            Self::KeyInHeader => vec![("sd-routing-key", KEY)],
            Self::UnknownKey => vec![("sd-routing-key", "nobody-has-this")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Hop;

    fn reply(hops: &[(&str, Version)]) -> Reply {
        let answered_by =
            hops.iter().map(|(service, version)| Hop { service: (*service).into(), version: *version });
        Reply { path: "/orders/1".into(), answered_by: answered_by.collect() }
    }

    #[test]
    fn the_copy_of_cart_is_read_from_a_whole_chain() {
        use Version::{Baseline, Fork};
        let forked = reply(&[("frontend", Baseline), ("cart", Fork), ("inventory", Baseline)]);
        assert_eq!(cart_of(&forked, "/orders/1").ok(), Some(Fork));
        assert!(cart_of(&forked, "/orders/2").is_err());
        assert!(cart_of(&reply(&[("frontend", Baseline), ("cart", Fork)]), "/orders/1").is_err());
        let strange = reply(&[("frontend", Baseline), ("cart", Fork), ("inventory", Fork)]);
        assert!(cart_of(&strange, "/orders/1").is_err());
    }
}
