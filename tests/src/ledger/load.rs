//! A closed-loop load whose every request is checked by the client that sent it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Outcome, Sent};
use crate::client::RawClient;
use crate::recorder::hex;
use crate::wire::{self, Response};

/// Which proxies new connections go to, as a service's endpoints would; a test changes it while a load runs.
#[derive(Debug)]
pub struct Directory(Mutex<Vec<SocketAddr>>);

impl Directory {
    /// Begins with these addresses.
    pub fn new(addresses: &[SocketAddr]) -> Self {
        Self(Mutex::new(addresses.to_vec()))
    }

    /// From now on only these get new connections.
    pub fn set(&self, addresses: &[SocketAddr]) {
        *self.0.lock().expect("directory") = addresses.to_vec();
    }

    fn pick(&self, random: &mut fastrand::Rng) -> SocketAddr {
        let addresses = self.0.lock().expect("directory");
        addresses[random.usize(..addresses.len())]
    }
}

/// A load: how many connections, how many requests, and which keys. The same seed gives the same requests.
#[derive(Debug, Clone)]
pub struct Load {
    connections: usize,
    requests: usize,
    seed: u64,
    keys: Vec<Option<String>>,
    body_bytes_max: usize,
}

struct Plan {
    id: String,
    method: &'static str,
    key: Option<String>,
    bytes: Vec<u8>,
    digest: String,
    answer_bytes: usize,
    closes: bool,
}

impl Load {
    /// `requests` in all over `connections` at a time, without keys.
    pub fn new(connections: usize, requests: usize, seed: u64) -> Self {
        Self { connections, requests, seed, keys: vec![None], body_bytes_max: 4096 }
    }

    /// Carry these keys, evenly, and no key as often as any of them.
    #[must_use]
    pub fn keys(mut self, keys: &[&str]) -> Self {
        self.keys = std::iter::once(None).chain(keys.iter().map(|key| Some((*key).to_owned()))).collect();
        self
    }

    /// The largest content of either direction; 4 KiB unless said otherwise.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Sends all requests and returns the log. Returns early when `stop` is set.
    pub fn run(&self, directory: &Directory, stop: &AtomicBool) -> Vec<Sent> {
        let each = self.requests / self.connections;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.client(number, each, directory, stop)))
                .collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        })
    }

    fn client(&self, number: usize, requests: usize, directory: &Directory, stop: &AtomicBool) -> Vec<Sent> {
        let mut random =
            fastrand::Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let mut log = Vec::with_capacity(requests);
        let mut connection: Option<RawClient> = None;
        for sequence in 0..requests {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let plan = self.plan(&mut random, number, sequence);
            let began = Instant::now();
            let (outcome, keep) = exchange(&plan, connection.take(), || directory.pick(&mut random));
            connection = keep.filter(|_| !plan.closes);
            log.push(Sent {
                id: plan.id,
                idempotent: plan.method != "POST",
                content: matches!(plan.method, "POST" | "PUT"),
                key: plan.key,
                digest: plan.digest,
                began,
                ended: Instant::now(),
                outcome,
            });
        }
        log
    }

    fn plan(&self, random: &mut fastrand::Rng, number: usize, sequence: usize) -> Plan {
        let id = format!("{:x}.{number}.{sequence}", self.seed);
        let key = self.keys[random.usize(..self.keys.len())].clone();
        let method = *random
            .choice(&["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"])
            .expect("a method");
        let with_body = matches!(method, "POST" | "PUT");
        let size = if with_body { random.usize(..=self.body_bytes_max) } else { 0 };
        let body = content(&format!("{id}>"), size);
        let answer_bytes = random.usize(..=self.body_bytes_max);
        let closes = random.u8(..) == 0;
        let mut bytes = format!(
            "{method} /ledger/{id} HTTP/1.1\r\nHost: shop.test\r\nX-Ledger-Id: {id}\r\nX-Answer-Bytes: {answer_bytes}\r\n"
        );
        if let Some(key) = &key {
            bytes.push_str(&carrier(random.usize(..4), key));
        }
        if closes {
            bytes.push_str("Connection: close\r\n");
        }
        let digest = hex(&Sha256::digest(&body));
        let bytes = with_content(bytes.into_bytes(), with_body, random, &body);
        Plan { id, method, key, bytes, digest, answer_bytes, closes }
    }
}

/// The content of a message, a function of its id alone.
pub(super) fn content(id: &str, size: usize) -> Vec<u8> {
    let seed = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut body = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut body);
    body
}

fn carrier(which: usize, key: &str) -> String {
    match which {
        0 => format!("baggage: sd-routing-key={key}\r\n"),
        1 => format!("baggage: user=7;p=1, sd-routing-key={key}\r\n"),
        2 => format!("sd-routing-key: {key}\r\n"),
        _ => format!("tracestate: v=1,sd-routing-key={key}\r\n"),
    }
}

fn with_content(mut bytes: Vec<u8>, with_body: bool, random: &mut fastrand::Rng, body: &[u8]) -> Vec<u8> {
    if !with_body {
        bytes.extend_from_slice(b"\r\n");
    } else if random.bool() {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
    } else {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(random.usize(1..=2000)) {
            bytes.extend_from_slice(&wire::chunk(piece));
        }
        bytes.extend_from_slice(&wire::chunk(b""));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Sends one planned request over the kept connection or a new one; gives the connection back when it may be reused.
fn exchange(
    plan: &Plan,
    kept: Option<RawClient>,
    address: impl FnOnce() -> SocketAddr,
) -> (Outcome, Option<RawClient>) {
    let mut client = match kept {
        Some(client) => client,
        None => match RawClient::try_connect(address()) {
            Ok(client) => client.read_timeout(Duration::from_secs(20)),
            Err(error) => return (Outcome::Unconnected(error.to_string()), None),
        },
    };
    let sent = client.try_send(&plan.bytes);
    match client.response_to(plan.method) {
        Ok(response) => {
            let reusable = sent.is_ok() && !response.closes();
            (judge(plan, &response), reusable.then_some(client))
        }
        Err(crate::ReadError::Ended(..)) => (Outcome::Cut, None),
        Err(crate::ReadError::Malformed(why, _)) => (Outcome::Corrupt(why), None),
    }
}

fn judge(plan: &Plan, response: &Response) -> Outcome {
    let Some(backend) = response.field("x-backend") else {
        let reason = response.field("x-spurline-reason").map(str::to_owned);
        return Outcome::Refused { status: response.status, reason };
    };
    let expected = content(&plan.id, plan.answer_bytes);
    let whole = plan.method == "HEAD" || response.body == expected;
    let chunked = response.length == wire::Length::Chunked;
    let trailed = !chunked || wire::get(&response.trailers, "x-ledger-trailer") == Some(&plan.id);
    let same = |name: &str, value: &str| response.field(name) == Some(value);
    if !same("x-ledger-id", &plan.id) {
        Outcome::Corrupt(format!("the answer of {:?}", response.field("x-ledger-id")))
    } else if !whole || !trailed || !same("x-request-sha256", &plan.digest) {
        Outcome::Corrupt(format!("content whole {whole}, trailers {trailed}, by {backend}"))
    } else {
        Outcome::Answered(backend.to_owned())
    }
}
