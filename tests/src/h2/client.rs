//! A client that says what it is told and keeps what comes on each of its streams.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::connection::{Connection, Event, Manners};
use super::{Finish, field, request};
use crate::client::End;
use crate::eventually::DEADLINE;
use crate::wire::frame::{self, Frame};
use crate::wire::hpack::Pair;

/// What came on a stream until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Informational heads, in order.
    pub informational: Vec<Vec<Pair>>,
    /// The status of the final response, 0 before it.
    pub status: u16,
    /// Fields of the final response.
    pub fields: Vec<Pair>,
    /// Content.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Vec<Pair>,
    /// How the stream ended, if it did.
    pub end: Option<Finish>,
}

impl Answer {
    /// The first value of a field of the final response.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// The content as text, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is whole and the proxy's own.
    pub fn local(&self) -> bool {
        self.field("x-spurline-reason").is_some()
    }

    /// `grpc-status`, wherever it stands.
    pub fn grpc_status(&self) -> Option<&str> {
        field(&self.trailers, "grpc-status").or_else(|| self.field("grpc-status"))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    next: u32,
    answers: HashMap<u32, Answer>,
    goaways: Vec<(u32, u32)>,
    settings: Vec<(u16, u32)>,
    settings_acks: usize,
    pongs: Vec<Vec<u8>>,
    end: Option<End>,
}

impl Client {
    /// Connects and sends the preface, or panics.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with(address, &[], Manners::default())
    }

    /// The same with settings and manners of one's own.
    pub fn with(address: SocketAddr, settings: &[(u16, u32)], manners: Manners) -> Self {
        Self::try_with(address, settings, manners)
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// The same where the connection may be refused.
    pub fn try_with(address: SocketAddr, settings: &[(u16, u32)], manners: Manners) -> std::io::Result<Self> {
        let mut client = Self::silent(address, settings, manners)?;
        client.connection.write(&[frame::PREFACE, &frame::settings(settings).bytes()].concat())?;
        Ok(client)
    }

    /// Connects and says nothing, not even the preface.
    pub fn silent(address: SocketAddr, settings: &[(u16, u32)], manners: Manners) -> std::io::Result<Self> {
        let connection = Connection::new(TcpStream::connect_timeout(&address, DEADLINE)?, manners, settings);
        let (next, end) = (1, None);
        let (answers, goaways, settings, pongs) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { connection, next, answers, goaways, settings, settings_acks: 0, pongs, end })
    }

    /// The id of the stream that is opened next.
    pub fn next_stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Sends raw bytes; an error is returned because the peer may have ended the connection.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.connection.write(bytes)
    }

    /// Sends a frame; that the peer has ended the connection is found out by reading.
    pub fn send(&mut self, frame: &Frame) -> &mut Self {
        let _ = self.connection.send(frame);
        self
    }

    /// Opens a stream with these fields.
    pub fn open(&mut self, fields: &[Pair], end: bool) -> u32 {
        let stream = self.next_stream();
        let _ = self.connection.send_head(stream, fields, end);
        stream
    }

    /// Asks for `target` with more fields.
    pub fn get(&mut self, target: &str, more: &[(&str, &str)]) -> u32 {
        self.open(&request("GET", target, more), true)
    }

    /// Asks and reads the answer.
    pub fn exchange(&mut self, target: &str, more: &[(&str, &str)]) -> Answer {
        let stream = self.get(target, more);
        self.answer(stream)
    }

    /// Posts content.
    pub fn post(&mut self, target: &str, more: &[(&str, &str)], body: &[u8]) -> u32 {
        let stream = self.open(&request("POST", target, more), false);
        self.data(stream, body, true);
        stream
    }

    /// Sends content as the windows have room for it.
    pub fn data(&mut self, stream: u32, mut bytes: &[u8], end: bool) {
        loop {
            match self.connection.send_data(stream, bytes, end) {
                Ok(sent) if sent < bytes.len() => bytes = &bytes[sent..],
                _ => return,
            }
            while self.connection.room(stream) == 0 {
                let over = self.answers.get(&stream).is_some_and(|answer| answer.end.is_some());
                if over || !self.read() {
                    return;
                }
            }
        }
    }

    /// Reads until the windows have room for so much content. False if that does not come to be.
    pub fn wait_for_room(&mut self, stream: u32, bytes: usize) -> bool {
        while self.connection.room(stream) < bytes {
            if !self.read() {
                return false;
            }
        }
        true
    }

    /// Counts content that was sent as frames of one's own, so that the windows stay right.
    pub fn sent(&mut self, stream: u32, bytes: usize) {
        self.connection.charge(stream, bytes);
    }

    /// Ends a request with trailers.
    pub fn trailers(&mut self, stream: u32, fields: &[Pair]) {
        let _ = self.connection.send_head(stream, fields, true);
    }

    /// Gives a request up.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(&frame::reset(stream, code));
    }

    /// What came on a stream, once it has ended.
    pub fn answer(&mut self, stream: u32) -> Answer {
        self.wait_for(stream, |answer| answer.end.is_some())
    }

    /// The same, and forgets it.
    pub fn take(&mut self, stream: u32) -> Answer {
        let answer = self.answer(stream);
        self.answers.remove(&stream);
        answer
    }

    /// What came on a stream, once its final head has come or it has ended.
    pub fn head(&mut self, stream: u32) -> Answer {
        self.wait_for(stream, |answer| answer.status != 0)
    }

    /// What came on a stream, once `enough` says so or nothing more will come.
    pub fn wait_for(&mut self, stream: u32, enough: impl Fn(&Answer) -> bool) -> Answer {
        loop {
            let done = self.answers.get(&stream).is_some_and(|answer| answer.end.is_some() || enough(answer));
            if done {
                return self.peek(stream);
            }
            if !self.read() {
                let end = self.end.unwrap_or(End::Timeout);
                return Answer { end: Some(Finish::Lost(end)), ..self.peek(stream) };
            }
        }
    }

    /// What came on a stream until now.
    pub fn peek(&self, stream: u32) -> Answer {
        self.answers.get(&stream).cloned().unwrap_or_default()
    }

    /// Reads on until the peer has acknowledged our settings, so that all it sent before is known.
    pub fn settle(&mut self) {
        while self.settings_acks == 0 && self.read() {}
    }

    /// Pings and reads on until the answer comes: whether it came.
    pub fn ping(&mut self) -> bool {
        let data = u64::from(self.next).to_be_bytes();
        self.send(&frame::ping(data));
        while !self.pongs.iter().any(|pong| *pong == data) {
            if !self.read() {
                return false;
            }
        }
        self.pongs.clear();
        true
    }

    /// The first `GOAWAY` with its last stream and code, once one has come.
    pub fn goaway(&mut self) -> Option<(u32, u32)> {
        while self.goaways.is_empty() && self.read() {}
        self.goaways.first().copied()
    }

    /// Reads until the connection has ended.
    pub fn to_end(&mut self) -> End {
        while self.read() {}
        self.end.unwrap_or(End::Timeout)
    }

    /// Every `GOAWAY` that came.
    pub fn goaways(&self) -> &[(u32, u32)] {
        &self.goaways
    }

    /// What the peer announced.
    pub fn settings(&self) -> &[(u16, u32)] {
        &self.settings
    }

    /// What a strict peer objects to.
    pub fn violations(&self) -> &[String] {
        &self.connection.violations
    }

    /// Replaces how long it waits for something to come, which is [`DEADLINE`] at first.
    pub fn patience(&mut self, timeout: Duration) -> &mut Self {
        self.connection.patience(timeout);
        self
    }

    /// Whether the connection still stands, as far as is known.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Our own address.
    pub fn local_address(&self) -> SocketAddr {
        self.connection.socket().local_addr().expect("a local address")
    }

    /// Shrinks the receive buffer, so that a client which does not read is felt early.
    pub fn receive_buffer(&mut self, bytes: usize) {
        socket2::SockRef::from(self.connection.socket())
            .set_recv_buffer_size(bytes)
            .expect("a receive buffer");
    }

    /// A second handle to the same socket, to send from another thread.
    pub fn writer(&self) -> TcpStream {
        self.connection.socket().try_clone().expect("clone a socket")
    }

    /// Reads one thing: whether there was one. That nothing came in time is no end.
    pub fn read(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.connection.next() {
            Ok(event) => self.take_in(event),
            Err(End::Timeout) => return false,
            Err(end) => {
                self.end = Some(end);
                return false;
            }
        }
        true
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Head { stream, fields, end } => self.take_head(stream, fields, end),
            Event::Data { stream, bytes, end } => {
                let answer = self.answers.entry(stream).or_default();
                let late = answer.end.is_some() || answer.status == 0;
                answer.body.extend_from_slice(&bytes);
                if end {
                    answer.end = Some(Finish::Whole);
                }
                if late {
                    self.connection.object(format!("data where none may be, on stream {stream}"));
                }
                self.judge_length(stream);
            }
            Event::Reset { stream, code } => {
                let answer = self.answers.entry(stream).or_default();
                answer.end.get_or_insert(Finish::Reset(code));
            }
            Event::GoAway { last, code } => self.goaways.push((last, code)),
            Event::Settings(values) => self.settings = values,
            Event::SettingsAck => self.settings_acks += 1,
            Event::Ping { data, ack: true } => self.pongs.push(data),
            Event::Ping { .. } | Event::Other => {}
        }
    }

    fn take_head(&mut self, stream: u32, mut fields: Vec<Pair>, end: bool) {
        let answer = self.answers.entry(stream).or_default();
        let trailers = answer.status != 0;
        let late = answer.end.is_some();
        self.connection.judge(&fields, trailers);
        if late {
            self.connection.object(format!("a head after the end of stream {stream}"));
        }
        if end {
            answer.end.get_or_insert(Finish::Whole);
        }
        if trailers {
            answer.trailers = fields;
        } else {
            let status = field(&fields, ":status").and_then(|status| status.parse().ok()).unwrap_or(0);
            fields.retain(|(name, _)| name.first() != Some(&b':'));
            if (100..200).contains(&status) {
                answer.informational.push(fields);
            } else {
                (answer.status, answer.fields) = (status, fields);
            }
        }
        self.judge_length(stream);
    }

    /// `content-length` is what came, in an answer with content.
    fn judge_length(&mut self, stream: u32) {
        let Some(answer) = self.answers.get(&stream) else { return };
        let told = answer.field("content-length").and_then(|length| length.parse::<usize>().ok());
        let wrong = told.is_some_and(|told| told != answer.body.len() && !answer.body.is_empty());
        if answer.end == Some(Finish::Whole) && wrong {
            let came = answer.body.len();
            self.connection.object(format!("{told:?} bytes were told and {came} came"));
        }
    }
}
