//! TCP that is not HTTP: both ends of it.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::echoes::Duplex;

const BUFFER_BYTES: usize = 64 * 1024;

/// Sends back what comes, on every connection.
pub(super) async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One that breaks is its client's to notice.
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

/// A client's connection.
pub(super) struct Connection(TcpStream);

impl Connection {
    pub(super) async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl Duplex for Connection {
    async fn send(&mut self, message: Bytes) -> Result<()> {
        Ok(self.0.write_all(&message).await?)
    }

    async fn receive(&mut self, bytes: usize) -> Result<Bytes> {
        let mut message = vec![0; bytes];
        self.0.read_exact(&mut message).await?;
        Ok(message.into())
    }
}
