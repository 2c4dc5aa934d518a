//! A strict upstream: keeps every byte, reads it with [`crate::wire`], and judges what a proxy sent.
//!
//! Without a script it answers each request with an echo of what it saw. A script decides on the request's head, so
//! that early responses, informational ones and broken ones can be played as raw bytes.

mod session;

pub(crate) use session::hex;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::client::End;
use crate::wire::{Head, Request};

/// One thing a scripted upstream does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Read until the request is whole.
    Body,
    /// Send these bytes.
    Send(Vec<u8>),
    /// Read until the request is whole, then answer with the echo.
    Echo,
    /// Wait until the gate opens.
    Hold(Gate),
    /// Send back whatever comes, raw, until the peer ends its direction; then end ours.
    Tunnel,
    /// End our direction (FIN) and close.
    Finish,
    /// Reset the connection.
    Reset,
    /// Say nothing more; read until the peer ends the connection.
    Stall,
}

/// A gate that a test opens once.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody pass who waits or will wait.
    pub fn open(&self) {
        *self.0.0.lock().expect("gate") = true;
        self.0.1.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().expect("gate")
    }

    fn wait(&self) {
        let open = self.0.0.lock().expect("gate");
        drop(self.0.1.wait_while(open, |open| !*open).expect("gate"));
    }
}

/// A whole request as an upstream saw it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request.
    pub request: Request,
    /// Which accepted connection carried it, counted from 0.
    pub connection: usize,
}

/// What came over one connection.
#[derive(Debug, Default)]
struct Connection {
    bytes: Vec<u8>,
    end: Option<End>,
    stream: Option<TcpStream>,
}

type Script = dyn Fn(&Head) -> Vec<Step> + Send + Sync;

struct Shared {
    name: String,
    script: Box<Script>,
    connections: Mutex<Vec<Connection>>,
    requests: Mutex<Vec<Recorded>>,
    aborted: Mutex<Vec<Head>>,
    violations: Mutex<Vec<String>>,
}

/// A running upstream. Dropping it closes its listener and its connections.
pub struct Recorder {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Recorder")
            .field("name", &self.shared.name)
            .field("address", &self.address)
            .finish()
    }
}

impl Recorder {
    /// Starts an upstream on a free port that answers every request with the echo.
    pub fn start(name: &str) -> Self {
        Self::scripted(name, |_| vec![Step::Echo])
    }

    /// Starts an upstream on a free port that plays what `script` says for each request head.
    pub fn scripted(name: &str, script: impl Fn(&Head) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).expect("bind"), name, script)
    }

    /// The same on a listener of the caller's, for example one inside a network namespace.
    pub fn on(
        listener: TcpListener,
        name: &str,
        script: impl Fn(&Head) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            script: Box::new(script),
            connections: Mutex::default(),
            requests: Mutex::default(),
            aborted: Mutex::default(),
            violations: Mutex::default(),
        });
        let address = listener.local_addr().expect("the address of a bound listener");
        let listener = Arc::new(listener);
        let (accepting, state) = (Arc::clone(&listener), Arc::clone(&shared));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || session::serve(stream, &state));
            }
        });
        Self { address, listener, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whole requests until now, in order of completion.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// The whole request whose target is `target`; panics unless there is exactly one.
    pub fn request(&self, target: &str) -> Request {
        let requests = self.requests();
        let mut found: Vec<_> =
            requests.into_iter().filter(|one| one.request.head.target() == target).collect();
        assert_eq!(found.len(), 1, "requests for {target} at {}: {found:?}", self.shared.name);
        found.remove(0).request
    }

    /// Heads of requests whose connection ended before they were whole.
    pub fn aborted(&self) -> Vec<Head> {
        self.shared.aborted.lock().expect("aborted").clone()
    }

    /// What a strict peer objects to in the bytes that came.
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().expect("violations").clone()
    }

    /// The raw bytes of every connection, in order of acceptance.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        self.connections(|connection| connection.bytes.clone())
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.shared.connections.lock().expect("connections").len()
    }

    /// How many accepted connections the proxy has not ended.
    pub fn open_connections(&self) -> usize {
        self.connections(|connection| connection.end.is_none()).into_iter().filter(|open| *open).count()
    }

    /// How each connection ended, in order of acceptance; `None` while it is open.
    pub fn ends(&self) -> Vec<Option<End>> {
        self.connections(|connection| connection.end)
    }

    /// Sends raw bytes on every open connection, asked for or not.
    pub fn push(&self, bytes: &[u8]) {
        for stream in self.streams() {
            let _ = std::io::Write::write_all(&mut &stream, bytes);
        }
    }

    /// Closes every open connection, as an upstream with a short keep-alive does. The listener stays.
    pub fn close_connections(&self) {
        for stream in self.streams() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn streams(&self) -> Vec<TcpStream> {
        self.connections(|connection| match (&connection.end, &connection.stream) {
            (None, Some(stream)) => stream.try_clone().ok(),
            _ => None,
        })
        .into_iter()
        .flatten()
        .collect()
    }

    fn connections<T>(&self, read: impl Fn(&Connection) -> T) -> Vec<T> {
        self.shared.connections.lock().expect("connections").iter().map(read).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        self.close_connections();
    }
}
