//! gRPC through the proxy, between the stacks that people use: the official cases of interoperability of every client with every
//! server, steering of each call by itself, and what the proxy answers in a server's place.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "tls/certificates.rs"]
#[allow(dead_code, reason = "shared with the suite of TLS, which needs more")]
mod certificates;
#[path = "grpc_interop/client.rs"]
mod client;
#[path = "grpc_interop/messages.rs"]
mod messages;
#[path = "grpc_interop/server.rs"]
mod server;
#[path = "grpc_interop/stacks.rs"]
mod stacks;

use std::net::{SocketAddr, TcpListener};

use certificates::{Authority, VALID};
use client::{Client, stream_of, wants};
use messages::{EchoStatus, SimpleRequest, SimpleResponse, payload};
use spurline_tests::h2::{self, Finish, Play};
use spurline_tests::wire::frame;
use spurline_tests::{Builder, Override, Routes, TestProxy, eventually, free_address};
use stacks::{Server, Stack, runtime};
use tonic::Code;

/// The cases of gRPC's interop-test-descriptions.md that need no credentials.
const CASES: [&str; 13] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
];

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const SPECIAL: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const SIZES: [i32; 4] = [31415, 9, 2653, 58979];
const SENT: [i32; 4] = [27182, 8, 1828, 45904];
/// The field in which our own server tells its name.
const NAME: &str = "x-server";

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";

/// A sidecar listener of HTTP/2 before an upstream of HTTP/2.
fn listening(upstream: SocketAddr, more: &str) -> Builder {
    let keys = format!("workload={WORKLOAD},port=8080,protocol=http,baseline={upstream}{more}");
    TestProxy::build().listener("app", &keys)
}

#[test]
fn every_client_gets_along_with_every_server() {
    let mut failed = Vec::new();
    for server_stack in Stack::ALL {
        let server = server_stack.serve(None);
        let proxy = listening(server.address, "").start();
        for client in Stack::ALL {
            if let Err(why) = client.ask(proxy.address(), None) {
                failed.push(format!("{client:?} with {server_stack:?}: {why}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn clients_and_servers_get_along_inside_of_tls() {
    let authority = Authority::new("Shop");
    let files = authority.server("grpc", &["127.0.0.1", "localhost"], VALID);
    let mut failed = Vec::new();
    for (client, server_stack) in [
        (Stack::Go, Stack::Python),
        (Stack::Python, Stack::Node),
        (Stack::Node, Stack::Rust),
        (Stack::Rust, Stack::Go),
    ] {
        let server = server_stack.serve(Some(&files));
        let keys = format!(
            "workload={WORKLOAD},port=8080,role=gateway,trust=all,tls=terminate,upstream_tls=on,baseline={}",
            server.address
        );
        // Certificates are for this address.
        let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|one| one.local_addr()).unwrap();
        let proxy = TestProxy::build()
            .listener_at("app", listener, &keys)
            .argument("--tls-certificate")
            .argument(&files.setting("*"))
            .flag("--upstream-tls-ca-file", authority.ca().to_str().unwrap())
            .start();
        if let Err(why) = client.ask(proxy.address(), Some(&authority)) {
            failed.push(format!("{client:?} with {server_stack:?}: {why}\n{}", proxy.log()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Two calls that are open at the same time on one connection, each answered message by message by another server.
#[test]
fn calls_of_one_connection_are_steered_each_by_its_own_metadata() {
    let [baseline, fork] = ["baseline", "fork"].map(|name| Server::named(name, None));
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork.address]))
        .published();
    let proxy = listening(baseline.address, "").routes(&routes).start();
    runtime().block_on(async {
        let client = Client::connect(proxy.address(), None).await;
        let mut calls = Vec::new();
        for baggage in
            [None, Some(format!("user=7,sd-routing-key={KEY}")), Some("sd-routing-key=unknown".to_owned())]
        {
            let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
            let mut request = tonic::Request::new(stream_of(requests));
            if let Some(baggage) = &baggage {
                request.metadata_mut().insert("baggage", baggage.parse().unwrap());
            }
            sender.send(wants(&[1])).unwrap();
            let answer = client.duplex(request).await.unwrap();
            let name = answer.metadata().get(NAME).unwrap().to_str().unwrap().to_owned();
            calls.push((sender, name, answer.into_inner()));
        }
        let names: Vec<_> = calls.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["baseline", "fork", "baseline"]);
        for size in [1, 70_000, 3] {
            for (sender, name, answers) in &mut calls {
                if size != 1 {
                    sender.send(wants(&[size])).unwrap();
                }
                let answer = answers.message().await.unwrap().unwrap();
                assert_eq!(answer.payload, payload(size), "{name}");
            }
        }
        // A fork that comes or goes is for the next call.
        let mut request = tonic::Request::new(SimpleRequest::default());
        request.metadata_mut().insert("baggage", format!("sd-routing-key={KEY}").parse().unwrap());
        let answer = client.unary(request).await.unwrap();
        assert_eq!(answer.metadata().get(NAME).unwrap(), "fork");
    });
    assert_eq!(proxy.metric("spurline_http2_connections_total", &[("side", "downstream")]), 1.0);
}

/// What the proxy answers in a server's place, as a real client reads it.
#[test]
fn a_refusal_has_a_status_and_a_message_that_says_why() {
    let server = Server::named("baseline", None);
    let dead = free_address();
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[dead]))
        .published();
    let proxy = listening(server.address, "").routes(&routes).start();
    let ask = |fields: Vec<(&'static str, String)>| {
        runtime().block_on(async {
            let client = Client::connect(proxy.address(), None).await;
            let mut request = tonic::Request::new(SimpleRequest::default());
            for (name, value) in fields {
                request.metadata_mut().insert(name, value.parse().unwrap());
            }
            client.unary(request).await
        })
    };
    assert!(ask(Vec::new()).is_ok());
    let strict = [("x-spurline-strict", "1".to_owned()), ("baggage", "sd-routing-key=unknown".to_owned())];
    let unknown = ask(strict.into()).unwrap_err();
    assert_eq!(unknown.code(), Code::Unavailable, "{unknown:?}");
    assert!(unknown.message().contains("unknown"), "{unknown:?}");
    let gone = ask(vec![("baggage", format!("sd-routing-key={KEY}"))]).unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable, "{gone:?}");
    assert!(!gone.message().is_empty() && gone.message() != unknown.message(), "{gone:?}");
    for status in [&unknown, &gone] {
        assert!(status.metadata().get("x-spurline-reason").is_some(), "{status:?}");
    }
}

/// A client of HTTP/2 whose requests are gRPC's.
fn grpc_request(more: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let common = [("content-type", "application/grpc"), ("te", "trailers")];
    h2::request("POST", "/grpc.testing.TestService/UnaryCall", &[&common[..], more].concat())
}

#[test]
fn a_refusal_on_the_wire_is_one_head_with_status_200() {
    let dead = free_address();
    let proxy = listening(dead, ",upstream_protocol=http2").start();
    let mut client = h2::Client::connect(proxy.address());
    let stream = client.open(&grpc_request(&[]), true);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/grpc")), "{answer:?}");
    assert_eq!((answer.field("grpc-status"), answer.body.len()), (Some("14"), 0), "{answer:?}");
    assert!(answer.field("grpc-message").is_some() && answer.trailers.is_empty(), "{answer:?}");
    // What is no gRPC is answered in HTTP's words.
    assert_eq!(client.exchange("/", &[]).status, 503);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn a_deadline_is_passed_on_and_kept() {
    let upstream = h2::Upstream::scripted("one", |asked| match asked.target() {
        "/begun" => vec![
            Play::Head(h2::fields(&[(":status", "200"), ("content-type", "application/grpc")]), false),
            Play::Data(b"\0\0\0\0\0".to_vec(), false),
        ],
        _ => Vec::new(),
    });
    let proxy = listening(upstream.address(), "").start();
    let mut client = h2::Client::connect(proxy.address());
    let silent = client.open(&grpc_request(&[("grpc-timeout", "200m")]), true);
    let mut begun = grpc_request(&[("grpc-timeout", "200m")]);
    begun[3].1 = b"/begun".to_vec();
    let begun = client.open(&begun, true);
    let answer = client.answer(silent);
    assert_eq!((answer.status, answer.grpc_status()), (200, Some("4")), "{answer:?}");
    let answer = client.answer(begun);
    // Once there is a head there are trailers.
    assert_eq!((answer.body.len(), answer.grpc_status()), (5, Some("4")), "{answer:?}");
    eventually("both are given up upstream", || {
        let ends: Vec<_> = upstream.asked().iter().map(|one| one.end).collect();
        ends.iter().all(|end| matches!(end, Some(Finish::Reset(_) | Finish::Lost(_)))).then_some(())
    });
    for asked in upstream.asked() {
        let left = asked.field("grpc-timeout").expect("the deadline is passed on");
        let (digits, unit) = left.split_at(left.len() - 1);
        let left: u64 = digits.parse().unwrap();
        let left = match unit {
            "m" => left * 1_000_000,
            "u" => left * 1000,
            "n" => left,
            other => panic!("{other}"),
        };
        assert!((1..=200_000_000).contains(&left) && digits.len() <= 8, "{:?}", asked.fields);
    }
    // One that cannot be read is none.
    let stream = client.open(&grpc_request(&[("grpc-timeout", "soon")]), true);
    assert!(client.ping());
    assert_eq!(client.peek(stream).end, None);
}

/// However short a deadline is, what it ends is told as such, before and after the head.
#[test]
fn a_deadline_that_passes_is_no_other_failure() {
    let upstream = h2::Upstream::scripted("one", |asked| match asked.stream % 4 {
        1 => vec![
            Play::Head(h2::fields(&[(":status", "200"), ("content-type", "application/grpc")]), false),
            Play::Data(b"\0\0\0\0\0".to_vec(), false),
        ],
        _ => Vec::new(),
    });
    let proxy = listening(upstream.address(), "").start();
    let mut client = h2::Client::connect(proxy.address());
    let mut wrong = Vec::new();
    for round in 0..10 {
        let timeout = format!("{}m", round + 1);
        let streams: Vec<u32> = (0..40)
            .map(|number| client.open(&grpc_request(&[("grpc-timeout", &timeout)]), number % 3 == 0))
            .collect();
        for stream in streams {
            let answer = client.answer(stream);
            // As clients do with what they have not finished.
            client.reset(stream, frame::CANCEL);
            if answer.grpc_status() != Some("4") {
                wrong.push(format!("{timeout}: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of 400, {}", wrong.len(), wrong[0]);
    assert_eq!((upstream.violations(), client.violations()), (Vec::new(), &[][..]));
}

#[test]
fn a_page_speaks_grpc_web_through_a_gateway() {
    let server = Server::named("baseline", None);
    let keys = |more: &str| {
        format!(
            "workload={WORKLOAD},port=8080,role=gateway,trust=all,protocol=http,upstream_protocol=http2,baseline={}{more}",
            server.address
        )
    };
    let proxy = TestProxy::build().listener("app", &keys(",grpc_web=on")).start();
    let request = SimpleRequest { response_size: 10, ..SimpleRequest::default() };
    let message = message_of(&request);
    let ask = |version: u8, kind: &str, body: &[u8]| {
        let path = "/grpc.testing.TestService/UnaryCall";
        if version == 1 {
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nX-Grpc-Web: 1\r\nContent-Length: {length}\r\n\r\n"
            );
            let answer = proxy.client().exchange([head.as_bytes(), body].concat());
            (answer.status, answer.field("content-type").unwrap_or_default().to_owned(), answer.body)
        } else {
            let mut client = h2::Client::connect(proxy.address());
            let stream = client.post(path, &[("content-type", kind), ("x-grpc-web", "1")], body);
            let answer = client.answer(stream);
            assert_eq!(answer.end, Some(Finish::Whole));
            let kind = answer.field("content-type").unwrap_or_default().to_owned();
            (answer.status, kind, answer.body)
        }
    };
    for version in [1, 2] {
        let (status, kind, body) = ask(version, "application/grpc-web+proto", &message);
        assert!(status == 200 && is_kind(&kind, "application/grpc-web"), "{status} {kind}");
        assert_web_answer(&body, "grpc-status: 0\r\n");
        let text = base64(&message);
        let (status, kind, body) = ask(version, "application/grpc-web-text+proto", text.as_bytes());
        assert!(status == 200 && is_kind(&kind, "application/grpc-web-text"), "{status} {kind}");
        assert_web_answer(&unbase64(&body), "grpc-status: 0\r\n");
        let wrong = EchoStatus { code: 2, message: "no".to_owned() };
        let failing = message_of(&SimpleRequest { response_status: Some(wrong), ..SimpleRequest::default() });
        let (status, _, body) = ask(version, "application/grpc-web+proto", &failing);
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 200 && (text.contains("grpc-status") || body.is_empty()), "{text}");
    }
    // Where it is off it is what it is, and the server knows no such kind.
    let off = TestProxy::build().listener("app", &keys("")).start();
    let mut client = h2::Client::connect(off.address());
    let path = "/grpc.testing.TestService/UnaryCall";
    let stream = client.post(path, &[("content-type", "application/grpc-web+proto")], &message);
    assert_ne!(client.answer(stream).field("content-type"), Some("application/grpc-web+proto"));
}

/// Whether a content type is this one, whatever the format of its messages.
fn is_kind(kind: &str, wanted: &str) -> bool {
    kind.strip_prefix(wanted).is_some_and(|rest| matches!(rest, "" | "+proto"))
}

/// One message and then the trailers as a message with the highest bit.
fn assert_web_answer(body: &[u8], trailers: &str) {
    let answer = message_of(&SimpleResponse { payload: payload(10) });
    let (message, rest) = body.split_at(answer.len().min(body.len()));
    assert_eq!(message, answer);
    assert_eq!(rest.first(), Some(&0x80), "{rest:?}");
    let length = u32::from_be_bytes(rest[1..5].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), rest.len() - 5);
    let text = String::from_utf8_lossy(&rest[5..]);
    assert!(text.contains(trailers), "{text}");
}

fn message_of(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &bytes].concat()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let number = piece.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - piece.len()));
        for at in 0..4 {
            let digit = usize::try_from(number >> (18 - 6 * at) & 63).unwrap();
            text.push(if at > piece.len() { '=' } else { char::from(ALPHABET[digit]) });
        }
    }
    text
}

/// Reads pieces that are padded each by itself.
fn unbase64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for four in text.chunks(4) {
        let digit = |byte: &u8| ALPHABET.iter().position(|known| known == byte).unwrap_or(0);
        let number = four.iter().fold(0, |number, byte| number << 6 | u32::try_from(digit(byte)).unwrap());
        let padding = four.iter().filter(|byte| **byte == b'=').count();
        bytes.extend_from_slice(&number.to_be_bytes()[1..4 - padding]);
    }
    bytes
}
