//! Every pair of versions: the same message arrives, whoever speaks what.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use spurline_tests::h2::{Client, Finish, Play, Upstream, field, fields, request};
use spurline_tests::servers::{Kind, Server};
use spurline_tests::wire::frame;
use spurline_tests::{Recorder, Step, TestProxy, run, wire};

use super::{WORKLOAD, listening};

fn curl(options: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(options);
    let finished = run(command, Duration::from_secs(60));
    assert_eq!(finished.code, Some(0), "{options:?}: {}", finished.stderr);
    finished.stdout
}

/// A proxy before upstreams of both versions, and what both versions are called by curl.
fn pairs(http1: SocketAddr, http2: SocketAddr) -> Vec<(TestProxy, &'static str, &'static str)> {
    let upstreams = [(http1, "http1"), (http2, "http2")];
    let pair = |(address, upstream): (SocketAddr, &'static str)| {
        ["--http1.1", "--http2-prior-knowledge"].map(|client| {
            (listening(address, &format!(",upstream_protocol={upstream}")).start(), client, upstream)
        })
    };
    upstreams.into_iter().flat_map(pair).collect()
}

#[test]
fn curl_is_served_in_every_pair() {
    const BYTES: usize = 3_000_000;
    let (recorder, upstream) = (Recorder::start("app"), Upstream::start("app"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'u'; BYTES]).unwrap();
    let upload = format!("@{}", file.path().display());
    for (proxy, client, upstream_version) in pairs(recorder.address(), upstream.address()) {
        let url = format!("http://{}/pair", proxy.address());
        let pair = format!("{client} {upstream_version}");
        let got = curl(&[client, "-H", "x-id: 7", &url]);
        assert_eq!(got, "app GET /pair 7 0\n", "{pair}");
        let posted = curl(&[client, "--data-binary", &upload, &url]);
        assert_eq!(posted, format!("app POST /pair - {BYTES}\n"), "{pair}");
        let chunked =
            curl(&[client, "-H", "transfer-encoding: chunked", "-T", file.path().to_str().unwrap(), &url]);
        assert_eq!(chunked, format!("app PUT /pair - {BYTES}\n"), "{pair}");
        let head = curl(&[client, "-I", &url]);
        assert!(head.to_lowercase().contains("x-backend: app"), "{pair}: {head}");
        let version = curl(&[client, "-o", "/dev/null", "-w", "%{http_version}", &url]);
        assert_eq!(version, if client == "--http1.1" { "1.1" } else { "2" }, "{pair}");
    }
    assert_eq!((recorder.violations(), upstream.violations()), (Vec::new(), Vec::new()));
}

#[test]
fn the_version_of_the_client_is_that_of_the_upstream_unless_it_is_told() {
    let (recorder, upstream) = (Recorder::start("one"), Upstream::start("two"));
    let one = listening(recorder.address(), "").start();
    assert_eq!(one.get("/", "").status, 200);
    let two = listening(upstream.address(), "").start();
    assert_eq!(Client::connect(two.address()).exchange("/", &[]).status, 200);
    assert_eq!((recorder.requests().len(), upstream.asked().len()), (1, 1));
}

#[test]
fn trailers_and_interim_answers_arrive_in_every_pair() {
    let recorder = Recorder::scripted("app", |_| {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                    Trailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 9\r\n\r\n";
        vec![Step::Body, Step::Send(text.as_bytes().to_vec())]
    });
    let upstream = Upstream::scripted("app", |_| {
        vec![
            Play::Body,
            Play::Head(fields(&[(":status", "103"), ("link", "</a>")]), false),
            Play::Head(fields(&[(":status", "200"), ("trailer", "x-sum")]), false),
            Play::Data(b"body".to_vec(), false),
            Play::Trailers(fields(&[("x-sum", "9")])),
        ]
    });
    for (proxy, version, upstream_version) in pairs(recorder.address(), upstream.address()) {
        let pair = format!("{version} {upstream_version}");
        if version == "--http1.1" {
            let answer = proxy.client().exchange(
                "POST /t HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
                 Trailer: x-mine\r\n\r\n2\r\nhi\r\n0\r\nx-mine: 5\r\n\r\n",
            );
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{pair}");
            assert_eq!(wire::get(&answer.trailers, "x-sum"), Some("9"), "{pair}");
            assert_eq!(answer.informational.len(), 1, "{pair}");
        } else {
            let mut client = Client::connect(proxy.address());
            let stream = client.open(&request("POST", "/t", &[("te", "trailers")]), false);
            client.data(stream, b"hi", false);
            client.trailers(stream, &fields(&[("x-mine", "5")]));
            let answer = client.answer(stream);
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{pair}");
            assert_eq!(field(&answer.trailers, "x-sum"), Some("9"), "{pair}");
            assert_eq!(answer.informational.len(), 1, "{pair}");
            assert_eq!(client.violations(), [""; 0], "{pair}");
        }
        if upstream_version == "http1" {
            let requests = recorder.requests();
            let last = &requests.last().unwrap().request;
            assert_eq!(
                (&last.body[..], wire::get(&last.trailers, "x-mine")),
                (&b"hi"[..], Some("5")),
                "{pair}"
            );
        } else {
            let asked = upstream.asked();
            let last = asked.last().unwrap();
            assert_eq!((&last.body[..], field(&last.trailers, "x-mine")), (&b"hi"[..], Some("5")), "{pair}");
        }
    }
    assert_eq!((recorder.violations(), upstream.violations()), (Vec::new(), Vec::new()));
}

/// An upstream of HTTP/1.1 that sends the chunks of a request back as they come.
fn mirror() -> SocketAddr {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let mut writer = stream;
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                let mut piece = [0; 4096];
                while let Ok(count) = reader.read(&mut piece) {
                    if count == 0 || writer.write_all(&piece[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn content_streams_both_ways_at_once_in_every_pair() {
    let upstream =
        Upstream::scripted("two", |_| vec![Play::Head(fields(&[(":status", "200")]), false), Play::Tunnel]);
    for (proxy, version, upstream_version) in pairs(mirror(), upstream.address()) {
        let pair = format!("{version} {upstream_version}");
        if version == "--http1.1" {
            let mut client = proxy.client();
            client.send("POST /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let mut seen = String::new();
            for piece in ["first", "second", "third"] {
                client.send(wire::chunk(piece.as_bytes()));
                while !seen.ends_with(&format!("{piece}\r\n")) {
                    let more =
                        client.read_exact(1).unwrap_or_else(|end| panic!("{pair}: {end:?} after {seen}"));
                    seen.push_str(&String::from_utf8_lossy(&more));
                }
            }
            client.send("0\r\n\r\n");
            assert_eq!(client.read_exact(5).as_deref(), Ok(&b"0\r\n\r\n"[..]), "{pair}");
        } else {
            let mut client = Client::connect(proxy.address());
            let stream = client.open(&request("POST", "/s", &[]), false);
            let mut sent = Vec::new();
            for piece in ["first", "second", "third"] {
                client.data(stream, piece.as_bytes(), false);
                sent.extend_from_slice(piece.as_bytes());
                let came = client.wait_for(stream, |answer| answer.body.len() >= sent.len());
                assert_eq!((&came.body, came.end), (&sent, None), "{pair}");
            }
            client.data(stream, b"", true);
            assert_eq!(client.answer(stream).end, Some(Finish::Whole), "{pair}");
        }
    }
}

/// nghttp2's client, load and server.
#[test]
fn the_tools_of_nghttp2_are_served_and_serve() {
    let (server, recorder) = (Server::start(Kind::Nghttpd), Recorder::start("one"));
    let keys = |upstream: SocketAddr, version: &str| {
        format!("workload={WORKLOAD},port=8080,baseline={upstream},upstream_protocol={version}")
    };
    let proxy = TestProxy::build()
        .listener("two", &keys(server.address(), "http2"))
        .listener("one", &keys(recorder.address(), "http1"))
        .start();
    for listener in ["one", "two"] {
        let url = format!("http://{}/file", proxy.listener(listener));
        let mut command = Command::new("h2load");
        command.args(["-n", "4000", "-c", "8", "-m", "10", &url]);
        let loaded = run(command, Duration::from_secs(60));
        let whole = loaded.stdout.contains("4000 succeeded, 0 failed, 0 errored");
        assert!(whole, "{listener}: {}", loaded.stdout);
        let mut command = Command::new("nghttp");
        command.args(["-nas", "-m", "20", &url]);
        let asked = run(command, Duration::from_secs(60));
        assert_eq!(asked.code, Some(0), "{listener}: {}", asked.stderr);
    }
    assert_eq!(recorder.violations(), [""; 0]);
}

/// Servers that many use, one of which is strict.
#[test]
fn servers_of_other_stacks_are_spoken_to_in_their_words() {
    for (kind, name) in [(Kind::NodeHttp2, "node"), (Kind::PythonHttp2, "python")] {
        let server = Server::start(kind);
        let proxy = listening(server.address(), ",upstream_protocol=http2").start();
        let mut client = Client::connect(proxy.address());
        let small: Vec<u32> =
            (0..50).map(|number| client.get("/", &[("x-id", &number.to_string())])).collect();
        let large = client.post("/", &[("x-id", "large")], &vec![b'x'; 2_000_000]);
        for (number, stream) in small.into_iter().enumerate() {
            assert_eq!(client.answer(stream).text(), format!("{name} {number} 0\n"));
        }
        let answer = client.answer(large);
        assert_eq!(answer.text(), format!("{name} large 2000000\n"));
        assert_eq!(field(&answer.trailers, "x-size"), Some("2000000"));
        let one = proxy.client().exchange(
            "POST / HTTP/1.1\r\nHost: a\r\nX-Id: one\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        );
        assert_eq!(one.text(), format!("{name} one 3\n"));
        // Requests that are given up and what comes after them.
        for round in 0..50 {
            let stream = client.open(&request("POST", "/", &[]), false);
            client.data(stream, b"part", false);
            client.reset(stream, frame::CANCEL);
            assert_eq!(client.exchange("/", &[]).text(), format!("{name} - 0\n"), "{round}");
        }
        assert_eq!(client.violations(), [""; 0]);
    }
}
