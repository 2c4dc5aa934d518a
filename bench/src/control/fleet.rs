//! Simulated proxies: each a delta ADS stream on a TCP connection of its own, acknowledging what it is sent.
//!
//! They subscribe as a sidecar does, to all overrides of one workload and to all key owners, so each change of a sandbox
//! is wanted by every one of them: the worst case. They decode what comes and keep none of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use spurline_api::envoy::config::core::v3::Node;
use spurline_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use spurline_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use spurline_api::{KEY_OWNER_TYPE_URL, OVERRIDE_TYPE_URL};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;

/// Connections that are being made at once: as many proxies of a cluster start together at most.
const CONNECTING_MAX: usize = 200;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// All simulated proxies. Dropped, their connections close.
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    began: Instant,
    receipts: Vec<Receipt>,
    /// How many have been answered for both types.
    settled: AtomicUsize,
    /// Why the first stream that ended did.
    failure: Mutex<Option<String>>,
}

/// When one proxy was last sent resources, in nanoseconds after `began`; 0: never.
#[derive(Default)]
struct Receipt {
    over_ride: AtomicU64,
    key_owner: AtomicU64,
}

// === impl Fleet ===

impl Fleet {
    /// Connects `count` proxies of `workload` and waits until each has been answered for all it subscribed to.
    pub(crate) fn connect(grpc: SocketAddr, count: u32, workload: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            receipts: (0..count).map(|_| Receipt::default()).collect(),
            settled: AtomicUsize::new(0),
            failure: Mutex::new(None),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
        for number in 0..shared.receipts.len() {
            let (shared, connecting) = (Arc::clone(&shared), Arc::clone(&connecting));
            let subscriptions = subscriptions(number, workload);
            runtime.spawn(async move {
                let ended = follow(&shared, number, (grpc, &connecting), subscriptions).await;
                let why = ended.map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
                let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| format!("stream {number}: {why}"));
            });
        }
        let fleet = Self { shared, _runtime: runtime };
        fleet.await_settled()?;
        Ok(fleet)
    }

    /// From `since` until the last proxy had received both the override and the owner of the key.
    ///
    /// # Errors
    /// A proxy has received nothing since then, or a stream has ended.
    pub(crate) fn last_receipt(&self, since: Instant) -> Result<Duration> {
        self.check()?;
        let since = nanos(since - self.shared.began);
        let mut last = 0;
        for (number, receipt) in self.shared.receipts.iter().enumerate() {
            let (first, second) = receipt.at();
            if first.min(second) < since {
                bail!("stream {number} has not received the change that counts as programmed");
            }
            last = last.max(first.max(second));
        }
        Ok(Duration::from_nanos(last.saturating_sub(since)))
    }

    fn await_settled(&self) -> Result<()> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let count = self.shared.receipts.len();
        loop {
            self.check()?;
            let settled = self.shared.settled.load(Ordering::Acquire);
            if settled == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{settled} of {count} streams are answered after {CONNECT_TIMEOUT:?}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn check(&self) -> Result<()> {
        match &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }
}

/// One stream, until it ends.
async fn follow(
    shared: &Shared,
    number: usize,
    (grpc, connecting): (SocketAddr, &Semaphore),
    subscriptions: [DeltaDiscoveryRequest; 2],
) -> Result<()> {
    let mut turn = Some(connecting.acquire().await?);
    let endpoint = Endpoint::from_shared(format!("http://{grpc}"))?.tcp_nodelay(true);
    let channel = endpoint.connect().await.context("connect")?;
    // Holds at most one acknowledgement for each response that was read.
    let (requests, outgoing) = mpsc::unbounded_channel();
    for subscription in subscriptions {
        requests.send(subscription)?;
    }
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let mut responses = client.delta_aggregated_resources(outgoing).await?.into_inner();
    let receipt = shared.receipts.get(number).context("no such proxy")?;
    let mut answered = (false, false);
    while let Some(response) = responses.message().await? {
        let is_override = response.type_url == OVERRIDE_TYPE_URL;
        if !response.resources.is_empty() {
            let at = if is_override { &receipt.over_ride } else { &receipt.key_owner };
            at.store(nanos(shared.began.elapsed()), Ordering::Release);
        }
        requests.send(acknowledgement(response.type_url, response.nonce))?;
        answered = (answered.0 | is_override, answered.1 | !is_override);
        if answered == (true, true) && turn.take().is_some() {
            shared.settled.fetch_add(1, Ordering::AcqRel);
        }
    }
    Ok(())
}

fn subscriptions(number: usize, workload: &str) -> [DeltaDiscoveryRequest; 2] {
    let subscribe = |node, type_url: &str, name: String| DeltaDiscoveryRequest {
        node,
        type_url: type_url.to_owned(),
        resource_names_subscribe: vec![name],
        ..DeltaDiscoveryRequest::default()
    };
    let node = Node { id: format!("bench-{number}"), ..Node::default() };
    [
        subscribe(Some(node), OVERRIDE_TYPE_URL, format!("{workload}/*")),
        subscribe(None, KEY_OWNER_TYPE_URL, "*".to_owned()),
    ]
}

fn acknowledgement(type_url: String, nonce: String) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url, response_nonce: nonce, ..DeltaDiscoveryRequest::default() }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// === impl Receipt ===

impl Receipt {
    fn at(&self) -> (u64, u64) {
        (self.over_ride.load(Ordering::Acquire), self.key_owner.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(receipts: &[(u64, u64)]) -> Fleet {
        let receipts = receipts.iter().map(|(over_ride, key_owner)| Receipt {
            over_ride: AtomicU64::new(*over_ride),
            key_owner: AtomicU64::new(*key_owner),
        });
        let shared = Shared {
            began: Instant::now(),
            receipts: receipts.collect(),
            settled: AtomicUsize::new(0),
            failure: Mutex::new(None),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        Fleet { shared: Arc::new(shared), _runtime: runtime }
    }

    #[test]
    fn the_last_receipt_is_that_of_the_slowest_proxy() {
        let fleet = fleet(&[(150, 120), (110, 190), (140, 140)]);
        let since = fleet.shared.began + Duration::from_nanos(100);
        assert_eq!(fleet.last_receipt(since).unwrap(), Duration::from_nanos(90));
    }

    #[test]
    fn a_proxy_that_has_only_half_of_the_change_is_an_error() {
        let fleet = fleet(&[(150, 120), (110, 90)]);
        let since = fleet.shared.began + Duration::from_nanos(100);
        assert!(fleet.last_receipt(since).unwrap_err().to_string().contains("stream 1"));
    }

    #[test]
    fn only_the_first_message_of_a_stream_carries_the_node() {
        let [first, second] = subscriptions(7, "shop/Deployment/cart");
        assert_eq!(first.node.unwrap().id, "bench-7");
        assert_eq!(first.resource_names_subscribe, ["shop/Deployment/cart/*"]);
        assert!(second.node.is_none());
    }
}
