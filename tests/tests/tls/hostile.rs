//! Clients that do not keep to TLS, or take their time.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use spurline_tests::{RawClient, Recorder, TestProxy, eventually};

use crate::certificates::{Authority, VALID};
use crate::{handshakes, terminating};

/// The first bytes that OpenSSL sends to ask for `a.example`.
fn hello() -> Vec<u8> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let mut client = Command::new("openssl")
        .args(["s_client", "-servername", "a.example", "-connect", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl starts");
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut header = [0; 5];
    stream.read_exact(&mut header).expect("a record");
    let mut fragment = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut fragment).expect("a whole record");
    drop(stream);
    let _ended = client.kill();
    let _waited = client.wait();
    [header.to_vec(), fragment].concat()
}

/// The same handshake message in records of `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], length.as_slice(), fragment].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

fn proxy(recorder: &Recorder, more: &str) -> (TestProxy, Authority) {
    let authority = Authority::new("Shop");
    let certificate = authority.server("a", &["a.example"], VALID).setting("");
    let builder = terminating(recorder, more, &[certificate]);
    (builder.flag("--tls-handshake-timeout", "3s").start(), authority)
}

/// The type of the first record that comes back.
fn answer(client: &mut RawClient) -> u8 {
    client.read_exact(1).expect("an answer")[0]
}

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

#[test]
fn a_hello_may_come_in_any_pieces() {
    let recorder = Recorder::start("one");
    let (proxy, _authority) = proxy(&recorder, "");
    let hello = hello();
    assert_eq!(answer(proxy.client().send_split(&hello, 1)), HANDSHAKE);
    assert_eq!(answer(proxy.client().send(in_records(&hello, 16))), HANDSHAKE);
    assert_eq!(answer(proxy.client().send_split(in_records(&hello, 50), 7)), HANDSHAKE);
}

#[test]
fn what_is_no_tls_is_told_so_or_closed_and_never_hangs() {
    let recorder = Recorder::start("one");
    let (proxy, _authority) = proxy(&recorder, ",protocol=http,tls_unmatched=refuse");
    let http = proxy.get("/", "");
    assert_eq!((http.status, http.field("x-spurline-reason")), (400, Some("tls-required")));
    let mut garbage = proxy.client();
    garbage.send([0x80, 0x2e, 1, 0, 2]);
    assert!(garbage.to_end().bytes.is_empty());
    // A record of the right kind with nothing sensible in it.
    let mut nonsense = proxy.client();
    nonsense.send([&[22, 3, 1, 0, 8, 1, 0, 0, 4], [0xff; 4].as_slice()].concat());
    assert_eq!(answer(&mut nonsense), ALERT);
    // More than a hello may have.
    let mut long = proxy.client();
    let fragment = vec![0; 16 * 1024];
    let begin = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff], &fragment[4..]].concat();
    let _refused = long.try_send(&begin);
    let _refused = long.try_send(&begin);
    assert_eq!(answer(&mut long), ALERT);
    // Less than one, and then nothing.
    for part in [&hello()[..100], &[][..]] {
        let mut slow = proxy.client();
        slow.send(part);
        assert!(slow.to_end().bytes.is_empty());
    }
    eventually("the slow ones are counted", || (handshakes(&proxy, "timeout") >= 2.0).then_some(()));
    assert!(handshakes(&proxy, "not-tls") >= 2.0 && handshakes(&proxy, "malformed") >= 2.0);
    assert!(recorder.requests().is_empty());
}

#[test]
fn a_handshake_that_stops_or_breaks_off_ends_in_time() {
    let recorder = Recorder::start("one");
    let (proxy, _authority) = proxy(&recorder, "");
    let hello = hello();
    let mut stopped = proxy.client();
    assert_eq!(answer(stopped.send(&hello)), HANDSHAKE);
    stopped.to_end();
    eventually("it is counted", || (handshakes(&proxy, "timeout") >= 1.0).then_some(()));
    let mut broken = proxy.client();
    assert_eq!(answer(broken.send(&hello)), HANDSHAKE);
    broken.reset();
    eventually("it is counted", || (handshakes(&proxy, "closed") >= 1.0).then_some(()));
    // Application data in the place of the client's part of the handshake.
    let mut wrong = proxy.client();
    assert_eq!(answer(wrong.send(&hello)), HANDSHAKE);
    wrong.send([23, 3, 3, 0, 2, 1, 2]).to_end();
    eventually("it is counted", || (handshakes(&proxy, "malformed") >= 1.0).then_some(()));
}

#[test]
fn a_request_that_is_cut_off_without_a_close_notify_reaches_nobody_whole() {
    let recorder = Recorder::start("one");
    let (proxy, authority) = proxy(&recorder, "");
    let program = format!(
        "import socket, ssl\n\
         context = ssl.create_default_context(cafile='{}')\n\
         s = socket.create_connection(('{}', {}))\n\
         c = context.wrap_socket(s, server_hostname='a.example')\n\
         c.sendall(b'POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 10\\r\\n\\r\\n12345')\n\
         socket.socket(fileno=c.detach()).close()\n",
        authority.ca().display(),
        proxy.address().ip(),
        proxy.address().port()
    );
    let mut command = Command::new("python3");
    command.args(["-c", &program]);
    let done = spurline_tests::run(command, Duration::from_secs(60));
    assert_eq!(done.code, Some(0), "{done:?}");
    eventually("the request is given up", || {
        (proxy.metric("spurline_downstream_aborts_total", &[]) >= 1.0).then_some(())
    });
    assert!(recorder.requests().is_empty());
}

#[test]
fn renegotiation_is_refused() {
    let recorder = Recorder::start("one");
    let (proxy, _authority) = proxy(&recorder, "");
    // `R` asks OpenSSL to renegotiate.
    let said = crate::clients::s_client(proxy.address(), &["-tls1_2", "-servername", "a.example"], "");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    let mut child = Command::new("timeout")
        .args(["5", "openssl", "s_client", "-tls1_2", "-servername", "a.example", "-connect"])
        .arg(proxy.address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    let mut input = child.stdin.take().expect("its input");
    eventually("the handshake is done", || (handshakes(&proxy, "full") >= 2.0).then_some(()));
    std::io::Write::write_all(&mut input, b"R\n").expect("a command");
    let output = child.wait_with_output().expect("openssl ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no renegotiation") || said.contains("RENEGOTIATING"), "{said}");
    assert_eq!(handshakes(&proxy, "full"), 2.0);
}
