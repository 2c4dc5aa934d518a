//! One HTTP/1.1 exchange: for readiness, for the check of who answered, for connections that are idle, new or counted.
//! Reads only what the bench's own backends send: a head and a body of `Content-Length` bytes.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Opens a connection for [`exchange`].
pub(crate) fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Sends one GET and returns the body of its 200. Leaves the connection open for the next.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Vec<u8>> {
    let host = stream.peer_addr()?.to_string();
    stream.write_all(request(path, &host, headers).as_bytes())?;
    read_reply(stream)
}

/// The text of a GET.
pub(crate) fn request(path: &str, host: &str, headers: &[(&'static str, String)]) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request
}

/// The same for many at once: sends `request` and returns the body of its 200.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut received = Vec::with_capacity(4096);
    loop {
        ensure!(stream.read_buf(&mut received).await? > 0, "the connection closed within a reply");
        if let Some(body) = complete_body(&received)? {
            return Ok(body);
        }
    }
}

fn read_reply(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while received.len() < REPLY_BYTES_MAX {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            bail!("the connection closed within a reply");
        }
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(body) = complete_body(&received)? {
            return Ok(body);
        }
    }
    bail!("the reply is longer than {REPLY_BYTES_MAX} bytes");
}

/// The body once all of it is there.
pub(crate) fn complete_body(received: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(head_end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = received.split_at(head_end + 4);
    let head = std::str::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("answered {:?}", head.lines().next().unwrap_or_default());
    }
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("the reply has no Content-Length")?
        .1
        .trim()
        .parse()?;
    Ok(rest.get(..length).map(<[u8]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_returned_only_when_all_of_it_has_come() {
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(complete_body(&reply[..reply.len() - 1]).unwrap(), None);
        assert_eq!(complete_body(reply).unwrap().unwrap(), b"abc");
    }

    #[test]
    fn another_status_than_200_is_an_error() {
        assert!(complete_body(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
