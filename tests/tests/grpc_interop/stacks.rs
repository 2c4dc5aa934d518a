//! Whose implementation of gRPC serves or asks.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use spurline_tests::{Process, eventually, free_address, run, servers, tool};

use crate::certificates::{Authority, Files};
use crate::{CASES, client, server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    Go,
    Node,
    Python,
    Rust,
}

/// A server, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _process: Option<Process>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Stack {
    pub(crate) const ALL: [Self; 4] = [Self::Go, Self::Node, Self::Python, Self::Rust];

    pub(crate) fn serve(self, files: Option<&Files>) -> Server {
        if self == Self::Rust {
            return Server::named("rust", files);
        }
        let address = match files {
            // What certificates are for.
            Some(_) => std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|one| one.local_addr()),
            None => Ok(free_address()),
        };
        let address = address.expect("a free address");
        let mut command = self.command();
        command.args(["server", &address.to_string()]);
        if let Some(files) = files {
            command.args([&files.cert, &files.key]);
        }
        let mut process = Process::spawn(&format!("{self:?}"), command);
        eventually("the server listens", || {
            assert!(process.ended().is_none(), "{self:?} ended:\n{}", process.stderr());
            TcpStream::connect(address).ok()
        });
        Server { address, _process: Some(process), runtime: None }
    }

    /// Runs every case against a server or what is before it.
    pub(crate) fn ask(self, address: SocketAddr, authority: Option<&Authority>) -> Result<(), String> {
        if self == Self::Rust {
            return ask(address, authority);
        }
        let mut command = self.command();
        command.args(["client", &address.to_string(), &CASES.join(",")]);
        command.args(authority.map(Authority::ca));
        let finished = run(command, Duration::from_secs(60));
        let passed: Vec<_> = finished.stdout.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
        if finished.code == Some(0) && passed == CASES {
            return Ok(());
        }
        let failed = CASES.get(passed.len()).unwrap_or(&"the end");
        Err(format!("{failed}: {}", finished.stderr.trim()))
    }

    fn command(self) -> Command {
        match self {
            Self::Go => Command::new(tool("bin/grpc-interop")),
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(servers::script("grpc/interop.js")).env("NODE_PATH", tool("node_modules"));
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                command.arg(servers::script("grpc/interop.py")).env("PYTHONPATH", tool("python"));
                command
            }
            Self::Rust => unreachable!("it runs in here"),
        }
    }
}

impl Server {
    /// One on tonic that tells its name.
    pub(crate) fn named(name: &str, files: Option<&Files>) -> Self {
        let runtime = runtime();
        let address = server::start(&runtime, name, files);
        Self { address, _process: None, runtime: Some(runtime) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn ask(address: SocketAddr, authority: Option<&Authority>) -> Result<(), String> {
    runtime().block_on(async {
        let client = client::Client::connect(address, authority).await;
        for case in CASES {
            let within = tokio::time::timeout(Duration::from_secs(20), client.case(case));
            within.await.map_err(|_| format!("{case}: no end"))?;
        }
        Ok(())
    })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}
