//! System calls of a peer per HTTP/1.1 request, counted by strace.
//!
//! A peer that is traced is slow, and finds more to do whenever it looks: with many connections it waits less often per request
//! than it otherwise would. With one connection there is nothing to find, which is what a quiet proxy does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::host::{self, LOAD_CORE};
use crate::peer::{self, Peer, Started};
use crate::probe::{ask, request};
use crate::process::Running;
use crate::scenario::{Better, Measure, Metric, Rounds, Scenario, Setting};
use crate::work::{Backends, PATH, Traffic};

const BODY_BYTES: usize = 13;
const CONNECTIONS: usize = 64;
const REQUESTS: usize = 3_200;
const REQUESTS_ALONE: usize = 400;
/// For strace to begin and to end.
const STRACE_TIMEOUT: Duration = Duration::from_secs(10);

/// For all answers of a stretch, of a peer that is slowed down.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(60);

const READS: &[&str] = &["read", "readv", "recvfrom", "recvmsg", "splice"];
const WRITES: &[&str] = &["write", "writev", "sendto", "sendmsg", "sendfile"];
const WAITS: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "futex"];

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    id: "syscalls",
    group: "HTTP/1.1",
    title: "System calls per request",
    about: "GET with an answer of 13 bytes over kept connections while strace counts the peer's system calls: 3,200 requests over \
            64 connections, then 400 one after the other over one.",
    peers: &[
        Peer::Floor,
        Peer::Spurline,
        Peer::Haproxy,
        Peer::Nginx,
        Peer::Envoy,
        Peer::Pingora,
        Peer::Hyper,
    ],
    metrics: &[
        calls("calls_per_request", "calls"),
        calls("reads_per_request", "reads"),
        calls("writes_per_request", "writes"),
        calls("waits_per_request", "waits"),
        // What is neither reading, writing nor waiting: too few to be compared.
        Metric { better: Better::Neither, ..calls("others_per_request", "others") },
        calls("calls_per_request_alone", "calls, one connection"),
    ],
    rounds: Rounds { quick: 1, full: 1 },
    begin: |setting| Ok(Box::new(Syscalls::begin(setting)?)),
}];

const fn calls(name: &'static str, title: &'static str) -> Metric {
    Metric { name, title, unit: "calls", better: Better::Lower }
}

struct Syscalls {
    dir: PathBuf,
    runtime: Runtime,
    backends: Backends,
}

/// How often each was called.
#[derive(Debug, PartialEq)]
struct Counts(Vec<(String, u64)>);

// === impl Syscalls ===

impl Syscalls {
    fn begin(setting: &Setting) -> Result<Self> {
        let connections = u32::try_from(CONNECTIONS)?;
        let backends = Backends::start(&setting.dir, BODY_BYTES, connections)?;
        Ok(Self { dir: setting.dir.clone(), runtime: host::runtime()?, backends })
    }

    /// What `requests` over as many `connections` need, once these and those to the backend are open.
    fn count(&self, started: &Started, connections: usize, requests: usize) -> Result<Counts> {
        let request = request(PATH, &started.listen.to_string(), &Traffic::Unkeyed.headers());
        let expected = self.backends.expected_body(Traffic::Unkeyed);
        self.runtime.block_on(async {
            let connects = (0..connections).map(|_| TcpStream::connect(started.listen));
            let mut streams = try_join_all(connects).await?;
            exchange(&mut streams, &request, &expected, 2).await?;
            let strace = attach(&started.running, &self.dir)?;
            exchange(&mut streams, &request, &expected, requests / connections).await?;
            detach(&strace, &self.dir)
        })
    }
}

impl Measure for Syscalls {
    fn measure(&mut self, peer: Peer) -> Result<Vec<f64>> {
        let connections = u32::try_from(CONNECTIONS)?;
        let started = peer::start(peer, &self.dir, &self.backends, connections)?;
        let many = self.count(&started, CONNECTIONS, REQUESTS)?;
        let alone = self.count(&started, 1, REQUESTS_ALONE)?;
        let [reads, writes, waits] = [READS, WRITES, WAITS].map(|names| many.of(names));
        let others = many.all() - reads - writes - waits;
        let mut figures: Vec<f64> =
            [many.all(), reads, writes, waits, others].map(|count| count as f64 / REQUESTS as f64).to_vec();
        figures.push(alone.all() as f64 / REQUESTS_ALONE as f64);
        Ok(figures)
    }
}

/// `times` requests on each, one at a time.
async fn exchange(streams: &mut [TcpStream], request: &str, expected: &str, times: usize) -> Result<()> {
    let all = streams.iter_mut().map(async |stream| {
        for _ in 0..times {
            let body = ask(stream, request).await?;
            ensure!(body == expected.as_bytes(), "an unkeyed request was not answered by the baseline");
        }
        anyhow::Ok(())
    });
    tokio::time::timeout(ANSWERS_TIMEOUT, try_join_all(all)).await.context("answers never came")?.map(drop)
}

/// Starts to count in every process of `peer`.
fn attach(peer: &Running, dir: &Path) -> Result<Running> {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(summary(dir));
    let processes = peer.processes();
    for process in &processes {
        command.args(["-p", &process.to_string()]);
    }
    let mut strace = Running::start("strace", LOAD_CORE, &command, dir)?;
    let deadline = Instant::now() + STRACE_TIMEOUT;
    while strace.log_tail().matches(" attached").count() < processes.len() {
        strace.check_alive().context("strace (bench/setup.sh installs it; it needs the right to trace)")?;
        ensure!(Instant::now() < deadline, "strace does not begin:\n{}", strace.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(strace)
}

/// Ends it and reads what it counted.
fn detach(strace: &Running, dir: &Path) -> Result<Counts> {
    let process = strace.processes().first().and_then(|pid| Pid::from_raw(i32::try_from(*pid).ok()?));
    kill_process(process.context("strace has no process")?, Signal::INT)?;
    let deadline = Instant::now() + STRACE_TIMEOUT;
    loop {
        let text = fs::read_to_string(summary(dir)).unwrap_or_default();
        match Counts::parse(&text) {
            Some(counts) => return Ok(counts),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            None => bail!("strace has no summary:\n{text}{}", strace.log_tail()),
        }
    }
}

fn summary(dir: &Path) -> PathBuf {
    dir.join("strace.summary")
}

// === impl Counts ===

impl Counts {
    /// Reads the summary; `None` while its last line is missing.
    fn parse(text: &str) -> Option<Self> {
        let rows: Vec<(String, u64)> = text
            .lines()
            .filter_map(|line| {
                let (count, name) = line.trim().split_once(' ')?;
                Some((name.trim().to_owned(), count.parse().ok()?))
            })
            .collect();
        let ((last, total), rows) = rows.split_last()?;
        let is_whole = last == "total" && *total == rows.iter().map(|(_, count)| count).sum::<u64>();
        is_whole.then(|| Self(rows.to_vec()))
    }

    fn all(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn of(&self, names: &[&str]) -> u64 {
        self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "    calls syscall\n--------- ----------------\n     6400 recvfrom\n     3200 writev\n       40 \
                           epoll_wait\n--------- ----------------\n     9640 total\n";

    #[test]
    fn calls_are_counted_by_what_they_do() {
        let counts = Counts::parse(SUMMARY).unwrap();
        assert_eq!(
            [counts.all(), counts.of(READS), counts.of(WRITES), counts.of(WAITS)],
            [9640, 6400, 3200, 40]
        );
    }

    #[test]
    fn a_summary_that_is_still_being_written_is_not_read() {
        let begun = SUMMARY.split_once("     9640").unwrap().0;
        assert_eq!(Counts::parse(begun), None);
    }
}
