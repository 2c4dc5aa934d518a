//! Upstreams that are hostile or broken: the client gets a clean refusal or a visible cut, and nobody else is harmed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::time::Duration;

use spurline_tests::{End, ReadError, Recorder, Step, TestProxy, eventually};

const WORKLOAD: &str = "shop/Deployment/cart";
const GET: &str = "GET /bad HTTP/1.1\r\nHost: a.test\r\nX-Id: bad\r\n\r\n";

struct Row {
    id: &'static str,
    method: &'static str,
    reply: Vec<u8>,
    expect: Expect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The client gets a 502 with a reason.
    Refused,
    /// The client gets a whole answer with this status, and nothing of the surplus.
    Answered(u16),
    /// The client gets a 502, or sees that the answer was cut.
    RefusedOrCut,
}

fn row(id: &'static str, reply: impl Into<Vec<u8>>, expect: Expect) -> Row {
    Row { id, method: "GET", reply: reply.into(), expect }
}

fn framing() -> Vec<Row> {
    let refused = Expect::Refused;
    vec![
        row(
            "F01",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            refused,
        ),
        row("F02", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", refused),
        row("F02 list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!", refused),
        row("F03 sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", refused),
        row("F03 negative", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", refused),
        row("F03 empty", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello", refused),
        row("F03 huge", "HTTP/1.1 200 OK\r\nContent-Length: 123456789012345678901\r\n\r\nhello", refused),
        row(
            "F03 gzip, chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            refused,
        ),
        row(
            "F03 two codings",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
            refused,
        ),
        row("F04", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", refused),
        row("F05 bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", refused),
        row("F05 LF in fields", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 5\r\n\r\nhello", refused),
        row("F05 folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", refused),
        row("F05 NUL", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 5\r\n\r\nhello".to_vec(), refused),
        row("F05 space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", refused),
        row("F05 CR in value", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 5\r\n\r\nhello", refused),
        row("F05 no colon", "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 5\r\n\r\nhello", refused),
        row("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", refused),
        row("HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n", refused),
        row("status 99", "HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n", refused),
        row("status 1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n", refused),
        row("status 20x", "HTTP/1.1 20x Odd\r\nContent-Length: 0\r\n\r\n", refused),
        row("nothing but an end", "", refused),
        row("half a head", "HTTP/1.1 200 OK\r\nContent-Le", refused),
        row(
            "D03 unasked 101",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
            refused,
        ),
    ]
}

fn sizes() -> Vec<Row> {
    let status_line = format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(1024 * 1024));
    let one_field = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(1024 * 1024));
    let fields: String = (0..2_000).map(|number| format!("X-{number}: v\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
    let refused = Expect::Refused;
    vec![
        row("F09 status line", status_line, refused),
        row("F09 one field", one_field, refused),
        row("F09 many fields", many, refused),
        row("D05", format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Expect::RefusedOrCut),
    ]
}

fn content() -> Vec<Row> {
    let cut = Expect::RefusedOrCut;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut rows = vec![
        row(
            "F07",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            Expect::Answered(200),
        ),
        row(
            "F07 chunked",
            format!("{chunked}2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil"),
            Expect::Answered(200),
        ),
        row("F06 204", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", Expect::Answered(204)),
        row("F06 304", "HTTP/1.1 304 Not Modified\r\n\r\nevil", Expect::Answered(304)),
        row("F10 length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", cut),
        row("F10 chunk", format!("{chunked}5\r\nhel"), cut),
        row("F10 last chunk", format!("{chunked}5\r\nhello\r\n"), cut),
        row("chunk size", format!("{chunked}+5\r\nhello\r\n0\r\n\r\n"), cut),
        row("chunk LF", format!("{chunked}5\nhello\n0\n\n"), cut),
        row("chunk overflow", format!("{chunked}FFFFFFFFFFFFFFFFF\r\nhello"), cut),
        row("chunk too long", format!("{chunked}5\r\nhello!\r\n0\r\n\r\n"), cut),
        row("trailers without end", format!("{chunked}0\r\n{}", "X-T: v\r\n".repeat(5_000)), cut),
    ];
    rows.push(Row {
        id: "F06 HEAD",
        method: "HEAD",
        reply: b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec(),
        expect: Expect::Answered(200),
    });
    rows
}

fn judge(row: &Row, outcome: Result<spurline_tests::wire::Response, ReadError>) -> Result<(), String> {
    match (row.expect, outcome) {
        (Expect::Refused | Expect::RefusedOrCut, Ok(response)) if response.status == 502 => {
            response.field("x-spurline-reason").map(|_| ()).ok_or_else(|| "a 502 without a reason".to_owned())
        }
        (Expect::Answered(status), Ok(response)) if response.status == status => {
            if response.text().contains("evil") {
                Err("surplus content reached the client".to_owned())
            } else {
                Ok(())
            }
        }
        // An end without a byte looks like a connection that went stale, and clients send their request again.
        (Expect::RefusedOrCut, Err(ReadError::Ended(End::Fin | End::Reset, seen))) if !seen.is_empty() => {
            Ok(())
        }
        (_, outcome) => Err(format!("{outcome:?}").chars().take(300).collect()),
    }
}

#[test]
fn every_row_is_a_clean_refusal_or_a_visible_cut() {
    let rows: Vec<Row> = framing().into_iter().chain(sizes()).chain(content()).collect();
    let mut failures = Vec::new();
    for row in &rows {
        let reply = row.reply.clone();
        let recorder = Recorder::scripted("hostile", move |head| {
            if head.target() == "/bad" {
                return vec![Step::Body, Step::Send(reply.clone()), Step::Finish];
            }
            vec![Step::Echo]
        });
        let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--workers", "1").start();
        let mut client = proxy.client();
        client.send(GET.replacen("GET", row.method, 1));
        let mut outcome = judge(row, client.response_to(row.method));
        for turn in 0..2 {
            let response = proxy.get(&format!("/innocent-{turn}"), &format!("X-Id: {turn}\r\n"));
            if response.field("x-id") != Some(turn.to_string().as_str()) {
                let got = format!("the next request got {} {:?}", response.status, response.text());
                outcome = outcome.and(Err(got));
            }
        }
        if let Err(why) = outcome {
            failures.push(format!("{}: {why}", row.id));
        }
    }
    println!("upstream_hostile: rows covered {}, failed {}", rows.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn surplus_bytes_never_answer_the_next_request_of_a_kept_connection() {
    let recorder = Recorder::scripted("surplus", |head| {
        let id = head.field("x-id").unwrap_or("-").to_owned();
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Id: {id}\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Id: evil\r\n\r\n"
        );
        vec![Step::Body, Step::Send(reply.into_bytes())]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--workers", "1").start();
    let mut client = proxy.client();
    for number in 0..50 {
        let response =
            client.exchange(format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\nX-Id: {number}\r\n\r\n"));
        assert_eq!(response.field("x-id"), Some(number.to_string().as_str()));
    }
}

#[test]
fn an_unsolicited_response_on_an_idle_connection_is_never_used() {
    let recorder = Recorder::start("pushy");
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--workers", "1").start();
    for number in 0..20 {
        let response = proxy.get(&format!("/{number}"), &format!("X-Id: {number}\r\n"));
        assert_eq!(response.field("x-id"), Some(number.to_string().as_str()));
        recorder.push(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Id: evil\r\n\r\n");
    }
}

#[test]
fn a_head_that_drips_is_cut_by_the_response_timeout() {
    let recorder = Recorder::scripted("drip", |_| {
        let mut steps = vec![Step::Body];
        steps.extend(b"HTTP/1.1 200".iter().map(|byte| Step::Send(vec![*byte])));
        steps.push(Step::Stall);
        steps
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--response-timeout", "300ms").start();
    let response = proxy.client().exchange(GET);
    assert_eq!(response.status, 504);
    assert!(response.field("x-spurline-reason").is_some());
    eventually("the upstream connection is ended", || (recorder.open_connections() == 0).then_some(()));
}

#[test]
fn a_head_that_never_stops_dripping_is_cut_by_the_response_timeout() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut drip = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'a'));
            while drip.next().is_some_and(|byte| std::io::Write::write_all(&mut stream, &[*byte]).is_ok()) {
                // The fault itself, not a synchronisation.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let proxy = TestProxy::sidecar(WORKLOAD, address).flag("--response-timeout", "400ms").start();
    let response = proxy.client().exchange(GET);
    assert_eq!((response.status, response.field("x-spurline-reason")), (504, Some("response-timeout")));
}

#[test]
fn a_response_that_nominates_its_own_coding_is_served() {
    let recorder = Recorder::scripted("nominates", |_| {
        let reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\
                      Connection: Transfer-Encoding\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        vec![Step::Body, Step::Send(reply.to_vec())]
    });
    let proxy = TestProxy::sidecar(WORKLOAD, recorder.address()).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.exchange(GET);
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(response.field("connection"), None);
    }
}

#[test]
fn content_that_stalls_is_cut_by_the_idle_timeout() {
    let recorder = Recorder::scripted("stall", |_| {
        let start = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec();
        vec![Step::Body, Step::Send(start), Step::Stall]
    });
    let proxy =
        TestProxy::sidecar(WORKLOAD, recorder.address()).flag("--response-idle-timeout", "300ms").start();
    let mut client = proxy.client();
    client.send(GET);
    let outcome = client.response_to("GET");
    assert!(matches!(outcome, Err(ReadError::Ended(End::Fin | End::Reset, _))), "{outcome:?}");
}
