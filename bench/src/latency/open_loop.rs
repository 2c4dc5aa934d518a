//! Requests at a fixed rate over connections that are kept, whatever becomes of them: every request has a time at which it is
//! due, and the next one is due whether or not it has been answered.
//!
//! Every latency counts from when the request was due. A pause of the peer costs every request that fell into it, and what
//! the generator itself was late is in the figure too: through a peer as without one, so a difference of the two cancels it.
//! By how much it was late is recorded beside it, so that a generator without the time for its own schedule shows. One
//! thread with one epoll and a timer of nanoseconds: a timer wheel of milliseconds would send in bursts.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::thread::set_current_timer_slack;

use crate::probe::{complete_body, connect, request};
use crate::work::{PATH, Traffic};

/// Of unanswered requests, after the last was due. They count as if answered then.
const DRAIN: Duration = Duration::from_millis(250);

/// A load to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) target: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) requests_per_second: u32,
    /// Sent at the same rate before `time`, and not recorded.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What became of it, in µs.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One for every request that was due in the time.
    pub(crate) latencies: Vec<f64>,
    /// By how much the generator was late, for every request whose connection was free when it was due.
    pub(crate) lateness: Vec<f64>,
}

/// When each request is due, from the start.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    requests_per_second: u32,
}

struct Generator<'a> {
    schedule: Schedule,
    /// When the first request is due.
    start: Instant,
    expected: &'a [u8],
    request: Vec<u8>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Requests from this number on are recorded.
    first_recorded: u64,
    total: u64,
    answered: u64,
    outcome: Outcome,
}

struct Connection {
    stream: TcpStream,
    /// The number of the request that waits for its answer.
    in_flight: Option<u64>,
    /// Due, but the one before is unanswered.
    waiting: VecDeque<u64>,
    received: Vec<u8>,
}

// === impl Load ===

impl Load {
    /// Sends it from a thread of its own and waits for it. A request that is not answered with `expected` fails it.
    pub(crate) fn run(self, expected: &str) -> Result<Outcome> {
        let generate = || {
            // The kernel may otherwise wake a thread 50 µs late to save wake-ups. Processes inherit the slack of the thread that
            // starts them: it is set where no peer is started.
            set_current_timer_slack(NonZeroU64::new(1))?;
            Generator::open(self, expected.as_bytes())?.run()
        };
        std::thread::scope(|scope| {
            scope.spawn(generate).join().unwrap_or_else(|_| Err(anyhow!("the generator panicked")))
        })
    }
}

// === impl Schedule ===

impl Schedule {
    /// When request `number` is due. No interval is rounded and then added up.
    fn due(self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.requests_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many are due before `time`.
    fn count(self, time: Duration) -> u64 {
        let count = (time.as_nanos() * u128::from(self.requests_per_second)).div_ceil(1_000_000_000);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

// === impl Generator ===

impl<'a> Generator<'a> {
    fn open(load: Load, expected: &'a [u8]) -> Result<Self> {
        let schedule = Schedule { requests_per_second: load.requests_per_second };
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let connections: Vec<Connection> =
            (0..load.connections).map(|_| Connection::open(load.target)).collect::<Result<_>>()?;
        for (index, connection) in (0..).zip(&connections) {
            epoll::add(&epoll, &connection.stream, EventData::new_u64(index), EventFlags::IN)?;
        }
        Ok(Self {
            schedule,
            start: Instant::now(),
            expected,
            request: request(PATH, &load.target.to_string(), &Traffic::Unkeyed.headers()).into_bytes(),
            epoll,
            connections,
            first_recorded: schedule.count(load.warm_up),
            total: schedule.count(load.warm_up + load.time),
            answered: 0,
            outcome: Outcome::default(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let end = self.schedule.due(self.total) + DRAIN;
        let mut events: Vec<Event> = Vec::with_capacity(self.connections.len());
        let mut next = 0;
        while self.answered < self.total {
            let now = self.start.elapsed();
            if now >= end {
                self.give_up(now);
                break;
            }
            while next < self.total && self.schedule.due(next) <= now {
                self.begin(next)?;
                next += 1;
            }
            let wake = if next < self.total { self.schedule.due(next) } else { end };
            let timeout = Timespec::try_from(wake.saturating_sub(self.start.elapsed()))?;
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.receive(event.data.u64())?;
            }
        }
        Ok(self.outcome)
    }

    /// Request `number` is due.
    fn begin(&mut self, number: u64) -> Result<()> {
        let index = number % self.connections.len() as u64;
        let connection = connection(&mut self.connections, index)?;
        if connection.in_flight.is_some() {
            connection.waiting.push_back(number);
            return Ok(());
        }
        // Read anew: several may be due at once, and sending takes its time too.
        let sent = self.start.elapsed();
        connection.send(&self.request, number)?;
        if number >= self.first_recorded {
            self.outcome.lateness.push(micros(sent.saturating_sub(self.schedule.due(number))));
        }
        Ok(())
    }

    /// Something has come on connection `index`; the next request that waits for it follows.
    fn receive(&mut self, index: u64) -> Result<()> {
        let connection = connection(&mut self.connections, index)?;
        let Some(body) = connection.receive()? else { return Ok(()) };
        ensure!(body == self.expected, "an unkeyed request was not answered by the baseline");
        let answered = connection.in_flight.take().context("an answer came that nothing was asked for")?;
        if let Some(number) = connection.waiting.pop_front() {
            connection.send(&self.request, number)?;
        }
        self.record(answered, self.start.elapsed());
        Ok(())
    }

    fn record(&mut self, number: u64, now: Duration) {
        self.answered += 1;
        if number >= self.first_recorded {
            self.outcome.latencies.push(micros(now.saturating_sub(self.schedule.due(number))));
        }
    }

    /// Counts what is unanswered as if it were answered now.
    fn give_up(&mut self, now: Duration) {
        let unanswered: Vec<u64> = self
            .connections
            .iter()
            .flat_map(|connection| connection.in_flight.into_iter().chain(connection.waiting.iter().copied()))
            .collect();
        for number in unanswered {
            self.record(number, now);
        }
    }
}

fn connection(connections: &mut [Connection], index: u64) -> Result<&mut Connection> {
    connections.get_mut(usize::try_from(index)?).context("no such connection")
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

// === impl Connection ===

impl Connection {
    fn open(target: SocketAddr) -> Result<Self> {
        let stream = connect(target)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, in_flight: None, waiting: VecDeque::new(), received: Vec::with_capacity(4096) })
    }

    fn send(&mut self, request: &[u8], number: u64) -> Result<()> {
        // One small request on an idle connection always fits into the socket's buffer.
        self.stream.write_all(request).context("a request could not be sent")?;
        self.in_flight = Some(number);
        Ok(())
    }

    /// The body of the answer, once all of it is there.
    fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(anyhow!("the connection was closed")),
            Ok(count) => {
                self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                let body = complete_body(&self.received)?;
                if body.is_some() {
                    self.received.clear();
                }
                Ok(body)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn intervals_that_are_no_whole_nanoseconds_do_not_add_up_to_a_drift() {
        let schedule = Schedule { requests_per_second: 3 };
        assert_eq!(schedule.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(schedule.due(3_000_000), Duration::from_secs(1_000_000));
    }

    #[test]
    fn what_is_due_at_the_end_is_not_sent() {
        let schedule = Schedule { requests_per_second: 1000 };
        assert_eq!(schedule.count(Duration::from_secs(2)), 2000);
        assert_eq!(schedule.count(Duration::from_micros(1500)), 2);
        assert_eq!(schedule.count(Duration::ZERO), 0);
    }

    /// Answers every request on one connection; the first only after `pause`.
    fn server(pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut chunk = [0; 4096];
            let mut pause = Some(pause);
            while stream.read(&mut chunk).is_ok_and(|count| count > 0) {
                std::thread::sleep(pause.take().unwrap_or_default());
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            }
        });
        address
    }

    fn load(target: SocketAddr) -> Load {
        let (warm_up, time) = (Duration::ZERO, Duration::from_millis(200));
        Load { target, connections: 1, requests_per_second: 1000, warm_up, time }
    }

    #[test]
    fn a_pause_of_the_peer_costs_every_request_that_fell_into_it() {
        let load = load(server(Duration::from_millis(100)));
        let generator = Generator::open(load, b"ok").unwrap();
        let outcome = generator.run().unwrap();
        assert_eq!(outcome.latencies.len(), 200);
        // Due at 0, 1, 2… ms, all answered after 100 ms: half of the first 100 waited for at least 50 ms.
        let slow = outcome.latencies.iter().filter(|&&latency| latency >= 50_000.0).count();
        assert!(slow >= 50, "{slow}");
    }

    #[test]
    fn a_wrong_answer_fails_the_load() {
        let generator = Generator::open(load(server(Duration::ZERO)), b"other").unwrap();
        assert!(generator.run().unwrap_err().to_string().contains("baseline"));
    }
}
