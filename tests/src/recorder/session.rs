//! One connection of a recording upstream.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use sha2::{Digest, Sha256};

use super::{Connection, Recorded, Shared, Step};
use crate::client::End;
use crate::wire::{self, Head, Parse, Request};

/// Why a session is over.
struct Over;

struct Session<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    connection: usize,
    /// What has come and does not belong to a request that is whole.
    buffer: Vec<u8>,
    /// The request being answered, once it is whole.
    whole: Option<Request>,
}

pub(super) fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let connection = {
        let mut connections = shared.connections.lock().expect("connections");
        connections.push(Connection { stream: stream.try_clone().ok(), ..Connection::default() });
        connections.len() - 1
    };
    let mut session = Session { stream, shared, connection, buffer: Vec::new(), whole: None };
    while session.one().is_ok() {}
    session.record_end(End::Fin);
    let _ = session.stream.shutdown(Shutdown::Both);
    // The registry keeps a handle for `push`; without this the socket would stay half-open.
    shared.connections.lock().expect("connections")[connection].stream = None;
}

impl Session<'_> {
    /// Serves one request.
    fn one(&mut self) -> Result<(), Over> {
        let head = self.head()?;
        self.whole = None;
        for step in (self.shared.script)(&head) {
            self.play(step, &head)?;
        }
        self.body(&head)
    }

    fn play(&mut self, step: Step, head: &Head) -> Result<(), Over> {
        match step {
            Step::Body => self.body(head),
            Step::Send(bytes) => self.send(&bytes),
            Step::Echo => {
                self.body(head)?;
                let reply = self.whole.as_ref().map(|request| echo(&self.shared.name, request));
                self.send(&reply.unwrap_or_default())
            }
            Step::Hold(gate) => {
                gate.wait();
                Ok(())
            }
            Step::Tunnel => {
                let early = std::mem::take(&mut self.buffer);
                self.send(&early)?;
                while let Ok(count) = self.more() {
                    let bytes = self.buffer.split_off(self.buffer.len() - count);
                    self.send(&bytes)?;
                }
                Err(Over)
            }
            Step::Finish => Err(Over),
            Step::Reset => {
                // Disconnecting sends the reset although the registry holds the socket, too.
                let _ = rustix::net::connect_unspec(&self.stream);
                Err(Over)
            }
            Step::Stall => {
                while self.more().is_ok() {}
                Err(Over)
            }
        }
    }

    /// Reads until a head is whole; what cannot become one is a violation.
    fn head(&mut self) -> Result<Head, Over> {
        loop {
            match wire::request_head(&self.buffer) {
                Parse::Complete(head, _) => return Ok(head),
                Parse::Malformed(why) => return self.violation(&why),
                Parse::Incomplete => {}
            }
            let begun = !self.buffer.is_empty();
            if self.more().is_err() {
                return if begun { self.violation("ended inside a request head") } else { Err(Over) };
            }
        }
    }

    /// Reads until the request is whole, and records it.
    fn body(&mut self, head: &Head) -> Result<(), Over> {
        while self.whole.is_none() {
            match wire::request(&self.buffer) {
                Parse::Complete(request, used) => {
                    self.buffer.drain(..used);
                    let recorded = Recorded { request: request.clone(), connection: self.connection };
                    self.shared.requests.lock().expect("requests").push(recorded);
                    self.whole = Some(request);
                }
                Parse::Malformed(why) => return self.violation(&why),
                Parse::Incomplete if self.more().is_err() => {
                    self.shared.aborted.lock().expect("aborted").push(head.clone());
                    return Err(Over);
                }
                Parse::Incomplete => {}
            }
        }
        Ok(())
    }

    fn violation<T>(&self, why: &str) -> Result<T, Over> {
        let shown = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(400)]).into_owned();
        self.shared.violations.lock().expect("violations").push(format!("{why} in {shown:?}"));
        Err(Over)
    }

    fn more(&mut self) -> Result<usize, Over> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.record_end(End::Fin),
            Err(_) => self.record_end(End::Reset),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                let mut connections = self.shared.connections.lock().expect("connections");
                connections[self.connection].bytes.extend_from_slice(&chunk[..count]);
                return Ok(count);
            }
        }
        Err(Over)
    }

    fn record_end(&self, end: End) {
        let mut connections = self.shared.connections.lock().expect("connections");
        connections[self.connection].end.get_or_insert(end);
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes).map_err(|_| Over)
    }
}

fn echo(name: &str, request: &Request) -> Vec<u8> {
    let (method, target) = (request.head.method(), request.head.target());
    let id = request.field("x-id").unwrap_or("-");
    let digest = hex(&Sha256::digest(&request.body));
    let text = format!("{name} {method} {target} {id} {}\n", request.body.len());
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: {name}\r\nX-Id: {id}\r\nX-Sha256: {digest}\r\n\r\n",
        text.len()
    );
    if method != "HEAD" {
        reply.push_str(&text);
    }
    reply.into_bytes()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
