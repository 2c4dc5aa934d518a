//! An upstream that keeps what it is asked and plays what a script says.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::connection::{Connection, Event, Manners};
use super::{Finish, field, fields};
use crate::client::End;
use crate::recorder::{Gate, hex};
use crate::wire::frame::{self, Frame};
use crate::wire::hpack::Pair;

/// One thing a scripted upstream does on a stream.
#[derive(Clone)]
pub enum Play {
    /// Wait until the request is whole.
    Body,
    /// Send a head, which ends the stream if told to.
    Head(Vec<Pair>, bool),
    /// Send content as the windows have room for it; it ends the stream if told to.
    Data(Vec<u8>, bool),
    /// End the stream with trailers.
    Trailers(Vec<Pair>),
    /// Wait until the request is whole, then answer with what it was.
    Echo,
    /// Wait until the request is whole, then play what this says of it.
    Then(Respond),
    /// Send back whatever comes until the peer ends the stream; then end it.
    Tunnel,
    /// Wait until the gate opens.
    Hold(Gate),
    /// Reset the stream.
    Reset(u32),
    /// Send a frame of any kind.
    Frame(Frame),
    /// End the connection.
    Close,
}

impl std::fmt::Debug for Play {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Play")
    }
}

/// What came on a stream.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Which accepted connection carried it, counted from 0.
    pub connection: usize,
    /// Its stream.
    pub stream: u32,
    /// Its head.
    pub fields: Vec<Pair>,
    /// Its content until now.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<Pair>,
    /// How the peer's side ended, if it did.
    pub end: Option<Finish>,
}

impl Asked {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// `:path`.
    pub fn target(&self) -> &str {
        self.field(":path").unwrap_or_default()
    }
}

/// What to play for a request that is whole.
pub type Respond = Arc<Script>;

type Script = dyn Fn(&Asked) -> Vec<Play> + Send + Sync;

struct Shared {
    name: String,
    script: Box<Script>,
    settings: Mutex<Vec<(u16, u32)>>,
    manners: Manners,
    asked: Mutex<Vec<Asked>>,
    /// Connections before this one are to go away.
    leaving: AtomicUsize,
    /// Whether content is forgotten once it is answered.
    forgets: AtomicBool,
    sockets: Mutex<Vec<Option<TcpStream>>>,
    goaways: Mutex<Vec<(u32, u32)>>,
    pings: Mutex<usize>,
    violations: Mutex<Vec<String>>,
}

/// A running upstream. Dropping it closes its listener and its connections.
pub struct Upstream {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstream").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Answers every request with the echo.
    pub fn start(name: &str) -> Self {
        Self::scripted(name, |_| vec![Play::Echo])
    }

    /// Plays what `script` says for the head of each request.
    pub fn scripted(name: &str, script: impl Fn(&Asked) -> Vec<Play> + Send + Sync + 'static) -> Self {
        Self::with(name, &[], Manners::default(), script)
    }

    /// The same with settings and manners of one's own.
    pub fn with(
        name: &str,
        settings: &[(u16, u32)],
        manners: Manners,
        script: impl Fn(&Asked) -> Vec<Play> + Send + Sync + 'static,
    ) -> Self {
        let listener = Arc::new(TcpListener::bind(("127.0.0.1", 0)).expect("bind"));
        let address = listener.local_addr().expect("the address of a bound listener");
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            script: Box::new(script),
            settings: Mutex::new(settings.to_vec()),
            manners,
            asked: Mutex::default(),
            leaving: AtomicUsize::new(0),
            forgets: AtomicBool::new(false),
            sockets: Mutex::default(),
            goaways: Mutex::default(),
            pings: Mutex::default(),
            violations: Mutex::default(),
        });
        let (accepting, state) = (Arc::clone(&listener), Arc::clone(&shared));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, listener, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that was asked until now, in order of its heads.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("asked").clone()
    }

    /// The one request for `target`; panics unless there is exactly one.
    pub fn request(&self, target: &str) -> Asked {
        let mut found = self.asked();
        found.retain(|one| one.target() == target);
        assert_eq!(found.len(), 1, "requests for {target} at {}: {found:?}", self.shared.name);
        found.remove(0)
    }

    /// What it announces on connections that it accepts from here on.
    pub fn announce(&self, settings: &[(u16, u32)]) {
        *self.shared.settings.lock().expect("settings") = settings.to_vec();
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.shared.sockets.lock().expect("sockets").len()
    }

    /// How many accepted connections have not ended.
    pub fn open_connections(&self) -> usize {
        self.shared.sockets.lock().expect("sockets").iter().flatten().count()
    }

    /// Every `GOAWAY` that came.
    pub fn goaways(&self) -> Vec<(u32, u32)> {
        self.shared.goaways.lock().expect("goaways").clone()
    }

    /// How many pings came.
    pub fn pings(&self) -> usize {
        *self.shared.pings.lock().expect("pings")
    }

    /// What a strict peer objects to.
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().expect("violations").clone()
    }

    /// Forgets content from here on once it is answered.
    pub fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Release);
    }

    /// How many requests are only half there.
    pub fn unfinished(&self) -> usize {
        self.shared.asked.lock().expect("asked").iter().filter(|one| one.end.is_none()).count()
    }

    /// Every connection goes away as soon as it hears of it: what it has begun ends, what comes later is not begun.
    pub fn go_away(&self) {
        self.shared.leaving.store(self.accepted(), Ordering::Release);
    }

    /// Sends a frame on every open connection.
    pub fn push(&self, frame: &Frame) {
        for socket in self.shared.sockets.lock().expect("sockets").iter().flatten() {
            let _ = (&*socket).write_all(&frame.bytes());
        }
    }

    /// Closes every open connection. The listener stays.
    pub fn close_connections(&self) {
        for socket in self.shared.sockets.lock().expect("sockets").iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        self.close_connections();
    }
}

/// A stream that is being answered.
struct Stream {
    /// Its place among all that was asked.
    at: usize,
    plays: VecDeque<Play>,
    /// What of a tunnel was sent back.
    returned: usize,
    /// Whether our side has ended.
    answered: bool,
}

struct Session<'a> {
    connection: Connection,
    shared: &'a Shared,
    number: usize,
    streams: BTreeMap<u32, Stream>,
    /// The last stream that was begun.
    last: u32,
    goes: bool,
}

fn serve(stream: TcpStream, shared: &Shared) {
    let settings = shared.settings.lock().expect("settings").clone();
    let number = {
        let mut sockets = shared.sockets.lock().expect("sockets");
        sockets.push(stream.try_clone().ok());
        sockets.len() - 1
    };
    let connection = Connection::new(stream, shared.manners, &settings);
    let mut session = Session { connection, shared, number, streams: BTreeMap::new(), last: 0, goes: false };
    let end = session.run(&settings);
    let mut asked = shared.asked.lock().expect("asked");
    for one in asked.iter_mut().filter(|one| one.connection == number) {
        one.end.get_or_insert(Finish::Lost(end));
    }
    drop(asked);
    shared.violations.lock().expect("violations").append(&mut session.connection.violations);
    let _ = session.connection.socket().shutdown(Shutdown::Both);
    shared.sockets.lock().expect("sockets")[number] = None;
}

impl Session<'_> {
    fn run(&mut self, settings: &[(u16, u32)]) -> End {
        if let Err(end) = self.connection.read_preface() {
            return end;
        }
        let _ = self.connection.send(&frame::settings(settings));
        loop {
            // A gate opens without a frame to tell of it.
            let held = self.streams.values().any(|one| matches!(one.plays.front(), Some(Play::Hold(_))));
            self.connection.patience(Duration::from_millis(if held { 5 } else { 1000 }));
            match self.connection.next() {
                Ok(event) => self.take_in(event),
                Err(End::Timeout) => {}
                Err(end) => return end,
            }
            if !self.goes && self.number < self.shared.leaving.load(Ordering::Acquire) {
                self.goes = true;
                let _ = self.connection.send(&frame::goaway(self.last, frame::NO_ERROR));
            }
            let open: Vec<u32> = self.streams.keys().copied().collect();
            for stream in open {
                while let Some(progress) = self.play(stream) {
                    if !progress {
                        return End::Fin;
                    }
                }
                self.finish(stream);
            }
            if self.goes && self.streams.is_empty() {
                // What the peer has sent meanwhile is read, or it would be answered with a reset.
                let _ = self.connection.socket().shutdown(Shutdown::Write);
            }
            let found = std::mem::take(&mut self.connection.violations);
            self.shared.violations.lock().expect("violations").extend(found);
        }
    }

    /// Forgets a stream that has ended on both sides.
    fn finish(&mut self, stream: u32) {
        let Some(one) = self.streams.get(&stream).filter(|one| one.answered) else { return };
        let mut asked = self.shared.asked.lock().expect("asked");
        if asked[one.at].end.is_some() {
            if self.shared.forgets.load(Ordering::Acquire) {
                asked[one.at].body = Vec::new();
            }
            drop(asked);
            self.streams.remove(&stream);
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Head { stream, fields, end } => match self.streams.get(&stream).map(|one| one.at) {
                None => self.begin(stream, fields, end),
                Some(at) => {
                    self.connection.judge(&fields, true);
                    if !end {
                        self.connection.object("trailers that end nothing".to_owned());
                    }
                    let mut asked = self.shared.asked.lock().expect("asked");
                    asked[at].trailers = fields;
                    asked[at].end = Some(Finish::Whole);
                }
            },
            Event::Data { stream, bytes, end } => {
                let Some(one) = self.streams.get(&stream) else { return };
                let mut asked = self.shared.asked.lock().expect("asked");
                let asked = &mut asked[one.at];
                if asked.end.is_some() {
                    self.connection.violations.push(format!("data after the end of stream {stream}"));
                }
                asked.body.extend_from_slice(&bytes);
                if end {
                    asked.end = Some(Finish::Whole);
                }
            }
            Event::Reset { stream, code } => {
                if let Some(one) = self.streams.remove(&stream) {
                    self.shared.asked.lock().expect("asked")[one.at].end = Some(Finish::Reset(code));
                }
            }
            Event::GoAway { last, code } => {
                self.shared.goaways.lock().expect("goaways").push((last, code));
            }
            Event::Ping { ack: false, .. } => *self.shared.pings.lock().expect("pings") += 1,
            Event::Ping { .. } | Event::Settings(_) | Event::SettingsAck | Event::Other => {}
        }
    }

    fn begin(&mut self, stream: u32, fields: Vec<Pair>, end: bool) {
        if self.goes && stream > self.last {
            return;
        }
        if stream.is_multiple_of(2) || stream <= self.last {
            self.connection.object(format!("a head on stream {stream} after {}", self.last));
            return;
        }
        self.last = stream;
        self.connection.judge(&fields, false);
        let end = end.then_some(Finish::Whole);
        let one = Asked { connection: self.number, stream, fields, end, ..Asked::default() };
        let plays = (self.shared.script)(&one).into();
        let mut asked = self.shared.asked.lock().expect("asked");
        asked.push(one);
        self.streams.insert(stream, Stream { at: asked.len() - 1, plays, returned: 0, answered: false });
    }

    /// Plays one step: `None` when it has to wait or there is none, `Some(false)` when the connection is to end.
    fn play(&mut self, stream: u32) -> Option<bool> {
        let one = self.streams.get_mut(&stream)?;
        let at = one.at;
        let step = one.plays.pop_front()?;
        let asked = || self.shared.asked.lock().expect("asked")[at].clone();
        let whole = || self.shared.asked.lock().expect("asked")[at].end == Some(Finish::Whole);
        match &step {
            Play::Hold(gate) if !gate.is_open() => one.plays.push_front(step),
            Play::Body | Play::Echo | Play::Then(_) if !whole() => one.plays.push_front(step),
            Play::Hold(_) | Play::Body => return Some(true),
            Play::Echo => {
                one.plays = echo(&self.shared.name, &asked()).into();
                return Some(true);
            }
            Play::Then(script) => {
                one.plays = script(&asked()).into();
                return Some(true);
            }
            Play::Head(fields, end) => {
                one.answered |= *end;
                let _ = self.connection.send_head(stream, fields, *end);
                return Some(true);
            }
            Play::Trailers(fields) => {
                one.answered = true;
                let _ = self.connection.send_head(stream, fields, true);
                return Some(true);
            }
            Play::Data(bytes, end) => {
                let sent = self.connection.send_data(stream, bytes, *end).unwrap_or(bytes.len());
                if sent == bytes.len() {
                    one.answered |= *end;
                    return Some(true);
                }
                one.plays.push_front(Play::Data(bytes[sent..].to_vec(), *end));
            }
            Play::Tunnel => {
                let asked = asked();
                let end = asked.end == Some(Finish::Whole);
                let rest = &asked.body[one.returned..];
                if end || !rest.is_empty() {
                    let sent = self.connection.send_data(stream, rest, end).unwrap_or(rest.len());
                    one.returned += sent;
                    if end && sent == rest.len() {
                        one.answered = true;
                        return Some(true);
                    }
                }
                one.plays.push_front(step);
            }
            Play::Reset(code) => {
                one.answered = true;
                let _ = self.connection.send(&frame::reset(stream, *code));
                return Some(true);
            }
            Play::Frame(frame) => {
                let _ = self.connection.send(frame);
                return Some(true);
            }
            Play::Close => return Some(false),
        }
        None
    }
}

/// The echo of a request, as [`crate::Recorder`] has it.
fn echo(name: &str, asked: &Asked) -> Vec<Play> {
    let method = asked.field(":method").unwrap_or_default();
    let id = asked.field("x-id").unwrap_or("-");
    let text = format!("{name} {method} {} {id} {}\n", asked.target(), asked.body.len());
    let (length, digest) = (text.len().to_string(), hex(&Sha256::digest(&asked.body)));
    let head = [
        (":status", "200"),
        ("content-length", &length),
        ("x-backend", name),
        ("x-id", id),
        ("x-sha256", &digest),
    ];
    let head = fields(&head);
    if method == "HEAD" {
        return vec![Play::Head(head, true)];
    }
    vec![Play::Head(head, false), Play::Data(text.into_bytes(), true)]
}
