//! Somebody who has done nothing: requests at a fixed rate over a few connections, each sent when it is due, whatever
//! became of those before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::host;
use crate::http2::client::Connection;
use crate::work::Traffic;

const CONNECTIONS: usize = 4;
const BODY_BYTES: usize = 64;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) due: Instant,
    /// From when it was sent until all of its answer was there; the generator's own late wake-up does not count. `None`
    /// when it was not answered rightly.
    pub(super) latency: Option<Duration>,
}

/// A victim at work.
pub(super) struct Victim {
    thread: JoinHandle<Result<Vec<Record>>>,
    stop: Arc<AtomicBool>,
}

impl Victim {
    /// Starts sending.
    pub(super) fn start(target: SocketAddr, requests_per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let interval = Duration::from_secs(1) / requests_per_second;
        let thread = std::thread::spawn(move || {
            let runtime = host::runtime()?;
            Ok(runtime.block_on(send(target, interval, &stopped)))
        });
        Self { thread, stop }
    }

    /// Stops sending, waits for the answers that are due and returns everything, in the order of the answers.
    pub(super) fn finish(self) -> Result<Vec<Record>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the victim's thread panicked"))?
    }
}

async fn send(target: SocketAddr, interval: Duration, stop: &AtomicBool) -> Vec<Record> {
    let slots: [Arc<Mutex<Option<Connection>>>; CONNECTIONS] = Default::default();
    let body = Bytes::from(vec![b'v'; BODY_BYTES]);
    let (records, mut answered) = mpsc::unbounded_channel();
    let first = Instant::now();
    for (number, slot) in (0_u32..).zip(slots.iter().cycle()) {
        let due = first + interval * number;
        tokio::time::sleep_until(due.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (slot, body, records) = (Arc::clone(slot), body.clone(), records.clone());
        tokio::spawn(async move {
            let sent = Instant::now();
            let result = request(target, &slot, &body).await;
            let latency = result.is_ok().then(|| sent.elapsed());
            // The receiver outlives all requests.
            let _ = records.send(Record { due, latency });
        });
    }
    drop(records);
    let mut all = Vec::new();
    while let Some(record) = answered.recv().await {
        all.push(record);
    }
    all
}

/// On the slot's connection, which is opened anew after a failure.
async fn request(target: SocketAddr, slot: &Mutex<Option<Connection>>, body: &Bytes) -> Result<()> {
    let connection = {
        let mut slot = slot.lock().await;
        match &*slot {
            Some(connection) => connection.clone(),
            None => slot.insert(Connection::open(target).await?).clone(),
        }
    };
    let answered = connection.expect_echo(Traffic::Unkeyed, body, "baseline").await;
    if answered.is_err() {
        *slot.lock().await = None;
    }
    answered
}
