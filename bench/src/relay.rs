//! The floor: a TCP relay that moves bytes and looks at none of them.
//!
//! As long as connections are kept, no proxy that reads and writes as it does can be cheaper: every other figure is read against it.
//! Where connections are new it opens two for each, and one that shares its upstream connections can be cheaper.
//! It has one upstream connection per downstream connection, no time-outs and no limits: it is a yardstick, not a proxy.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 * 1024;

/// Serves until the process is killed.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("bind {listen}"))?;
        loop {
            let (downstream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // A peer that goes away ends its own pair of connections and nothing else.
                if let Err(error) = relay(downstream, upstream).await {
                    eprintln!("relay: {error}");
                }
            });
        }
    })
}

async fn relay(mut downstream: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut downstream, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}
