//! A peer that lets nothing pass (RFC 9113): the state of every stream, the windows both ways, and the order of frames.

use std::collections::{BTreeMap, VecDeque};

use spurline_http::h2::{Role, Settings};

#[path = "../hpack/model.rs"]
mod model;

use super::peer::Peer;
use model::Model;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const INITIAL_WINDOW: i64 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data = 0,
    Headers = 1,
    Reset = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
}

/// What is written on a stream next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Head,
    Body,
    Ended,
}

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    /// Nothing may be written on it but that the peer goes on all the same (RFC 9113 section 5.1).
    ByPeer,
    /// Nothing may be written on it.
    ByUs,
}

#[derive(Debug)]
struct Stream {
    sending: Sending,
    /// Data that may still be sent.
    window: i64,
    /// Bytes of data that came and were not given back.
    taken: i64,
    gone: Gone,
}

/// What the peer has allowed since it was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    window: i64,
    frame_bytes: usize,
    table_bytes: usize,
}

#[derive(Debug)]
pub struct Judge {
    role: Role,
    streams: BTreeMap<u32, Stream>,
    allowed: Allowed,
    /// SETTINGS that are not acknowledged.
    settings: VecDeque<Vec<u8>>,
    pings: usize,
    window: i64,
    taken: i64,
    stream_window: i64,
    connection_window: i64,
    /// What may be given back beyond what was taken, once: the window of the connection is raised at the start.
    raise: i64,
    table: Model,
    /// The header block that is not complete: its stream, whether it ends that, and its bytes.
    block: Option<(u32, bool, Vec<u8>)>,
    last: u32,
    has_preface: bool,
    has_left: bool,
    is_left: bool,
}

// === impl Judge ===

impl Judge {
    pub fn new(role: Role, ours: &Settings) -> Self {
        Self {
            role,
            streams: BTreeMap::new(),
            allowed: Allowed { window: INITIAL_WINDOW, frame_bytes: 16_384, table_bytes: 4096 },
            settings: VecDeque::new(),
            pings: 0,
            window: INITIAL_WINDOW,
            taken: 0,
            stream_window: i64::from(ours.stream_window_bytes),
            connection_window: INITIAL_WINDOW.max(ours.connection_window_bytes.into()),
            raise: (i64::from(ours.connection_window_bytes) - INITIAL_WINDOW).max(0),
            table: Model::new(4096),
            block: None,
            last: u32::MAX,
            has_preface: role == Role::Server,
            has_left: false,
            is_left: false,
        }
    }

    /// Notes a whole frame of the peer's that was taken.
    pub fn received(&mut self, frame: &[u8]) {
        let (kind, flags, id, payload) = split(frame);
        match kind {
            0 => {
                self.taken += payload.len() as i64;
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.taken += payload.len() as i64;
                }
            }
            1 if self.role == Role::Server && !self.streams.contains_key(&id) => {
                self.insert(id, Sending::Head);
            }
            3 => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.gone = Gone::ByPeer;
                }
            }
            4 if flags & 1 == 0 => self.settings.push_back(payload.to_vec()),
            6 if flags & 1 == 0 => self.pings += 1,
            7 => self.is_left = true,
            8 => {
                let increment = i64::from(number(payload) & 0x7fff_ffff);
                match self.streams.get_mut(&id) {
                    _ if id == 0 => self.window += increment,
                    Some(stream) => stream.window += increment,
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn insert(&mut self, id: u32, sending: Sending) {
        let stream = Stream { sending, window: self.allowed.window, taken: 0, gone: Gone::No };
        self.streams.insert(id, stream);
    }

    /// Bytes of data that the peer may send on a stream.
    pub fn room(&self, id: u32) -> usize {
        let room = self.streams.get(&id).map_or(0, |stream| self.stream_window - stream.taken);
        usize::try_from(room.min(INITIAL_WINDOW - self.taken)).unwrap_or(0)
    }

    /// Judges what was written, and tells the peer.
    pub fn written(&mut self, mut output: &[u8], peer: &mut Peer) {
        if !self.has_preface {
            output = output.strip_prefix(PREFACE).expect("a client starts with it");
            self.has_preface = true;
        }
        while let [l1, l2, l3, ..] = output {
            let length = u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
            let (frame, rest) = output.split_at_checked(9 + length).expect("frames are whole");
            output = rest;
            self.judge(frame);
            match split(frame) {
                (1, _, id, _) => peer.opened(id),
                (3, _, id, _) => peer.reset(id),
                _ => {}
            }
        }
        assert!(output.is_empty());
        assert!(self.block.is_none(), "a header block is written whole");
    }

    fn judge(&mut self, frame: &[u8]) {
        let (kind, flags, id, payload) = split(frame);
        assert!(payload.len() <= self.allowed.frame_bytes, "a frame has {} bytes", payload.len());
        assert!(self.block.is_none() || kind == 9, "a header block is interrupted by a {kind}");
        match self.streams.get(&id).map_or(Gone::No, |stream| stream.gone) {
            Gone::No => {}
            Gone::ByPeer => assert_eq!(kind, 3, "on {id}, which is gone"),
            Gone::ByUs => panic!("a {kind} on {id}, which is gone"),
        }
        match kind {
            0 => self.data(id, flags, payload),
            1 => {
                self.block = Some((id, flags & 1 != 0, payload.to_vec()));
                self.end_block(flags);
            }
            9 => {
                let (of, _, block) = self.block.as_mut().expect("it continues something");
                assert_eq!(*of, id);
                block.extend(payload);
                self.end_block(flags);
            }
            3 => {
                assert!(payload.len() == 4 && id > 0);
                // The peer may have meant to open it.
                let stream = Stream { sending: Sending::Ended, window: 0, taken: 0, gone: Gone::ByUs };
                self.streams.entry(id).and_modify(|stream| stream.gone = Gone::ByUs).or_insert(stream);
            }
            4 if flags & 1 != 0 => self.acknowledged(),
            4 => assert!(id == 0 && payload.len() % 6 == 0),
            6 => {
                assert!(id == 0 && payload.len() == 8);
                if flags & 1 != 0 {
                    self.pings = self.pings.checked_sub(1).expect("it answers a ping");
                }
            }
            7 => {
                assert!(id == 0 && payload.len() == 8);
                let last = number(payload);
                assert!(last <= self.last, "GOAWAY takes more streams than before");
                (self.last, self.has_left) = (last, true);
            }
            8 => self.given_back(id, i64::from(number(payload))),
            _ => panic!("nobody asked for a frame of type {kind}"),
        }
    }

    fn data(&mut self, id: u32, flags: u8, payload: &[u8]) {
        let stream = self.streams.get_mut(&id).expect("data is on a stream");
        assert_eq!(stream.sending, Sending::Body, "data on {id}");
        assert!(!payload.is_empty() || flags & 1 != 0, "a frame of nothing");
        let bytes = payload.len() as i64;
        if bytes > 0 {
            stream.window -= bytes;
            self.window -= bytes;
            assert!(stream.window >= 0, "{} more than the window of {id}", -stream.window);
            assert!(self.window >= 0, "{} more than the window", -self.window);
        }
        if flags & 1 != 0 {
            stream.sending = Sending::Ended;
        }
    }

    fn end_block(&mut self, flags: u8) {
        if flags & 4 == 0 {
            return;
        }
        let (id, ends, block) = self.block.take().expect("it was begun");
        let fields = self.table.decode(&block, usize::MAX).expect("what is sent is HPACK");
        assert!(self.table.size() <= self.allowed.table_bytes, "the table is overrun");
        let status = fields.iter().find(|field| field.name == b":status");
        if self.role == Role::Client && !self.streams.contains_key(&id) {
            assert!(!self.is_left && !self.has_left, "a request after the end");
            assert!(id % 2 == 1 && self.streams.keys().all(|earlier| *earlier < id));
            assert!(fields.iter().any(|field| field.name == b":method"));
            self.insert(id, Sending::Head);
        }
        let stream = self.streams.get_mut(&id).expect("a head is on a stream");
        let is_interim = status.is_some_and(|status| status.value.starts_with(b"1"));
        match stream.sending {
            Sending::Head if is_interim => return assert!(!ends, "an interim head ends {id}"),
            Sending::Head => stream.sending = Sending::Body,
            Sending::Body => assert!(ends && status.is_none(), "trailers end {id}"),
            Sending::Ended => panic!("a head on {id}, which has ended"),
        }
        if ends {
            stream.sending = Sending::Ended;
        }
    }

    /// The oldest settings hold from now on (RFC 9113 section 6.5.3).
    fn acknowledged(&mut self) {
        let settings = self.settings.pop_front().expect("there are settings to acknowledge");
        for setting in settings.chunks_exact(6) {
            let value = number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                1 => self.allowed.table_bytes = value as usize,
                4 => {
                    let shift = i64::from(value) - self.allowed.window;
                    self.allowed.window += shift;
                    self.streams.values_mut().for_each(|stream| stream.window += shift);
                }
                5 => self.allowed.frame_bytes = value as usize,
                _ => {}
            }
        }
    }

    fn given_back(&mut self, id: u32, increment: i64) {
        assert!(increment > 0);
        if id > 0 {
            let stream = self.streams.get_mut(&id).expect("a window is of a stream");
            stream.taken -= increment;
            return assert!(stream.taken >= 0, "more is given back than was taken on {id}");
        }
        self.taken -= increment;
        if self.taken < 0 {
            self.raise += self.taken;
            self.taken = 0;
            assert!(self.raise >= 0, "more is given back than was taken");
        }
    }

    /// The peer was told that it broke the protocol.
    pub fn assert_failed(&self) {
        assert!(self.has_left);
    }

    /// Nothing that the peer asked for is left, nor data that it has not got back; up to half of the window may wait to be
    /// announced.
    pub fn assert_all_is_answered(&self) {
        assert!(self.taken <= self.connection_window / 2, "{} are not given back", self.taken);
        assert!(self.settings.is_empty(), "{:?} are not acknowledged", self.settings);
        assert_eq!(self.pings, 0, "pings are not answered");
    }
}

fn split(frame: &[u8]) -> (u8, u8, u32, &[u8]) {
    let (header, payload) = frame.split_at(9);
    (header[3], header[4], number(&header[5..]) & 0x7fff_ffff, payload)
}

fn number(payload: &[u8]) -> u32 {
    let bytes = payload.first_chunk().expect("it holds a number");
    u32::from_be_bytes(*bytes)
}
