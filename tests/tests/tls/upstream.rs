//! TLS with upstreams.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use spurline_tests::{Builder, TestProxy, eventually};

use crate::WORKLOAD;
use crate::certificates::{Authority, EXPIRED, Files, VALID};

/// `openssl s_server`.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(options: &[&str], files: &Files) -> Self {
        let mut command = Command::new("openssl");
        let address = loopback();
        command.args(["s_server", "-accept", &address.to_string(), "-cert"]).arg(&files.cert);
        command.arg("-key").arg(&files.key).args(options);
        Self::spawn(command, address)
    }

    /// A server in Python that answers each connection with `answer`, Python's code with `c` for the connection and `s` for
    /// its socket.
    pub(crate) fn python(files: &Files, answer: &str) -> Self {
        let address = loopback();
        let (cert, key) = (files.cert.display(), files.key.display());
        let program = format!(
            "import socket, ssl, struct\n\
             context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
             context.load_cert_chain('{cert}', '{key}')\n\
             listener = socket.create_server(('{}', {}))\n\
             while True:\n    \
             s, _ = listener.accept()\n    \
             try:\n        \
             c = context.wrap_socket(s, server_side=True)\n        \
             c.recv(65536)\n        \
             {answer}\n    \
             except OSError: pass\n",
            address.ip(),
            address.port()
        );
        let mut command = Command::new("python3");
        command.args(["-c", &program]);
        Self::spawn(command, address)
    }

    fn spawn(mut command: Command, address: SocketAddr) -> Self {
        let (input, output) = (Stdio::piped(), Stdio::null());
        let child =
            command.stdin(input).stdout(output).stderr(Stdio::null()).spawn().expect("a server starts");
        eventually("the server listens", || std::net::TcpStream::connect(address).ok().map(drop));
        Self { child, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// A free port of the one address that certificates are for.
fn loopback() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    listener.local_addr().expect("an address")
}

fn originating(server: &Server, authority: &Authority) -> Builder {
    let keys = format!("workload={WORKLOAD},port=8080,baseline={},upstream_tls=on", server.address());
    TestProxy::build().listener("app", &keys).flag("--upstream-tls-ca-file", authority.ca().to_str().unwrap())
}

#[test]
fn an_upstream_is_spoken_to_in_tls_if_its_certificate_is_for_its_name_or_address() {
    let authority = Authority::new("Shop");
    let server = Server::start(&["-www"], &authority.server("up", &["up.example", "127.0.0.1"], VALID));
    let by_address = originating(&server, &authority).start();
    let got = by_address.get("/", "");
    assert!(got.status == 200 && got.text().contains("s_server"), "{got:?}");
    let by_name = originating(&server, &authority).flag("--upstream-tls-name", "up.example").start();
    assert!(by_name.get("/", "").text().contains("s_server"));
}

#[test]
fn a_certificate_that_is_wrong_is_answered_for_and_logged_with_what_is_wrong() {
    let authority = Authority::new("Shop");
    let stranger = Authority::new("Somebody Else");
    for (files, expected) in [
        (authority.server("other", &["other.example"], VALID), "other.example"),
        (authority.server("expired", &["up.example"], EXPIRED), "expired"),
        (stranger.server("stranger", &["up.example"], VALID), "Somebody Else"),
    ] {
        let server = Server::start(&["-www"], &files);
        let proxy = originating(&server, &authority).flag("--upstream-tls-name", "up.example").start();
        let got = proxy.get("/", "");
        assert_eq!((got.status, got.field("x-spurline-reason")), (503, Some("upstream-tls")));
        eventually("what is wrong is logged", || {
            let log = proxy.log();
            (log.contains("TLS with an upstream failed") && log.contains(expected)).then_some(())
        });
        assert!(proxy.metric("spurline_upstream_connects_total", &[("result", "tls")]) >= 1.0);
    }
}

#[test]
fn an_upstream_that_asks_for_a_certificate_is_shown_ours() {
    let authority = Authority::new("Shop");
    let ca = authority.ca();
    let options = ["-www", "-Verify", "1", "-verify_return_error", "-CAfile", ca.to_str().unwrap()];
    let server = Server::start(&options, &authority.server("up", &["127.0.0.1"], VALID));
    let shown = |files: &Files| {
        originating(&server, &authority)
            .flag("--upstream-tls-cert-file", files.cert.to_str().unwrap())
            .flag("--upstream-tls-key-file", files.key.to_str().unwrap())
            .start()
            .get("/", "")
    };
    assert!(shown(&authority.client("good", VALID)).text().contains("s_server"));
    let stranger = Authority::new("Somebody Else");
    for status in [
        originating(&server, &authority).start().get("/", "").status,
        shown(&stranger.client("stranger", VALID)).status,
    ] {
        // In TLS 1.3 the refusal comes after our handshake is done, in place of the response.
        assert!(matches!(status, 502 | 503), "{status}");
    }
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_only_after_a_close_notify() {
    let authority = Authority::new("Shop");
    let files = authority.server("up", &["127.0.0.1"], VALID);
    let head = "HTTP/1.1 200 OK\\\\r\\\\n\\\\r\\\\n".replace("\\\\", "\\");
    let whole = Server::python(&files, &format!("c.sendall(b'{head}hello'); c.unwrap(); c.close()"));
    let got = originating(&whole, &authority).start().get("/", "");
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    let cut = Server::python(
        &files,
        &format!("c.sendall(b'{head}hello'); s = c.detach(); socket.socket(fileno=s).close()"),
    );
    let proxy = originating(&cut, &authority).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = client.to_end();
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    assert!(!text.ends_with("0\r\n\r\n"), "a body that was cut is whole: {text:?}");
}

#[test]
fn a_connection_in_tls_is_kept_and_used_again() {
    let authority = Authority::new("Shop");
    let files = authority.server("up", &["127.0.0.1"], VALID);
    let answer = "while True:\n            \
                  c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')\n            \
                  if not c.recv(65536): break";
    let server = Server::python(&files, answer);
    let proxy = originating(&server, &authority).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok");
    }
    assert_eq!(proxy.metric("spurline_upstream_connects_total", &[("result", "ok")]), 1.0);
    assert_eq!(proxy.metric("spurline_upstream_reused_total", &[]), 2.0);
}

#[test]
fn tls_that_passes_through_gets_no_other_around_it() {
    let authority = Authority::new("Shop");
    let server = Server::start(&["-www"], &authority.server("up", &["up.example"], VALID));
    let proxy = originating(&server, &authority).flag("--upstream-tls-name", "up.example").start();
    let through = crate::clients::Curl::new(&authority, proxy.address()).get("up.example", &[]);
    assert!(through.stdout.contains("s_server"), "{through:?}");
    assert!(proxy.get("/", "").text().contains("s_server"));
}
