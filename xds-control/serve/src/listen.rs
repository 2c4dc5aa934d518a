//! Addresses to listen on: how they are written, who may be served there, and the sockets themselves.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::ListenError;

/// Connections that may wait to be accepted: a restart brings all proxies at once. The kernel may allow fewer.
const BACKLOG: u32 = 4096;
/// Only the owner may connect.
const SOCKET_MODE: u32 = 0o600;

/// Where to listen. Written `127.0.0.1:7777`, `[::1]:7777` or `unix:/run/spurline/control.sock`; names are not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Whether every request has to carry a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    Required,
    None,
}

/// The rule who may listen without authentication: on a loopback address or a Unix socket anybody, because only this
/// machine (or the owner of the socket) reaches it. On any other address either clients prove themselves by
/// certificates, or by tokens over TLS; a token in clear text would be everybody's.
///
/// # Errors
/// When the address may not be served like this.
pub fn must_authenticate(
    listen: &Listen,
    tls: Option<&crate::TlsFiles>,
    tokens: Tokens,
) -> Result<(), ListenError> {
    let local = match listen {
        Listen::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
        Listen::Unix(_) => true,
    };
    let proved = match tls {
        Some(files) => files.client_ca.is_some() || tokens == Tokens::Required,
        None => false,
    };
    if local || proved {
        return Ok(());
    }
    let allowed = match tokens {
        Tokens::Required => "TLS for the tokens",
        Tokens::None => "TLS with a client CA",
    };
    Err(ListenError::Unauthenticated { listen: listen.clone(), allowed })
}

/// A bound socket. Dropping it closes it, and removes the path of a Unix socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

/// A connection as it was accepted.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

// === impl Listen ===

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(ListenError::Address { text: text.to_owned() }),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenError::Address { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Socket ===

impl Socket {
    pub(crate) fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Bind { listen: listen.clone(), error };
        match listen {
            Listen::Tcp(addr) => bind_tcp(*addr).map(Self::Tcp).map_err(|error| match error.kind() {
                ErrorKind::AddrInUse => ListenError::InUse { listen: listen.clone() },
                _ => failed(error),
            }),
            Listen::Unix(path) => {
                match fs::symlink_metadata(path) {
                    Ok(metadata) if !metadata.file_type().is_socket() => {
                        return Err(ListenError::NotASocket { listen: listen.clone() });
                    }
                    Ok(_) if StdUnixStream::connect(path).is_ok() => {
                        return Err(ListenError::InUse { listen: listen.clone() });
                    }
                    _ => {}
                }
                let listener = bind_unix(path).map_err(failed)?;
                Ok(Self::Unix { listener, path: path.clone() })
            }
        }
    }

    /// What it is bound to; with port 0 the port that the kernel chose.
    pub(crate) fn listen(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix { path, .. } => Ok(Listen::Unix(path.clone())),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, addr) = listener.accept().await?;
                // Without it small frames wait for the peer's delayed acknowledgement. A peer that is gone already
                // shows at the first read.
                let _best_effort = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, addr))
            }
            Self::Unix { listener, .. } => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // What cannot be removed is replaced by the next start.
            let _stale = fs::remove_file(path);
        }
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Binds beside the path and renames, so that nobody can connect before the mode is set and a socket that a killed
/// process left behind is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Of a process with our number that was killed in between.
    let _left_behind = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(SOCKET_MODE))
        .and_then(|()| fs::rename(&beside, path));
    if placed.is_err() {
        let _best_effort = fs::remove_file(&beside);
    }
    placed.map(|()| listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsFiles;

    fn files(client_ca: Option<&str>) -> TlsFiles {
        TlsFiles { cert: "c".into(), key: "k".into(), client_ca: client_ca.map(PathBuf::from) }
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:7777", "[::1]:7777", "0.0.0.0:0", "unix:/run/spurline/control.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in
            ["", "7777", "localhost:7777", "127.0.0.1", "unix:", "unix:relative", "http://127.0.0.1:1"]
        {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("allowed: an IP address and a port"), "{error}");
        }
    }

    #[test]
    fn without_authentication_only_this_machine_is_served() {
        let (plain, one_way, mutual) = (None, Some(files(None)), Some(files(Some("ca"))));
        for (listen, tls, tokens, good) in [
            ("127.0.0.1:1", &plain, Tokens::None, true),
            ("127.8.9.1:1", &plain, Tokens::None, true),
            ("[::1]:1", &plain, Tokens::None, true),
            ("[::ffff:127.0.0.1]:1", &plain, Tokens::None, true),
            ("unix:/s", &plain, Tokens::None, true),
            ("0.0.0.0:1", &plain, Tokens::None, false),
            ("[::]:1", &plain, Tokens::None, false),
            ("10.0.0.1:1", &one_way, Tokens::None, false),
            ("10.0.0.1:1", &plain, Tokens::Required, false),
            ("10.0.0.1:1", &one_way, Tokens::Required, true),
            ("10.0.0.1:1", &mutual, Tokens::None, true),
        ] {
            let judged = must_authenticate(&listen.parse().unwrap(), tls.as_ref(), tokens);
            assert_eq!(judged.is_ok(), good, "{listen} {tls:?} {tokens:?}: {judged:?}");
        }
    }
}
