//! A pod: a network namespace whose inbound connections the kernel redirects to the proxy.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::eventually::DEADLINE;
use crate::process::run;

static NEXT: AtomicU8 = AtomicU8::new(0);

/// Whether suites that need network namespaces are to be skipped; says so on stdout.
///
/// Only `SPURLINE_SKIP_NETNS=1` skips them: without the privilege they fail.
pub fn skip_netns(suite: &str) -> bool {
    let skip = std::env::var("SPURLINE_SKIP_NETNS").is_ok_and(|value| value == "1");
    if skip {
        println!("SKIPPED {suite}: SPURLINE_SKIP_NETNS=1");
    }
    skip
}

/// Which program installs the redirection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// `nft` and its native rule set.
    Nft,
    /// `iptables`.
    Iptables,
}

/// A network namespace with an address of its own, joined to ours by a veth pair. Dropping it removes both.
#[derive(Debug)]
pub struct Pod {
    name: String,
    host: Ipv4Addr,
    address: Ipv4Addr,
}

impl Pod {
    /// Makes the namespace; panics with the fix when the privilege is missing.
    pub fn new() -> Self {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let name = format!("spur{:x}-{next}", std::process::id());
        let (outer, inner) = (format!("so{high:x}{low:x}-{next}"), format!("si{high:x}{low:x}-{next}"));
        let host = Ipv4Addr::new(10, 64 | (high & 0x3f), low, next.wrapping_mul(4).wrapping_add(1));
        let address = Ipv4Addr::new(10, 64 | (high & 0x3f), low, next.wrapping_mul(4).wrapping_add(2));
        privileged(&["ip", "netns", "add", &name]);
        let pod = Self { name, host, address };
        privileged(&[
            "ip", "link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &pod.name,
        ]);
        privileged(&["ip", "addr", "add", &format!("{host}/30"), "dev", &outer]);
        privileged(&["ip", "link", "set", &outer, "up"]);
        pod.inside(&["ip", "addr", "add", &format!("{address}/30"), "dev", &inner]);
        pod.inside(&["ip", "link", "set", &inner, "up"]);
        pod.inside(&["ip", "link", "set", "lo", "up"]);
        pod.inside(&["ip", "route", "add", "default", "via", &host.to_string()]);
        pod
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pod's address with a port, as peers outside see it.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// Our end of the pair with a port, as programs inside reach us.
    pub fn host_address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.host), port)
    }

    /// Redirects inbound connections for `ports` to `proxy_port` with a real rule.
    pub fn redirect(&self, how: Redirect, ports: &[u16], proxy_port: u16) {
        for port in ports {
            let (port, to) = (port.to_string(), proxy_port.to_string());
            match how {
                Redirect::Iptables => self.inside(&[
                    "iptables",
                    "-t",
                    "nat",
                    "-A",
                    "PREROUTING",
                    "-p",
                    "tcp",
                    "--dport",
                    &port,
                    "-j",
                    "REDIRECT",
                    "--to-ports",
                    &to,
                ]),
                Redirect::Nft => {
                    let chain = "add table ip spurline; add chain ip spurline in \
                                 { type nat hook prerouting priority dstnat; }";
                    let rule = format!("add rule ip spurline in tcp dport {port} redirect to :{to}");
                    self.inside(&["nft", &format!("{chain}; {rule}")]);
                }
            }
        }
    }

    /// Runs `make` on a thread that is inside the namespace; sockets it makes stay there.
    pub fn enter<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace = File::open(&path).expect("open a network namespace");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("enter a network namespace");
                make()
            });
            inside.join().expect("the thread inside the namespace")
        })
    }

    /// The words that start a program inside the namespace.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    fn inside(&self, words: &[&str]) {
        let prefix = self.prefix();
        let all: Vec<&str> = prefix.iter().chain(words).copied().collect();
        privileged(&all);
    }
}

impl Default for Pod {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn privileged(words: &[&str]) {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let done = run(command, DEADLINE);
    assert!(
        done.code == Some(0),
        "`{}` failed: {}(network namespaces need root, iproute2, nftables and iptables: run as root after \
         tests/setup.sh, or set SPURLINE_SKIP_NETNS=1 to skip loudly)",
        words.join(" "),
        done.stderr
    );
}
