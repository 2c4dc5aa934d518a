//! Requests at a fixed rate, whatever becomes of them: the latency a user sees while something else happens.
//!
//! Each connection is a thread of its own with a schedule of its own. A request that is due while the one before is
//! still unanswered is sent late, and its latency counts from when it was due: a pause of the proxy costs all requests
//! that fell into it, not one for each connection. The generator's own late wake-ups do not count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::probe;
use crate::work::{PATH, Traffic};

/// A load to send.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) target: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) requests_per_second: u32,
    pub(crate) time: Duration,
}

impl Load {
    /// Sends it and returns every latency. A request that is not answered rightly fails the run.
    pub(crate) fn run(&self, expected: &str) -> Result<Vec<Duration>> {
        let interval = Duration::from_secs(1) * self.connections / self.requests_per_second;
        let start = Instant::now() + Duration::from_millis(50);
        let threads: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .map(|number| {
                    // Spread over the interval, so that requests do not come in bursts.
                    let first = start + interval * number / self.connections;
                    scope.spawn(move || self.connection(first, interval, expected.as_bytes()))
                })
                .collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the load panicked")))
            });
            joined.collect()
        });
        let latencies: Vec<Vec<Duration>> = threads.into_iter().collect::<Result<_>>()?;
        Ok(latencies.concat())
    }

    fn connection(&self, first: Instant, interval: Duration, expected: &[u8]) -> Result<Vec<Duration>> {
        let headers = Traffic::Unkeyed.headers();
        let mut stream = probe::connect(self.target)?;
        let mut latencies = Vec::new();
        let mut answered_before = first;
        for due in (0..).map(|number| first + interval * number) {
            if due >= first + self.time {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = Instant::now();
            let body = probe::exchange(&mut stream, PATH, &headers).context("the load was not answered")?;
            ensure!(body == expected, "an unkeyed request was not answered by the baseline");
            let answered = Instant::now();
            latencies.push(answered - counted_from(due, sent, answered_before));
            answered_before = answered;
        }
        Ok(latencies)
    }
}

/// From when a request's latency counts: from when it was due if the request before it held it up, else from when it
/// was really sent.
fn counted_from(due: Instant, sent: Instant, answered_before: Instant) -> Instant {
    if answered_before > due { due } else { sent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_answer_before_counts_and_a_late_wake_up_does_not() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(counted_from(at(10), at(11), at(9)), at(11));
        assert_eq!(counted_from(at(10), at(15), at(15)), at(10));
    }
}
