//! Hostile and odd HTTP/1.1 requests, as a table, through the real binary.
//!
//! For every row: the proxy stays alive; the upstream sees either nothing or well-formed requests with one unambiguous
//! length; nothing hidden in the bytes becomes a request; and the next innocent requests get their own responses.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

mod http1_hostile {
    pub(crate) mod framing;
    pub(crate) mod hop;
    pub(crate) mod row;
    pub(crate) mod target;
}

use http1_hostile::row::{Expect, Row};
use http1_hostile::{framing, hop, target};
use spurline_tests::servers::{Kind, Server};
use spurline_tests::wire::Response;
use spurline_tests::{End, RawClient, Recorder, TestProxy};

const WORKLOAD: &str = "shop/Deployment/cart";

fn rows() -> Vec<Row> {
    [framing::rows(), target::rows(), hop::rows()].concat()
}

fn start(upstream: std::net::SocketAddr) -> TestProxy {
    start_as("http", upstream)
}

fn start_as(protocol: &str, upstream: std::net::SocketAddr) -> TestProxy {
    TestProxy::build()
        .listener("app", &format!("workload={WORKLOAD},port=8080,protocol={protocol},baseline={upstream}"))
        .start()
}

/// What the client saw: whole final responses, and how the rest went.
struct Seen {
    responses: Vec<Response>,
    rest: Vec<u8>,
    end: Option<End>,
    /// Whether the connection went on after a refusal, with the right answer to the next request.
    kept: bool,
}

/// Plays a row. Reads as many responses as the row is to get; to the end where the connection has to end.
fn play(proxy: &TestProxy, row: &Row, piece: usize) -> Seen {
    let mut client = proxy.client();
    for bytes in row.bytes.chunks(piece) {
        if client.try_send(bytes).is_err() {
            break;
        }
    }
    if row.finish {
        client.finish();
    }
    let mut methods =
        String::from_utf8_lossy(&row.bytes).trim_start().split(' ').next().unwrap_or("GET").to_owned();
    let wanted = match row.expect {
        Expect::Served(count) => count,
        Expect::ServedThenRefused(count, _) => count + 1,
        Expect::Refused(_) | Expect::Denied(_) | Expect::Either(_) | Expect::Broken => 1,
    };
    let mut seen = Seen { responses: Vec::new(), rest: Vec::new(), end: None, kept: false };
    while seen.responses.len() < wanted {
        match client.response_to(&methods) {
            Ok(response) => seen.responses.push(response),
            Err(error) => {
                let (rest, end) = match error {
                    spurline_tests::ReadError::Ended(end, rest) => (rest, Some(end)),
                    spurline_tests::ReadError::Malformed(_, rest) => (rest, None),
                };
                (seen.rest, seen.end) = (rest, end);
                return seen;
            }
        }
        "GET".clone_into(&mut methods);
    }
    let refused =
        seen.responses.last().is_some_and(|last| last.field("x-id").is_none() && last.status >= 400);
    if refused && seen.responses.last().is_some_and(|last| !last.closes()) {
        // Whoever keeps the connection has to know where the next request begins.
        let next = client.try_send("GET /kept HTTP/1.1\r\nHost: a.test\r\nX-Id: kept\r\n\r\n");
        seen.kept =
            next.is_ok() && client.response_to("GET").is_ok_and(|next| next.field("x-id") == Some("kept"));
    } else if refused {
        let transcript = client.to_end();
        (seen.rest, seen.end) = (transcript.bytes, Some(transcript.end));
    }
    seen
}

/// Whether a connection may go on after a refusal.
#[derive(Clone, Copy)]
enum Keep {
    Allowed,
    Forbidden,
}

fn refusal(seen: &Seen, statuses: &[u16], at: usize, keep: Keep) -> Result<(), String> {
    let Some(response) = seen.responses.get(at) else {
        return Err(format!("no reply, rest {:?}, end {:?}", String::from_utf8_lossy(&seen.rest), seen.end));
    };
    if !statuses.contains(&response.status) {
        return Err(format!("status {} and not one of {statuses:?}", response.status));
    }
    if response.field("x-spurline-reason").is_none() {
        return Err(format!("the local reply {} gives no reason", response.status));
    }
    if !seen.rest.is_empty() {
        return Err(format!("after the refusal came {:?}", String::from_utf8_lossy(&seen.rest)));
    }
    match seen.end {
        Some(End::Fin | End::Reset) => Ok(()),
        None if seen.kept && matches!(keep, Keep::Allowed) => Ok(()),
        other => Err(format!("the connection stays open after the refusal ({other:?})")),
    }
}

fn judge(row: &Row, seen: &Seen) -> Result<(), String> {
    let served = |count: usize| {
        if seen.responses.len() == count {
            return Ok(());
        }
        let rest = String::from_utf8_lossy(&seen.rest);
        Err(format!("{} responses and not {count}, rest {rest:?}, end {:?}", seen.responses.len(), seen.end))
    };
    let local = |response: &Response| response.field("x-spurline-reason").is_some();
    match row.expect {
        Expect::Refused(statuses) => refusal(seen, statuses, 0, Keep::Forbidden),
        Expect::Denied(statuses) => refusal(seen, statuses, 0, Keep::Allowed),
        Expect::Served(count) => {
            served(count)?;
            match seen.responses.iter().find(|one| local(one)) {
                Some(one) => Err(format!("refused with {} {:?}", one.status, one.field("x-spurline-reason"))),
                None => Ok(()),
            }
        }
        Expect::ServedThenRefused(count, statuses) => {
            served(count + 1)?;
            refusal(seen, statuses, count, Keep::Forbidden)
        }
        Expect::Either(statuses) => {
            served(1)?;
            if local(&seen.responses[0]) { refusal(seen, statuses, 0, Keep::Allowed) } else { Ok(()) }
        }
        Expect::Broken if seen.responses.is_empty() => match seen.end {
            Some(End::Fin | End::Reset) if seen.rest.is_empty() => Ok(()),
            other => Err(format!("neither a reply nor an end: {other:?}")),
        },
        Expect::Broken => refusal(seen, &[400, 408, 413, 431, 502, 505], 0, Keep::Forbidden),
    }
}

/// How much the upstream had seen before a row.
#[derive(Clone, Copy)]
struct Before {
    requests: usize,
    violations: usize,
}

/// What the strict upstream has to say about the requests since `before`.
fn judge_upstream(row: &Row, seen: &Seen, recorder: &Recorder, before: Before) -> Result<(), String> {
    if let Some(violation) = recorder.violations().get(before.violations) {
        return Err(format!("forwarded malformed bytes: {violation}"));
    }
    let recorded = recorder.requests().into_iter().skip(before.requests).map(|one| one.request);
    let requests: Vec<_> = recorded.filter(|request| request.head.target() != "/kept").collect();
    if let Some(found) = requests.iter().find(|request| request.head.target().contains("smuggled")) {
        return Err(format!("SMUGGLED {:?}", found.head.start));
    }
    let wanted = match row.expect {
        Expect::Served(count) | Expect::ServedThenRefused(count, _) => count,
        Expect::Refused(_) | Expect::Denied(_) | Expect::Broken => 0,
        Expect::Either(_) => usize::from(seen.responses.iter().any(|one| one.field("x-backend").is_some())),
    };
    if requests.len() != wanted {
        let starts: Vec<_> = requests.iter().map(|request| request.head.start.clone()).collect();
        return Err(format!(
            "the upstream saw {} whole requests and not {wanted}: {starts:?}",
            requests.len()
        ));
    }
    match (row.check, requests.first()) {
        (Some(check), Some(first)) => check(first),
        _ => Ok(()),
    }
}

/// Innocent requests on new connections, so that every worker's pool is asked, get their own responses.
fn innocents(proxy: &TestProxy, number: usize) -> Result<(), String> {
    for turn in 0..3 {
        let id = format!("innocent-{number}-{turn}");
        let request =
            format!("GET /{id} HTTP/1.1\r\nHost: a.test\r\nX-Id: {id}\r\nConnection: close\r\n\r\n");
        let mut client =
            RawClient::try_connect(proxy.address()).map_err(|error| format!("connect: {error}"))?;
        client.try_send(request).map_err(|error| format!("send: {error}"))?;
        let response = client.response_to("GET").map_err(|error| format!("{id}: {error:?}"))?;
        if response.field("x-id") != Some(id.as_str()) {
            return Err(format!("{id} got {} for {:?}", response.status, response.field("x-id")));
        }
    }
    Ok(())
}

/// Prints the account of a run and fails when a row failed.
fn account(name: &str, covered: usize, failures: &[String]) {
    println!("{name}: rows covered {covered}, failed {}", failures.len());
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

fn against_recorder(name: &str, piece: usize, longest: usize) {
    let recorder = Recorder::start("strict");
    let proxy = start(recorder.address());
    let (mut failures, mut covered) = (Vec::new(), 0);
    for (number, row) in rows().iter().filter(|row| row.bytes.len() <= longest).enumerate() {
        covered += 1;
        let before = Before { requests: recorder.requests().len(), violations: recorder.violations().len() };
        let seen = play(&proxy, row, piece);
        let outcome = judge(row, &seen).and_then(|()| judge_upstream(row, &seen, &recorder, before));
        for why in [outcome.err(), innocents(&proxy, number).err()].into_iter().flatten() {
            failures.push(format!("{}: {why}", row.id));
        }
    }
    proxy.assert_sound();
    account(name, covered, &failures);
}

fn against_server(kind: Kind) {
    let server = Server::start(kind);
    let proxy = start(server.address());
    let rows = rows();
    let mut failures = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let seen = play(&proxy, row, usize::MAX);
        // What a server answers to odd but well-formed requests, or before it has read the content, is its own affair.
        let own = seen.responses.first().is_some_and(|first| first.field("x-spurline-reason").is_none());
        let outcome = match row.expect {
            Expect::Broken if own => Ok(()),
            Expect::Refused(_) | Expect::Denied(_) | Expect::Broken => judge(row, &seen),
            _ => Ok(()),
        };
        for why in [outcome.err(), innocents(&proxy, number).err()].into_iter().flatten() {
            failures.push(format!("{}: {why}", row.id));
        }
    }
    proxy.assert_sound();
    account(&format!("{kind:?}"), rows.len(), &failures);
}

#[test]
fn every_row_holds_before_a_strict_upstream() {
    against_recorder("strict upstream", usize::MAX, usize::MAX);
}

#[test]
fn every_row_holds_when_it_comes_byte_by_byte() {
    against_recorder("strict upstream, one byte at a time", 1, 700);
}

#[test]
fn every_row_that_is_taken_for_http_holds_where_the_protocol_is_detected() {
    let recorder = Recorder::start("strict");
    let proxy = start_as("detect", recorder.address());
    let (mut failures, mut tunnelled) = (Vec::new(), 0);
    let rows = rows();
    for (number, row) in rows.iter().enumerate() {
        let before = Before { requests: recorder.requests().len(), violations: recorder.violations().len() };
        let tunnels = proxy.metric("spurline_tunnels_total", &[("kind", "tcp")]);
        let seen = play(&proxy, row, usize::MAX);
        // What does not begin as HTTP does is passed to the app unread, as without a proxy.
        let outcome = if proxy.metric("spurline_tunnels_total", &[("kind", "tcp")]) > tunnels {
            tunnelled += 1;
            Ok(())
        } else {
            judge(row, &seen).and_then(|()| judge_upstream(row, &seen, &recorder, before))
        };
        for why in [outcome.err(), innocents(&proxy, number).err()].into_iter().flatten() {
            failures.push(format!("{}: {why}", row.id));
        }
    }
    println!("{tunnelled} rows tunnelled");
    assert!(tunnelled * 4 < rows.len(), "{tunnelled} of {} rows are not taken for HTTP", rows.len());
    account("strict upstream, detected", rows.len(), &failures);
}

#[test]
fn no_row_harms_users_of_nginx() {
    against_server(Kind::Nginx);
}

#[test]
fn no_row_harms_users_of_haproxy() {
    against_server(Kind::Haproxy);
}

#[test]
fn no_row_harms_users_of_node() {
    against_server(Kind::Node);
}

#[test]
fn no_row_harms_users_of_python() {
    against_server(Kind::Python);
}
