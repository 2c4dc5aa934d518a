//! One exchange over a connection of HTTP/2, both ends of it in memory. Together the ends do what a proxy does with its two
//! connections: receive and send a request, receive and send a response.

use std::{hint::black_box, time::Duration};

use anyhow::{Context, Result, ensure};
use spurline_http::{
    Head,
    h2::{Connection, End, Event, Role, Scheme, Section, Settings, StreamId},
};

use crate::{
    Case, Operation,
    messages::{self, KEYED_BAGGAGE},
    rotation::Rotation,
};

pub(crate) const CASES: &[Case] =
    &[Case { name: "h2/exchange-get", prepare: get }, Case { name: "h2/exchange-grpc", prepare: call }];

/// Exchanges per message of the rotation: many, so that windows are filled and announced as often as in the long run.
const REQUESTS: usize = 128;

/// Both ends of one connection, and what is on its way.
struct Pair {
    client: Connection,
    server: Connection,
    wire: Vec<u8>,
    received: Head,
    answer: Answer,
    /// Answers that have arrived to their end.
    answered: u64,
}

/// What the server sends.
struct Answer {
    head: Head,
    body: Vec<u8>,
    trailers: Option<Head>,
}

/// A GET whose answer has a body of 1,024 bytes.
fn get() -> Result<Operation> {
    let texts = (0..REQUESTS).map(|number| messages::numbered_request(number, KEYED_BAGGAGE));
    let response = messages::numbered_response(24);
    let answer = Answer {
        head: messages::over_http2(&messages::response_head(&response)?, Section::Response)?,
        body: vec![b'x'; 1024],
        trailers: None,
    };
    exchanges(texts, &[], answer)
}

/// A unary call of gRPC with 64 bytes either way.
fn call() -> Result<Operation> {
    let texts = (0..REQUESTS).map(messages::numbered_call);
    let answer = Answer {
        head: messages::over_http2(&messages::response_head(messages::ANSWER)?, Section::Response)?,
        body: vec![0; 64],
        trailers: Some(messages::over_http2(&messages::trailers()?, Section::Trailers)?),
    };
    exchanges(texts, &[0; 64], answer)
}

fn exchanges(texts: impl Iterator<Item = String>, body: &'static [u8], answer: Answer) -> Result<Operation> {
    let requests = texts
        .map(|text| messages::over_http2(&messages::request_head(&text)?, Section::Request))
        .collect::<Result<Vec<_>>>()?;
    let mut pair = Pair::new(answer);
    for request in &requests {
        pair.exchange(request, body)?;
    }
    ensure!(pair.answered == REQUESTS as u64, "{} of {REQUESTS} requests were answered", pair.answered);
    let mut requests = Rotation::new(requests);
    Ok(Box::new(move || {
        let Some(request) = requests.turn() else { return };
        let exchanged = pair.exchange(black_box(request), body);
        debug_assert!(exchanged.is_ok());
        black_box(pair.answered);
    }))
}

// === impl Pair ===

impl Pair {
    fn new(answer: Answer) -> Self {
        Self {
            client: Connection::new(Role::Client, Settings::default()),
            server: Connection::new(Role::Server, Settings::default()),
            wire: Vec::new(),
            received: Head::default(),
            answer,
            answered: 0,
        }
    }

    fn exchange(&mut self, request: &Head, body: &[u8]) -> Result<()> {
        let end = if body.is_empty() { End::Stream } else { End::More };
        let id = self.client.open(request, Scheme::Http, end)?;
        if !body.is_empty() {
            send(&mut self.client, id, body, End::Stream)?;
        }
        while self.client.has_output() || self.server.has_output() {
            self.serve()?;
            self.take_answers()?;
        }
        Ok(())
    }

    /// What the client has written arrives at the server, which answers each request that is whole.
    fn serve(&mut self) -> Result<()> {
        let Self { client, server, wire, received, answer, .. } = self;
        client.swap_output(wire);
        let mut at = 0;
        while let Some((event, taken)) = next_event(server, wire, at, received)? {
            at += taken;
            match event {
                Event::Head { id, end: End::Stream, .. } => answer.send(server, id)?,
                Event::Data { id, range, end } => {
                    server.consumed(id, range.len());
                    if end == End::Stream {
                        answer.send(server, id)?;
                    }
                }
                _ => {}
            }
        }
        ensure!(server.next_writable().is_none(), "the server was held back");
        Ok(())
    }

    fn take_answers(&mut self) -> Result<()> {
        let Self { client, server, wire, received, answered, .. } = self;
        server.swap_output(wire);
        let mut at = 0;
        while let Some((event, taken)) = next_event(client, wire, at, received)? {
            at += taken;
            match event {
                Event::Data { id, range, end } => {
                    client.consumed(id, range.len());
                    *answered += u64::from(end == End::Stream);
                }
                Event::Trailers { .. } => *answered += 1,
                _ => {}
            }
        }
        ensure!(client.next_writable().is_none(), "the client was held back");
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    fn send(&self, server: &mut Connection, id: StreamId) -> Result<()> {
        server.send_head(id, &self.head, End::More)?;
        let end = if self.trailers.is_some() { End::More } else { End::Stream };
        send(server, id, &self.body, end)?;
        if let Some(trailers) = &self.trailers {
            server.send_trailers(id, trailers)?;
        }
        Ok(())
    }
}

fn send(connection: &mut Connection, id: StreamId, body: &[u8], end: End) -> Result<()> {
    let taken = connection.send_data(id, body, end)?;
    ensure!(taken == body.len(), "a window was not opened again in time");
    Ok(())
}

/// The next event and the bytes that it took; `None` once all that has arrived is read.
fn next_event(
    connection: &mut Connection,
    wire: &[u8],
    at: usize,
    head: &mut Head,
) -> Result<Option<(Event, usize)>> {
    let rest = wire.get(at..).context("more was taken than there is")?;
    if rest.is_empty() {
        return Ok(None);
    }
    let (taken, event) = connection.receive(rest, head, Duration::ZERO)?;
    ensure!(event != Event::NeedMore, "a frame is cut off");
    Ok(Some((event, taken)))
}
