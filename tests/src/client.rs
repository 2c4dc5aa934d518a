//! A client that says exactly the bytes it is told, and reads strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::eventually::DEADLINE;
use crate::wire::{self, Parse, Response};

/// How the peer's side of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It finished in order (FIN).
    Fin,
    /// It was reset (RST).
    Reset,
    /// Nothing came within the read timeout.
    Timeout,
}

/// Why there was no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The connection ended before the response was whole; what came is kept.
    Ended(End, Vec<u8>),
    /// What came is not a well-formed response.
    Malformed(String, Vec<u8>),
}

/// All that came until the connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The bytes in order.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
}

/// A connection with a read timeout and no opinion about what it sends.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    /// Connects, or panics: a suite that expects refusal uses [`RawClient::try_connect`].
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects within the harness's deadline.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Replaces the read timeout, which is [`DEADLINE`] at first.
    #[must_use]
    pub fn read_timeout(self, timeout: Duration) -> Self {
        self.stream.set_read_timeout(Some(timeout)).expect("set a read timeout");
        self
    }

    /// Shrinks the receive buffer, so that a client which does not read is felt early.
    #[must_use]
    pub fn receive_buffer(self, bytes: usize) -> Self {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes).expect("set a receive buffer");
        self
    }

    /// Our own address, as the proxy sees its peer.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a local address")
    }

    /// Sends bytes; an error is returned because a hostile request may be refused while it is being sent.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends bytes that the peer has to take.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("send");
        self
    }

    /// Sends bytes in writes of `size` bytes each.
    pub fn send_split(&mut self, bytes: impl AsRef<[u8]>, size: usize) -> &mut Self {
        for piece in bytes.as_ref().chunks(size) {
            self.send(piece);
        }
        self
    }

    /// Ends our direction (FIN) and keeps reading.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Ends both directions at once with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("set linger");
    }

    /// Reads the next final response, the answer to a request with `method`.
    pub fn response_to(&mut self, method: &str) -> Result<Response, ReadError> {
        let mut ended = None;
        loop {
            match wire::response(&self.buffer, method, ended == Some(End::Fin)) {
                Parse::Complete(response, used) => {
                    self.buffer.drain(..used);
                    return Ok(response);
                }
                Parse::Malformed(why) => return Err(ReadError::Malformed(why, self.buffer.clone())),
                Parse::Incomplete => {}
            }
            if let Some(end) = ended {
                return Err(ReadError::Ended(end, self.buffer.clone()));
            }
            ended = self.read_more();
        }
    }

    /// Reads the next final response to a GET; panics when there is none.
    pub fn response(&mut self) -> Response {
        self.response_to("GET").unwrap_or_else(|error| panic!("no response: {error:?}"))
    }

    /// Sends a request and reads its response; panics when there is none.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        let method =
            String::from_utf8_lossy(request.as_ref()).split(' ').next().unwrap_or_default().to_owned();
        self.response_to(&method).unwrap_or_else(|error| panic!("no response: {error:?}"))
    }

    /// Reads exactly `count` bytes.
    pub fn read_exact(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < count {
            if let Some(end) = self.read_more() {
                return Err(end);
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads until the peer ends the connection or the read timeout passes.
    pub fn to_end(&mut self) -> Transcript {
        loop {
            if let Some(end) = self.read_more() {
                return Transcript { bytes: std::mem::take(&mut self.buffer), end };
            }
        }
    }

    /// A second handle to the same socket, to send from another thread.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("clone a socket")
    }

    fn read_more(&mut self) -> Option<End> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Some(End::Fin),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                None
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Some(End::Timeout)
            }
            Err(_) => Some(End::Reset),
        }
    }
}
