//! What takes a network namespace of its own: connections that a real kernel redirects, or connects to themselves.
//!
//! Needs `unshare`, `ip`, `nft` and `iptables`, and either root or unprivileged user namespaces. Without them these
//! tests fail, unless `SPURLINE_SKIP_NETNS=1` says that this is known.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use spurline_net::{
    Acceptor, ConnectError, ListenOptions, connect, listen, original_destination, set_linger_reset,
};

/// Which tool writes the rules, for the copy of the test inside the namespace.
const TOOL: &str = "SPURLINE_TEST_REDIRECT_TOOL";
const SKIP: &str = "SPURLINE_SKIP_NETNS";

/// What is redirected, and to where.
const FROM: u16 = 8080;
const TO: u16 = 15006;

const NFT: &str = "
    table inet spurline {
        chain output {
            type nat hook output priority -100;
            tcp dport 8080 redirect to :15006
        }
    }";

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Runs the ignored test `inside` of this very file in a new network namespace.
fn in_a_namespace(inside: &str, tool: &str) {
    if std::env::var_os(SKIP).is_some_and(|skip| skip == "1") {
        println!("SKIPPED because {SKIP}=1: {inside} {tool}");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    if !rustix::process::getuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", inside, "--ignored", "--nocapture"]);
    let output = unshare.env(TOOL, tool).output().expect("unshare runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the test inside did not run: {said}");
}

fn redirect(tool: &str) {
    match tool {
        "nft" => run("nft", &[NFT]),
        // Both backends of iptables number the same rule alike.
        "iptables" => {
            for program in ["iptables", "ip6tables"] {
                let rule = "-t nat -A OUTPUT -p tcp --dport 8080 -j REDIRECT --to-ports 15006";
                run(program, &rule.split(' ').collect::<Vec<_>>());
            }
        }
        other => panic!("no such tool: {other}"),
    }
}

/// Connects to `target` and returns what the accepted side takes for its original destination.
async fn original(acceptor: &mut Acceptor, target: SocketAddr) -> Option<SocketAddr> {
    let client = tokio::task::spawn_blocking(move || TcpStream::connect(target).unwrap());
    let accepted = acceptor.accept().await;
    let found = original_destination(&accepted.stream).unwrap();
    assert_eq!(client.await.unwrap().peer_addr().unwrap(), target, "the client notices nothing");
    found
}

fn acceptor(addr: &str) -> Acceptor {
    let listener: TcpListener = listen(addr.parse().unwrap(), ListenOptions::default()).unwrap();
    Acceptor::new(vec![listener], |fault| panic!("{fault:?}")).unwrap()
}

fn socket_addr(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn nft_redirect_reports_the_original_destination() {
    in_a_namespace("inside_original_destinations_are_reported", "nft");
}

#[test]
fn iptables_redirect_reports_the_original_destination() {
    in_a_namespace("inside_original_destinations_are_reported", "iptables");
}

#[test]
fn a_connection_to_itself_is_refused() {
    in_a_namespace("inside_a_connection_to_itself_is_refused", "");
}

#[tokio::test]
#[ignore = "run by the tests above, inside a namespace"]
async fn inside_original_destinations_are_reported() {
    let tool = std::env::var(TOOL).expect("started by the tests above");
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["address", "add", "10.77.0.1/32", "dev", "lo"]);
    run("ip", &["address", "add", "fd77::1/128", "dev", "lo", "nodad"]);
    let any_v4 = &format!("0.0.0.0:{TO}");
    let any = &format!("[::]:{TO}");

    let mut v4 = acceptor(any_v4);
    let direct = socket_addr("127.0.0.1", TO);
    assert_eq!(original(&mut v4, direct).await, None, "nothing tracks connections yet");
    redirect(&tool);
    assert_eq!(original(&mut v4, direct).await, None, "tracked, but not redirected");
    for ip in ["127.0.0.1", "10.77.0.1"] {
        let target = socket_addr(ip, FROM);
        assert_eq!(original(&mut v4, target).await, Some(target));
    }
    drop(v4);

    let mut dual = acceptor(any);
    for ip in ["127.0.0.1", "10.77.0.1", "::1", "fd77::1"] {
        let target = socket_addr(ip, FROM);
        assert_eq!(original(&mut dual, target).await, Some(target));
        assert_eq!(original(&mut dual, socket_addr(ip, TO)).await, None);
    }
}

#[tokio::test]
#[ignore = "run by the tests above, inside a namespace"]
async fn inside_a_connection_to_itself_is_refused() {
    run("ip", &["link", "set", "lo", "up"]);
    // With one port to choose from, the kernel has to take the one that is connected to.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    let addr = socket_addr("127.0.0.1", 40000);
    let plain = tokio::net::TcpStream::connect(addr).await.expect("the kernel connects it to itself");
    assert_eq!(plain.local_addr().unwrap(), plain.peer_addr().unwrap());
    set_linger_reset(&plain).unwrap();
    drop(plain);
    let refused = connect(addr, Duration::from_secs(5)).await;
    assert!(matches!(refused, Err(ConnectError::Refused)), "{refused:?}");
}
