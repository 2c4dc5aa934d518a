//! Alice's sandbox as the control service is told of it: one document, put and deleted over REST.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Answer, Connection, Field};
use crate::service::Version;

/// The routing key of the demo's sandbox.
pub(crate) const KEY: &str = "k3v6m2x7q4ab";
/// The port the shop's services declare. The real ones are whatever was free on this machine.
pub(crate) const SERVICE_PORT: u16 = 8080;
/// Where the sandbox is, under the REST address.
pub(crate) const PATH: &str = "/v1/sandboxes/alice";
/// Has an answer wait until every proxy that needs the change has acknowledged it. Below the client's own timeout.
pub(crate) const WAIT: &str = "wait=programmed&timeout=4s";

/// What a PUT says of its body; the control service takes no other kind.
const CONTENT: Field<'static> = ("content-type", "application/json");

/// The sandbox, over the REST API of the control service behind `rest`.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    rest: SocketAddr,
    fork: SocketAddr,
}

/// A change that every proxy has acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// When the request began to be sent.
    pub(crate) sent: Instant,
    /// When the control service had answered that all proxies have it.
    pub(crate) live: Instant,
    /// How many proxies that were.
    pub(crate) proxies: usize,
}

/// How far a change has come, as REST tells it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Programmed {
    acknowledged: usize,
    proxies: usize,
}

// === impl Sandbox ===

impl Sandbox {
    /// `fork`: where requests with the key go.
    pub(crate) fn new(rest: SocketAddr, fork: SocketAddr) -> Self {
        Self { rest, fork }
    }

    /// Has keyed requests answered by `keyed` (`Fork`: the sandbox is created, `Baseline`: it is deleted) and waits
    /// until all `expected` proxies have acknowledged it.
    ///
    /// # Errors
    /// The control service refuses, or a proxy has not acknowledged in time.
    pub(crate) async fn change(&self, keyed: Version, expected: usize) -> Result<Change> {
        let mut rest = Connection::new(self.rest);
        let path = format!("{PATH}?{WAIT}");
        let sent = Instant::now();
        let answer = match keyed {
            Version::Fork => {
                let body = Bytes::from(serde_json::to_vec(&self.document())?);
                rest.send(Method::PUT, &path, &[CONTENT], body).await
            }
            Version::Baseline => rest.send(Method::DELETE, &path, &[], Bytes::new()).await,
        };
        let live = Instant::now();
        let programmed = answer.and_then(|answer| programmed(&answer)).context("the control service")?;
        let Programmed { acknowledged, proxies } = programmed;
        ensure!(
            (acknowledged, proxies) == (expected, expected),
            "programmed {acknowledged}/{proxies} of {expected} proxies after {:?}",
            live - sent
        );
        Ok(Change { sent, live, proxies })
    }

    /// What [`Self::change`] sends, as commands that delete, show and create the sandbox.
    pub(crate) fn commands(&self) -> [String; 3] {
        let url = format!("http://{}{PATH}", self.rest);
        let (name, value) = CONTENT;
        [
            format!("curl -X DELETE '{url}?{WAIT}'"),
            format!("curl {url}"),
            format!("curl -X PUT '{url}?{WAIT}' -H '{name}: {value}' -d '{}'", self.document()),
        ]
    }

    /// What is put: requests for `cart` with alice's key go to her copy of it.
    pub(crate) fn document(&self) -> Value {
        json!({
            "apiVersion": "spurline.dev/v1alpha1",
            "kind": "Sandbox",
            "metadata": { "name": "alice" },
            "spec": {
                "routingKey": KEY,
                "forks": [{
                    "workload": "shop/Deployment/cart",
                    "fork": "cart@alice",
                    "ports": { SERVICE_PORT.to_string(): [self.fork.to_string()] },
                }],
            },
        })
    }
}

// === impl Change ===

impl Change {
    /// From the request to the last acknowledgement.
    pub(crate) fn took(&self) -> Duration {
        self.live - self.sent
    }
}

fn programmed(answer: &Answer) -> Result<Programmed> {
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status.is_success(), "status {}: {}", answer.status.as_u16(), body.trim());
    read_programmed(&body).with_context(|| format!("an answer of another shape: {}", body.trim()))
}

fn read_programmed(body: &str) -> Result<Programmed> {
    let body: Value = serde_json::from_str(body)?;
    let status = body.pointer("/status/programmed").context("no status.programmed")?;
    Ok(Programmed::deserialize(status)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_sends_the_key_to_the_fork() {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let document = Sandbox::new(addr(1), addr(4711)).document();
        assert_eq!(document.pointer("/spec/routingKey"), Some(&KEY.into()));
        assert_eq!(document.pointer("/spec/forks/0/ports/8080/0"), Some(&"127.0.0.1:4711".into()));
    }

    /// A body of which curl says nothing is a form to the control service, and refused.
    #[test]
    fn the_commands_send_what_the_demo_sends() {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let sandbox = Sandbox::new(addr(1), addr(4711));
        let [delete, get, put] = sandbox.commands();
        assert_eq!(delete, format!("curl -X DELETE 'http://127.0.0.1:1{PATH}?{WAIT}'"));
        assert_eq!(get, format!("curl http://127.0.0.1:1{PATH}"));
        assert!(put.contains(" -H 'content-type: application/json' "), "{put}");
        let body = put.split(" -d '").nth(1).and_then(|body| body.strip_suffix('\'')).unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), sandbox.document());
    }

    #[test]
    fn acknowledgements_are_read_from_the_status() {
        let body = r#"{"spec":{},"status":{"programmed":{"acknowledged":4,"proxies":5,"rejected":[]}}}"#;
        assert_eq!(read_programmed(body).ok(), Some(Programmed { acknowledged: 4, proxies: 5 }));
        assert!(read_programmed("{}").is_err());
    }
}
