//! Malformed HTTP/2 and the known attacks with it, through the real binary.
//!
//! For every row: what is malformed reaches no upstream, in either version; a request beside it on the same connection is
//! served; and what an upstream sees is clean. For every attack: somebody else is served all the while, what it costs is
//! bounded, and who attacks is told to go.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "h2_hostile/attacks.rs"]
mod attacks;
#[path = "h2_hostile/early.rs"]
mod early;
#[path = "h2_hostile/rows.rs"]
mod rows;

use std::process::Command;
use std::time::Duration;

use rows::{Expect, Row, rows};
use spurline_tests::h2::{Answer, Client, Finish, Upstream};
use spurline_tests::wire::frame::Frame;
use spurline_tests::{Builder, Recorder, TestProxy, run, servers, tool};

const WORKLOAD: &str = "shop/Deployment/cart";
/// The key of a listener before an upstream that knows no HTTP/2.
const HTTP1: &str = ",upstream_protocol=http1";

fn listening(upstream: std::net::SocketAddr, more: &str) -> Builder {
    let keys = format!("workload={WORKLOAD},port=8080,protocol=http,baseline={upstream}{more}");
    TestProxy::build().listener("app", &keys)
}

/// Plays a row and reads what comes of it.
fn play(proxy: &TestProxy, row: &Row, target: &str) -> (Client, Answer) {
    let mut client = Client::connect(proxy.address());
    client.settle();
    let stream = client.next_stream();
    let _ = client.write(&row.frames(stream, target).iter().flat_map(Frame::bytes).collect::<Vec<_>>());
    let answer = client.answer(stream);
    (client, answer)
}

fn judge(row: &Row, answer: &Answer) -> Result<(), String> {
    let short = || format!("{} {:?} {:?} {:?}", answer.status, answer.fields, answer.end, answer.text());
    let served = answer.end == Some(Finish::Whole) && answer.field("x-backend").is_some();
    let reset = matches!(answer.end, Some(Finish::Reset(_) | Finish::Lost(_))) && answer.status == 0;
    let refused = answer.end == Some(Finish::Whole) && answer.local() && (400..500).contains(&answer.status);
    // RFC 8441 and RFC 9110 know no better answer for a method that is not done.
    let denied = answer.local() && answer.status == 501;
    match row.expect {
        Expect::Served if served => Ok(()),
        Expect::Refused | Expect::Aborted if reset || refused || denied => Ok(()),
        Expect::Either if served || reset || refused => Ok(()),
        _ => Err(format!("{:?} and not {}", row.expect, short())),
    }
}

/// Whether a request belongs to the row with this target, or has one that no row was given.
fn is_of(seen: &str, target: &str) -> bool {
    seen == target || !(seen.starts_with("/row-") || seen == "/innocent")
}

/// An innocent request on the same connection, or on a new one if this one was ended.
fn innocent(proxy: &TestProxy, mut client: Client) -> Result<(), String> {
    let mut answer = client.exchange("/innocent", &[]);
    if matches!(answer.end, Some(Finish::Lost(_))) && !client.goaways().is_empty() {
        client = Client::connect(proxy.address());
        answer = client.exchange("/innocent", &[]);
    }
    if answer.status != 200 || !client.violations().is_empty() {
        return Err(format!("the innocent got {answer:?}, objections {:?}", client.violations()));
    }
    Ok(())
}

#[test]
fn malformed_requests_reach_no_upstream_of_http1() {
    let recorder = Recorder::start("one");
    let proxy = listening(recorder.address(), HTTP1).start();
    let mut failed = Vec::new();
    for (number, row) in rows().into_iter().enumerate() {
        // One that is answered before it arrives is not taken for a later one.
        let target = format!("/row-{number}");
        let (whole, aborted) = (recorder.requests().len(), recorder.aborted().len());
        let (client, answer) = play(&proxy, &row, &target);
        let mut verdict = judge(&row, &answer).and_then(|()| innocent(&proxy, client));
        let seen: Vec<_> = recorder.requests().drain(whole..).map(|one| one.request).collect();
        let hostile: Vec<_> = seen.iter().filter(|one| is_of(one.head.target(), &target)).collect();
        let begun = recorder.aborted().len() - aborted;
        let allowed = match row.expect {
            Expect::Refused => hostile.is_empty() && begun == 0,
            Expect::Aborted => hostile.is_empty(),
            Expect::Served => hostile.len() == 1,
            Expect::Either => hostile.len() <= 1,
        };
        if !allowed {
            verdict = verdict.and_then(|()| Err(format!("the upstream saw {hostile:?}, {begun} given up")));
        }
        for (check, one) in row.check.iter().zip(hostile) {
            verdict = verdict.and_then(|()| check(one));
        }
        failed.extend(verdict.err().map(|why| format!("{}: {why}", row.id)));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(recorder.violations(), [""; 0]);
    let bytes = recorder.raw().concat();
    assert!(!String::from_utf8_lossy(&bytes).to_lowercase().contains("evil: 1"), "something was injected");
}

/// The same by another implementation of frames and HPACK, so that an error in ours cannot hide one in the proxy.
#[test]
fn what_python_hyper_sends_is_refused_or_served_as_it_has_to_be() {
    let (one, upstream) = (Recorder::start("one"), Upstream::start("two"));
    let proxies = [(one.address(), HTTP1), (upstream.address(), ",upstream_protocol=http2")];
    for (address, more) in proxies {
        let proxy = listening(address, more).flag("--http2-flood-pause", "0").start();
        let mut command = Command::new("python3");
        command.arg(servers::script("http2_frames.py")).env("PYTHONPATH", tool("python"));
        command.args([proxy.address().ip().to_string(), proxy.address().port().to_string()]);
        let finished = run(command, Duration::from_secs(300));
        assert_eq!(finished.code, Some(0), "{more}:\n{}\n{}", finished.stdout, finished.stderr);
    }
    assert_eq!((one.violations(), upstream.violations()), (vec![], vec![]));
    let bytes = one.raw().concat();
    assert!(!String::from_utf8_lossy(&bytes).to_lowercase().contains("evil: 1"), "something was injected");
}

#[test]
fn malformed_requests_reach_no_upstream_of_http2() {
    let upstream = Upstream::start("one");
    let proxy = listening(upstream.address(), ",upstream_protocol=http2").start();
    let mut failed = Vec::new();
    for (number, row) in rows().into_iter().enumerate() {
        let target = format!("/row-{number}");
        let before = upstream.asked().len();
        let (client, answer) = play(&proxy, &row, &target);
        let mut verdict = judge(&row, &answer).and_then(|()| innocent(&proxy, client));
        let mut hostile = upstream.asked().split_off(before);
        hostile.retain(|one| is_of(one.target(), &target));
        let whole = hostile.iter().filter(|one| one.end == Some(Finish::Whole)).count();
        let allowed = match row.expect {
            Expect::Refused => hostile.is_empty(),
            Expect::Aborted => whole == 0,
            Expect::Served => whole == 1,
            Expect::Either => whole <= 1,
        };
        if !allowed {
            verdict = verdict.and_then(|()| Err(format!("the upstream saw {hostile:?}")));
        }
        failed.extend(verdict.err().map(|why| format!("{}: {why}", row.id)));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(upstream.violations(), [""; 0]);
}
