//! Connecting to an upstream. One address, one attempt: choosing and retrying are the pool's affair.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{
    Transport,
    tls::{ClientTls, HandshakeError, Speech},
};

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time: ours, or the kernel's (`ETIMEDOUT`).
    #[error("connection timed out")]
    Timeout,
    /// There is no way to the host or its network.
    #[error("host or network unreachable")]
    Unreachable,
    /// This process or the system has no descriptor left; another endpoint would not fare better.
    #[error("no file descriptor left")]
    DescriptorLimit,
    /// Connected, but the TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(#[from] HandshakeError),
    /// Anything else, local port exhaustion (`EADDRNOTAVAIL`) for instance.
    #[error("connection failed")]
    Other(#[source] io::Error),
}

impl ConnectError {
    /// A short stable word for metric labels and the access log.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::DescriptorLimit => "descriptor_limit",
            Self::Tls(_) => "tls",
            Self::Other(_) => "other",
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::Timeout,
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN) => {
                Self::Unreachable
            }
            Some(Errno::MFILE | Errno::NFILE) => Self::DescriptorLimit,
            _ => Self::Other(error),
        }
    }
}

/// Connects to `addr` within `deadline`, with `TCP_NODELAY` set.
///
/// Resolves no names, binds no source address, tries once. Cancel-safe: a dropped attempt is closed.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(addr: SocketAddr, deadline: Duration) -> Result<TcpStream, ConnectError> {
    let stream =
        timeout(deadline, TcpStream::connect(addr)).await.map_err(|_elapsed| ConnectError::Timeout)??;
    // While nobody listens on an ephemeral port of this host, the kernel may pick that very port as the source,
    // and TCP's simultaneous open then connects the socket to itself (RFC 9293 section 3.5). It would echo.
    if stream.local_addr()? == addr {
        return Err(ConnectError::Refused);
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to `addr` and goes through the TLS handshake, both together within `deadline`. See [`connect`].
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect_tls(
    addr: SocketAddr,
    deadline: Duration,
    tls: &ClientTls,
    speech: Speech,
) -> Result<Transport, ConnectError> {
    let secure = async {
        let stream = connect(addr, deadline).await?;
        Ok(tls.connect(addr, stream, speech).await?)
    };
    timeout(deadline, secure).await.map_err(|_elapsed| ConnectError::Timeout)?
}
