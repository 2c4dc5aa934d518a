//! A closed-loop load whose every request is checked by the client that sent it.

mod http2;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::{Outcome, Sent};
use crate::client::RawClient;
use crate::h2;
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

    /// Connects to one of them; to another if one refuses that is no longer among them.
    fn connect<T>(
        &self,
        random: &mut fastrand::Rng,
        connect: impl Fn(SocketAddr) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        loop {
            let address = {
                let addresses = self.0.lock().expect("directory");
                addresses[random.usize(..addresses.len())]
            };
            match connect(address) {
                Err(_) if !self.0.lock().expect("directory").contains(&address) => {}
                outcome => return outcome,
            }
        }
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
    version: Version,
}

/// What the clients of a load speak.
#[derive(Debug, Clone, Copy)]
enum Version {
    Http1,
    /// Several requests at a time; of each hundred so many more are given up.
    Http2 {
        resets_percent: u8,
    },
}

struct Plan {
    id: String,
    method: &'static str,
    key: Option<String>,
    fields: Vec<(&'static str, String)>,
    /// The content, and the size of its pieces where its length is not told before.
    body: Option<(Vec<u8>, Option<usize>)>,
    digest: String,
    answer_bytes: usize,
    closes: bool,
}

/// A whole final answer of either version.
struct Got {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    trailer: Option<String>,
}

impl Load {
    /// `requests` in all over `connections` at a time, without keys.
    pub fn new(connections: usize, requests: usize, seed: u64) -> Self {
        Self { connections, requests, seed, keys: vec![None], body_bytes_max: 4096, version: Version::Http1 }
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

    /// Speak HTTP/2, with several requests at a time on each connection.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        self.version = Version::Http2 { resets_percent: 0 };
        self
    }

    /// Speak HTTP/2, and give up that many more requests of each hundred, at any moment.
    #[must_use]
    pub fn with_resets(mut self, percent: u8) -> Self {
        self.version = Version::Http2 { resets_percent: percent };
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
        if let Version::Http2 { resets_percent } = self.version {
            let talk = http2::Talk { load: self, number, resets_percent, random, log: Vec::new() };
            return talk.run(requests, directory, stop);
        }
        let mut log = Vec::with_capacity(requests);
        let mut connection: Option<RawClient> = None;
        for sequence in 0..requests {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let plan = self.plan(&mut random, number, sequence);
            let began = Instant::now();
            let connect = || directory.connect(&mut random, RawClient::try_connect);
            let (outcome, keep) = exchange(&plan, connection.take(), connect);
            connection = keep.filter(|_| !plan.closes);
            log.push(plan.sent(began, outcome));
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
        let mut fields = vec![("x-ledger-id", id.clone()), ("x-answer-bytes", answer_bytes.to_string())];
        fields.extend(key.as_ref().map(|key| carrier(random.usize(..4), key)));
        let digest = hex(&Sha256::digest(&body));
        let body = with_body.then(|| (body, random.bool().then(|| random.usize(1..=2000))));
        Plan { id, method, key, fields, body, digest, answer_bytes, closes }
    }
}

impl Plan {
    fn sent(self, began: Instant, outcome: Outcome) -> Sent {
        Sent {
            id: self.id,
            idempotent: self.method != "POST",
            content: self.body.is_some(),
            key: self.key,
            digest: self.digest,
            began,
            ended: Instant::now(),
            outcome,
        }
    }

    /// The request as HTTP/1.1 has it.
    fn http1(&self) -> Vec<u8> {
        let mut text = format!("{} /ledger/{} HTTP/1.1\r\nHost: shop.test\r\n", self.method, self.id);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.closes {
            text.push_str("Connection: close\r\n");
        }
        let (head, mut rest) = match &self.body {
            None => (String::new(), Vec::new()),
            Some((body, None)) => (format!("Content-Length: {}\r\n", body.len()), body.clone()),
            Some((body, Some(piece))) => {
                let chunks: Vec<u8> = body.chunks(*piece).flat_map(wire::chunk).collect();
                let rest = [chunks, wire::chunk(b""), b"\r\n".to_vec()].concat();
                ("Transfer-Encoding: chunked\r\n".to_owned(), rest)
            }
        };
        let mut bytes = format!("{text}{head}\r\n").into_bytes();
        bytes.append(&mut rest);
        bytes
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

fn carrier(which: usize, key: &str) -> (&'static str, String) {
    match which {
        0 => ("baggage", format!("sd-routing-key={key}")),
        1 => ("baggage", format!("user=7;p=1, sd-routing-key={key}")),
        2 => ("sd-routing-key", key.to_owned()),
        _ => ("tracestate", format!("v=1,sd-routing-key={key}")),
    }
}

/// Sends one planned request over the kept connection or a new one; gives the connection back when it may be reused.
fn exchange(
    plan: &Plan,
    kept: Option<RawClient>,
    connect: impl FnOnce() -> std::io::Result<RawClient>,
) -> (Outcome, Option<RawClient>) {
    let mut client = match kept {
        Some(client) => client,
        None => match connect() {
            Ok(client) => client,
            Err(error) => return (Outcome::Unconnected(error.to_string()), None),
        },
    };
    let sent = client.try_send(plan.http1());
    match client.response_to(plan.method) {
        Ok(response) => {
            let reusable = sent.is_ok() && !response.closes();
            (judge(plan, &Got::from(&response)), reusable.then_some(client))
        }
        Err(crate::ReadError::Ended(..)) => (Outcome::Cut, None),
        Err(crate::ReadError::Malformed(why, _)) => (Outcome::Corrupt(why), None),
    }
}

impl From<&Response> for Got {
    fn from(response: &Response) -> Self {
        let text =
            |(name, value): &wire::Field| (name.to_lowercase(), String::from_utf8_lossy(value).into_owned());
        Self {
            status: response.status,
            fields: response.head.fields.iter().map(text).collect(),
            body: response.body.clone(),
            trailer: wire::get(&response.trailers, "x-ledger-trailer").map(str::to_owned),
        }
    }
}

impl From<h2::Answer> for Got {
    fn from(answer: h2::Answer) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            status: answer.status,
            fields: answer.fields.iter().map(|(name, value)| (text(name), text(value))).collect(),
            trailer: h2::field(&answer.trailers, "x-ledger-trailer").map(str::to_owned),
            body: answer.body,
        }
    }
}

fn judge(plan: &Plan, got: &Got) -> Outcome {
    let field = |name: &str| got.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let Some(backend) = field("x-backend") else {
        let reason = field("x-spurline-reason").cloned();
        return Outcome::Refused { status: got.status, reason };
    };
    let expected = content(&plan.id, plan.answer_bytes);
    let bodiless = plan.method == "HEAD";
    let whole = bodiless || got.body == expected;
    // What has no length told before has trailers.
    let trailed = bodiless || plan.answer_bytes.is_multiple_of(2) || got.trailer.as_ref() == Some(&plan.id);
    if field("x-ledger-id") != Some(&plan.id) {
        Outcome::Corrupt(format!("the answer of {:?}", field("x-ledger-id")))
    } else if !whole || !trailed || field("x-request-sha256") != Some(&plan.digest) {
        Outcome::Corrupt(format!("content whole {whole}, trailers {trailed}, by {backend}"))
    } else {
        Outcome::Answered(backend.clone())
    }
}
