//! The Routes API of the real control service as other people's stacks see it: grpc-go, grpcio and curl.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

#[path = "routes_api/clients.rs"]
mod clients;
#[path = "routes_api/crowd.rs"]
mod crowd;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use spurline_tests::{Control, Document, Process, TestControl, eventually, run, tool};

const CART: &str = "shop/Deployment/cart";
const GET: &str = "GetWorkloadRoutingRules";
const WATCH: &str = "WatchWorkloadRoutingRules";
const SERVICES: &str = "GetClusterServices";
const PATH: &str = "/api/v1/workloads/routing-rules";

/// Whose implementation of gRPC asks.
#[derive(Debug, Clone, Copy)]
enum Stack {
    Go,
    Python,
}

impl Stack {
    const ALL: [Self; 2] = [Self::Go, Self::Python];

    fn command(self, address: SocketAddr, method: &str, request: &Value) -> std::process::Command {
        let mut command = match self {
            Self::Go => std::process::Command::new(tool("bin/routes-client")),
            Self::Python => {
                let mut command = std::process::Command::new("python3");
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/backends/routes-client/client.py");
                command.arg(script).env("PYTHONPATH", tool("python"));
                command
            }
        };
        command.args([&address.to_string(), method, &request.to_string()]);
        command
    }

    /// The answer, or the error.
    fn call(self, address: SocketAddr, method: &str, request: &Value) -> Value {
        let finished = run(self.command(address, method, request), Duration::from_secs(60));
        let line = finished.stdout.lines().next();
        let line = line.unwrap_or_else(|| panic!("{self:?} said nothing:\n{}", finished.stderr));
        serde_json::from_str(line).expect("JSON")
    }

    fn watch(self, address: SocketAddr, request: &Value) -> Watcher {
        let process = Process::spawn(&format!("{self:?}"), self.command(address, WATCH, request));
        Watcher { process, read: 0 }
    }
}

struct Watcher {
    process: Process,
    read: usize,
}

impl Watcher {
    fn line(&mut self) -> Value {
        let line = eventually("the watcher says something", || {
            let said = self.process.stdout();
            let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().nth(self.read).map(ToOwned::to_owned)
        });
        self.read += 1;
        serde_json::from_str(&line).expect("JSON")
    }

    /// The operation, the key and the sandbox of the next message.
    fn op(&mut self) -> [String; 3] {
        let line = self.line();
        let text =
            |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let op = match text("/op").as_str() {
            "" => "ADD".to_owned(),
            op => op.to_owned(),
        };
        [op, text("/route/routingKey"), text("/route/destinationSandbox/name")]
    }

    fn expect(&mut self, ops: &[[&str; 3]]) {
        let told: BTreeSet<[String; 3]> = ops.iter().map(|_| self.op()).collect();
        let wanted: BTreeSet<[String; 3]> = ops.iter().map(|op| op.map(ToOwned::to_owned)).collect();
        assert_eq!(told, wanted);
    }
}

fn sandbox(name: &str, key: &str, port: u16) -> Document {
    Document::sandbox(name).key(key).fork(CART, name, &[([127, 0, 0, 1], port).into()])
}

/// A request for the rules of a baseline, some of its three parts empty, by key and by sandbox.
fn request([kind, namespace, name]: [&str; 3], key: &str, sandbox: &str) -> Value {
    json!({
        "baselineWorkload": { "kind": kind, "namespace": namespace, "name": name },
        "routingKey": key,
        "destinationSandbox": { "name": sandbox },
    })
}

fn cart() -> Value {
    request(["Deployment", "shop", "cart"], "", "")
}

/// The status and the body that curl gets for the parameters.
fn curl(rest: SocketAddr, parameters: &[(&str, &str)]) -> (String, String) {
    let mut command = std::process::Command::new("curl");
    command.args(["-sS", "-G", "-w", "\n%{http_code} %{content_type}", &format!("http://{rest}{PATH}")]);
    for (name, value) in parameters {
        command.args(["--data-urlencode", &format!("{name}={value}")]);
    }
    let finished = run(command, Duration::from_secs(60));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let (body, status) = finished.stdout.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

/// Rules in no particular order.
fn rules(answer: &Value) -> BTreeSet<String> {
    answer["routingRules"].as_array().into_iter().flatten().map(ToString::to_string).collect()
}
