//! An upstream that logs what reaches it and answers with content that can be checked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::load::content;
use crate::eventually::DEADLINE;
use crate::h2::{Asked, Play, Respond, Upstream, fields};
use crate::recorder::hex;
use crate::wire::{self, Parse, Request};

/// One line of an upstream's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The request's id.
    pub id: String,
    /// The routing key in its baggage.
    pub key: Option<String>,
    /// SHA-256 of its content, hexadecimal.
    pub digest: String,
}

#[derive(Default)]
struct Shared {
    name: String,
    seen: Mutex<Vec<Seen>>,
    violations: Mutex<Vec<String>>,
    in_work: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// A logging upstream. Dropping it closes its listener.
pub struct Backend {
    address: SocketAddr,
    serves: Serves,
    shared: Arc<Shared>,
}

enum Serves {
    Http1(Arc<TcpListener>),
    Http2(Upstream),
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Backend")
            .field("name", &self.shared.name)
            .field("address", &self.address)
            .finish()
    }
}

impl Backend {
    /// Starts an upstream on a free port.
    pub fn start(name: &str) -> Self {
        let listener = Arc::new(TcpListener::bind(("127.0.0.1", 0)).expect("bind"));
        let address = listener.local_addr().expect("the address of a bound listener");
        let shared = Arc::new(Shared { name: name.to_owned(), ..Shared::default() });
        let (accepting, state) = (Arc::clone(&listener), Arc::clone(&shared));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let state = Arc::clone(&state);
                state.streams.lock().expect("streams").extend(stream.try_clone());
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, serves: Serves::Http1(listener), shared }
    }

    /// Starts an upstream of HTTP/2 on a free port.
    pub fn start_http2(name: &str) -> Self {
        let shared = Arc::new(Shared { name: name.to_owned(), ..Shared::default() });
        let state = Arc::clone(&shared);
        let answer: Respond = Arc::new(move |asked| answer_http2(&state, asked));
        let upstream = Upstream::scripted(name, move |_| vec![Play::Then(Arc::clone(&answer))]);
        upstream.forget();
        Self { address: upstream.address(), serves: Serves::Http2(upstream), shared }
    }

    /// Goes away on every connection, if it speaks HTTP/2; new ones are served.
    pub fn go_away(&self) {
        if let Serves::Http2(upstream) = &self.serves {
            upstream.go_away();
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name, which its answers carry.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How long the log is since the last time it was taken.
    pub fn seen(&self) -> usize {
        self.shared.seen.lock().expect("seen").len()
    }

    /// The log since the last time it was taken.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().expect("seen"))
    }

    /// What a strict peer objects to, since the last time it was taken.
    pub fn take_violations(&self) -> Vec<String> {
        if let Serves::Http2(upstream) = &self.serves {
            return upstream.violations();
        }
        std::mem::take(&mut self.shared.violations.lock().expect("violations"))
    }

    /// Closes every open connection while the listener stays: the pooled ones of a proxy become stale.
    pub fn close_connections(&self) {
        if let Serves::Http2(upstream) = &self.serves {
            upstream.close_connections();
        }
        for stream in self.shared.streams.lock().expect("streams").drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How many requests are still half-received some time after the load has ended (0 when all are finished).
    pub fn wait_idle(&self) -> usize {
        let started = Instant::now();
        loop {
            let open = match &self.serves {
                Serves::Http1(_) => self.shared.in_work.load(Ordering::Acquire),
                Serves::Http2(upstream) => upstream.unfinished(),
            };
            if open == 0 || started.elapsed() > DEADLINE {
                return open;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Serves::Http1(listener) = &self.serves {
            let _ = rustix::net::shutdown(&**listener, rustix::net::Shutdown::Both);
        }
        self.close_connections();
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 32 * 1024];
    let mut begun = false;
    loop {
        match wire::request(&buffer) {
            Parse::Complete(request, used) => {
                buffer.drain(..used);
                if begun {
                    shared.in_work.fetch_sub(1, Ordering::AcqRel);
                    begun = false;
                }
                if stream.write_all(&answer(shared, &request)).is_err() {
                    return;
                }
                continue;
            }
            Parse::Malformed(why) => {
                shared.violations.lock().expect("violations").push(why);
                break;
            }
            Parse::Incomplete => {}
        }
        if !begun && !buffer.is_empty() {
            begun = true;
            shared.in_work.fetch_add(1, Ordering::AcqRel);
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => buffer.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    if begun {
        shared.in_work.fetch_sub(1, Ordering::AcqRel);
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// Logs a request and says the digest of its content.
fn note(shared: &Shared, id: &str, baggage: &[String], body: &[u8]) -> String {
    let digest = hex(&Sha256::digest(body));
    let key = baggage.iter().flat_map(|line| line.split(',')).find_map(|member| {
        member
            .trim()
            .strip_prefix("sd-routing-key=")
            .map(|key| key.split(';').next().unwrap_or_default().to_owned())
    });
    shared.seen.lock().expect("seen").push(Seen { id: id.to_owned(), key, digest: digest.clone() });
    digest
}

fn answer_http2(shared: &Shared, asked: &Asked) -> Vec<Play> {
    let id = asked.field("x-ledger-id").unwrap_or("none");
    let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
    let baggage: Vec<_> =
        asked.fields.iter().filter(|(name, _)| name == b"baggage").map(|(_, value)| text(value)).collect();
    let digest = note(shared, id, &baggage, &asked.body);
    let size = asked.field("x-answer-bytes").and_then(|size| size.parse().ok()).unwrap_or(0_usize);
    let body = content(id, size);
    let length = size.to_string();
    let mut head = vec![
        (":status", "200"),
        ("x-backend", &shared.name),
        ("x-ledger-id", id),
        ("x-request-sha256", &digest),
    ];
    let told = size.is_multiple_of(2);
    if told {
        head.push(("content-length", &length));
    }
    let head = fields(&head);
    if asked.field(":method") == Some("HEAD") {
        return vec![Play::Head(head, true)];
    }
    let mut plays = vec![Play::Head(head, false), Play::Data(body, told)];
    if !told {
        plays.push(Play::Trailers(fields(&[("x-ledger-trailer", id)])));
    }
    plays
}

fn answer(shared: &Shared, request: &Request) -> Vec<u8> {
    let id = request.field("x-ledger-id").unwrap_or("none").to_owned();
    let digest = note(shared, &id, &request.head.values("baggage"), &request.body);
    let size = request.field("x-answer-bytes").and_then(|size| size.parse().ok()).unwrap_or(0_usize);
    let body = content(&id, size);
    let head = format!(
        "HTTP/1.1 200 OK\r\nX-Backend: {}\r\nX-Ledger-Id: {id}\r\nX-Request-Sha256: {digest}\r\nX-Sha256: {}\r\n",
        shared.name,
        hex(&Sha256::digest(&body))
    );
    let mut bytes = head.into_bytes();
    if size.is_multiple_of(2) {
        bytes.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
        if request.head.method() != "HEAD" {
            bytes.extend_from_slice(&body);
        }
        return bytes;
    }
    bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    if request.head.method() != "HEAD" {
        for piece in body.chunks(1000) {
            bytes.extend_from_slice(&wire::chunk(piece));
        }
        bytes.extend_from_slice(&wire::chunk(b""));
        bytes.extend_from_slice(format!("X-Ledger-Trailer: {id}\r\n\r\n").as_bytes());
    }
    bytes
}
