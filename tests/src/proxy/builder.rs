//! How a proxy is described before it is started.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{TestProxy, binary};
use crate::eventually::eventually;
use crate::loopback::free_address;
use crate::process::{Process, clean_command};
use crate::routes::Routes;

/// A description of a proxy: listeners, settings, and the program it is started under.
#[derive(Debug, Clone)]
pub struct Builder {
    program: Option<PathBuf>,
    prefix: Vec<String>,
    settings: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
    routes: Option<PathBuf>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            program: None,
            prefix: Vec::new(),
            // Two workers on any machine, so that what crosses workers is always tested.
            settings: vec![
                ("--workers".to_owned(), "2".to_owned()),
                ("--routes-poll-interval".to_owned(), "20ms".to_owned()),
            ],
            arguments: Vec::new(),
            environment: Vec::new(),
            listeners: Vec::new(),
            admin: free_address(),
            routes: None,
        }
    }

    /// A sidecar listener for port 8080 of `workload`.
    #[must_use]
    pub fn sidecar(self, name: &str, workload: &str, baseline: &[SocketAddr]) -> Self {
        let endpoints = joined(baseline);
        self.listener(name, &format!("workload={workload},port=8080{endpoints}"))
    }

    /// A gateway listener for port 8080 of `workload` with the given trust (`all`, `signed`, `none`).
    #[must_use]
    pub fn gateway(self, name: &str, workload: &str, trust: &str, baseline: &[SocketAddr]) -> Self {
        let endpoints = joined(baseline);
        self.listener(name, &format!("workload={workload},port=8080,role=gateway,trust={trust}{endpoints}"))
    }

    /// A listener that passes bytes through.
    #[must_use]
    pub fn tcp(self, name: &str, baseline: &[SocketAddr]) -> Self {
        let endpoints = joined(baseline);
        self.listener(name, &format!("protocol=tcp{endpoints}"))
    }

    /// A listener on a free address with the rest of its keys as the command line has them.
    #[must_use]
    pub fn listener(self, name: &str, keys: &str) -> Self {
        self.listener_at(name, free_address(), keys)
    }

    /// The same on an address of the caller's.
    #[must_use]
    pub fn listener_at(mut self, name: &str, address: SocketAddr, keys: &str) -> Self {
        self.listeners.push((name.to_owned(), address));
        self.argument("--listener").argument(&format!("name={name},listen={address},{keys}"))
    }

    /// A setting on the command line; a second one of the same name replaces the first.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more word on the command line.
    #[must_use]
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The routes file.
    #[must_use]
    pub fn routes(mut self, routes: &Routes) -> Self {
        self.routes = Some(routes.path());
        self
    }

    /// Another admin address, for example one inside a network namespace.
    #[must_use]
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = address;
        self
    }

    /// Another binary than the one under test, such as an older version.
    #[must_use]
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Starts the binary through another program, for example `prlimit --nofile=64:64`.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the proxy and waits until it is ready; panics with its log when it ends instead.
    pub fn start(self) -> TestProxy {
        let mut proxy = self.start_unready();
        eventually("the proxy is ready", || {
            assert!(proxy.running(), "the proxy ended:\n{}", proxy.log());
            proxy.ready().then_some(())
        });
        proxy
    }

    /// Starts the proxy and waits for nothing.
    pub fn start_unready(self) -> TestProxy {
        let mut words = self.prefix;
        let program = self.program.unwrap_or_else(binary);
        words.push(program.to_string_lossy().into_owned());
        words.extend(self.settings.into_iter().flat_map(|(name, value)| [name, value]));
        words.extend(self.arguments);
        words.extend(["--admin-listen".to_owned(), self.admin.to_string()]);
        if let Some(path) = &self.routes {
            words.extend(["--routes".to_owned(), path.to_string_lossy().into_owned()]);
        }
        let mut command = clean_command(&words[0]);
        command.args(&words[1..]).envs(self.environment);
        let first = self.listeners.first().map(|(_, address)| *address);
        let listeners: HashMap<_, _> = self.listeners.into_iter().collect();
        TestProxy { process: Process::spawn("spurline-proxy", command), admin: self.admin, listeners, first }
    }
}

fn joined(baseline: &[SocketAddr]) -> String {
    if baseline.is_empty() {
        return String::new();
    }
    let endpoints: Vec<_> = baseline.iter().map(ToString::to_string).collect();
    format!(",baseline={}", endpoints.join("+"))
}
