//! What the demo asks of each proxy's admin server: is it ready, and which route table does it use.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use tokio::time::{Instant, sleep};

use super::map::Proxy;
use crate::client::Connection;

const POLL_INTERVAL: Duration = Duration::from_millis(5);
const LIVE_TIMEOUT: Duration = Duration::from_secs(10);
const GENERATION: &str = "spurline_table_generation";

/// Whether the proxy behind `admin` says that it is ready.
pub(crate) async fn is_ready(admin: SocketAddr) -> bool {
    Connection::new(admin).get("/readyz", &[]).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// The table generation of every proxy, followed over time.
#[derive(Debug)]
pub(crate) struct Generations {
    proxies: Vec<Followed>,
}

#[derive(Debug)]
struct Followed {
    name: String,
    admin: Connection,
    generation: u64,
}

// === impl Generations ===

impl Generations {
    /// Reads where every proxy stands.
    pub(crate) async fn read(proxies: impl IntoIterator<Item = &Proxy>) -> Result<Self> {
        let mut followed = Vec::new();
        for Proxy { name, admin, .. } in proxies {
            let mut admin = Connection::new(*admin);
            let generation = generation(&mut admin).await.with_context(|| format!("proxy of {name}"))?;
            followed.push(Followed { name: name.clone(), admin, generation });
        }
        Ok(Self { proxies: followed })
    }

    /// Waits until every proxy has reported a generation above the one it reported last.
    ///
    /// # Errors
    /// A proxy does not answer, or does not move within 10 seconds.
    pub(crate) async fn advanced(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIVE_TIMEOUT;
        for proxy in &mut self.proxies {
            proxy.advance(deadline).await.with_context(|| format!("proxy of {}", proxy.name))?;
        }
        Ok(())
    }
}

// === impl Followed ===

impl Followed {
    async fn advance(&mut self, deadline: Instant) -> Result<()> {
        loop {
            let now = generation(&mut self.admin).await?;
            if now > self.generation {
                self.generation = now;
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it has not taken the new routes within {LIVE_TIMEOUT:?}");
            sleep(POLL_INTERVAL).await;
        }
    }
}

async fn generation(admin: &mut Connection) -> Result<u64> {
    let answer = admin.get("/metrics", &[]).await?;
    parse_generation(&String::from_utf8_lossy(&answer.body))
        .with_context(|| format!("no {GENERATION} in its metrics"))
}

fn parse_generation(metrics: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(GENERATION)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_read_from_its_sample_line() {
        let metrics = "# HELP spurline_table_generation Number of the route table.\n\
                       # TYPE spurline_table_generation gauge\nspurline_table_generation 12\n# EOF\n";
        assert_eq!(parse_generation(metrics), Some(12));
        assert_eq!(parse_generation("spurline_table_generation_other 3\n"), None);
    }
}
