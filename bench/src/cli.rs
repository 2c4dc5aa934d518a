//! The command line. Only shapes are checked here; whether a peer is installed shows when it is started.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::attacks::script::ATTACKS;
use crate::http2::Call;
use crate::peer::Peer;
use crate::work::{Protocol, Traffic};

pub(crate) use self::options::{
    AttacksOptions, ControlLoadOptions, ControlOptions, Http1Options, Http2Options, MemoryOptions, Task,
    TlsOptions,
};

mod options;

/// Reads the process arguments; prints help and exits on a usage error, as clap does.
pub(crate) fn parse() -> Result<Task> {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("http1", m)) => Ok(Task::Http1(Http1Options {
            peers: peers(m)?,
            rounds: required(m, "rounds")?,
            seconds: required(m, "seconds")?,
            connections: required(m, "connections")?,
            body_bytes: usize::from(required::<u16>(m, "body")?),
            traffic: traffic(m),
            save: m.get_one("save").cloned(),
        })),
        Some(("http2", m)) => Ok(Task::Http2(Http2Options {
            peers: peers(m)?,
            rounds: required(m, "rounds")?,
            seconds: required(m, "seconds")?,
            connections: required(m, "connections")?,
            streams: required(m, "streams")?,
            body_bytes: usize::try_from(required::<u32>(m, "body")?)?,
            call: if m.get_flag("grpc") { Call::Grpc } else { Call::Plain },
            traffic: traffic(m),
            save: m.get_one("save").cloned(),
        })),
        Some(("memory", m)) => Ok(Task::Memory(MemoryOptions {
            peers: peers(m)?,
            protocol: if m.get_flag("http2") { Protocol::Http2 } else { Protocol::Http1 },
            connections: required(m, "connections")?,
            save: m.get_one("save").cloned(),
        })),
        Some(("tls", m)) => Ok(Task::Tls(TlsOptions {
            peers: peers(m)?,
            rounds: required(m, "rounds")?,
            seconds: required(m, "seconds")?,
            connections: required(m, "connections")?,
            save: m.get_one("save").cloned(),
        })),
        Some(("attacks", m)) => Ok(Task::Attacks(AttacksOptions {
            peer: required(m, "peer")?,
            attacks: m.get_many::<String>("attacks").into_iter().flatten().cloned().collect(),
            connections: m.get_many("connections").context("--connections is missing")?.copied().collect(),
            seconds: required(m, "seconds")?,
            rate: required(m, "rate")?,
            save: m.get_one("save").cloned(),
        })),
        Some(("control", m)) => Ok(Task::Control(ControlOptions {
            proxies: m.get_many::<u32>("proxies").context("--proxies is missing")?.copied().collect(),
            real: required(m, "real")?,
            rounds: required(m, "rounds")?,
            save: m.get_one("save").cloned(),
        })),
        Some(("control-load", m)) => Ok(Task::ControlLoad(ControlLoadOptions {
            sandboxes: required(m, "sandboxes")?,
            workloads: required(m, "workloads")?,
            changes: required(m, "changes")?,
            rate: required(m, "rate")?,
            seconds: required(m, "seconds")?,
            rounds: required(m, "rounds")?,
            save: m.get_one("save").cloned(),
        })),
        Some((name, m)) => process(name, m),
        None => anyhow::bail!("a subcommand is required; see --help"),
    }
}

/// What the other tasks start.
fn process(name: &str, m: &ArgMatches) -> Result<Task> {
    match name {
        "relay" => Ok(Task::Relay { listen: required(m, "listen")?, upstream: required(m, "upstream")? }),
        "hyper-relay" => Ok(Task::HyperRelay {
            listen: required(m, "listen")?,
            baseline: required(m, "baseline")?,
            fork: required(m, "fork")?,
        }),
        "echo" => Ok(Task::Echo { baseline: required(m, "baseline")?, fork: required(m, "fork")? }),
        "attacker" => Ok(Task::Attacker {
            attack: required(m, "attack")?,
            target: required(m, "target")?,
            connections: required(m, "connections")?,
            seconds: required(m, "seconds")?,
        }),
        _ => anyhow::bail!("{name} is not a subcommand; see --help"),
    }
}

fn required<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Result<T> {
    matches.get_one::<T>(name).cloned().with_context(|| format!("--{name} is missing"))
}

fn peers(matches: &ArgMatches) -> Result<Vec<Peer>> {
    Ok(matches.get_many::<Peer>("peers").context("--peers is missing")?.copied().collect())
}

fn traffic(matches: &ArgMatches) -> Traffic {
    if matches.get_flag("keyed") { Traffic::Keyed } else { Traffic::Unkeyed }
}

fn command() -> Command {
    Command::new("spurline-bench")
        .about("What Spurline costs: its proxy beside the proxies you know, its control service")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(http1())
        .subcommand(http2())
        .subcommand(memory())
        .subcommand(tls())
        .subcommand(attacks())
        .subcommand(control())
        .subcommand(control_load())
        .subcommand(hidden("relay", &["listen", "upstream"]))
        .subcommand(hidden("hyper-relay", &["listen", "baseline", "fork"]))
        .subcommand(hidden("echo", &["baseline", "fork"]))
        .subcommand(
            hidden("attacker", &["target"])
                .arg(Arg::new("attack").long("attack").required(true))
                .arg(count("connections", "1", "connections to attack from"))
                .arg(count("seconds", "30", "for how long")),
        )
}

/// A process that the other tasks start; all it is told is addresses.
fn hidden(name: &'static str, addresses: &[&'static str]) -> Command {
    let address = |name: &&'static str| {
        Arg::new(*name).long(*name).required(true).value_parser(value_parser!(SocketAddr))
    };
    Command::new(name).hide(true).args(addresses.iter().map(address))
}

fn http1() -> Command {
    Command::new("http1")
        .about("CPU time per HTTP/1.1 keep-alive request")
        .arg(peers_arg("floor,spurline,spurline-1,haproxy,nginx"))
        .arg(count("rounds", "9", "interleaved rounds; each measures every peer once"))
        .arg(count("seconds", "3", "length of one measurement, after one second of warm-up"))
        .arg(count("connections", "64", "keep-alive connections of the load generator"))
        .arg(
            Arg::new("body")
                .long("body")
                .default_value("13")
                .value_parser(value_parser!(u16).range(1..=3500))
                .help("bytes of the response body"),
        )
        .arg(keyed_arg())
        .arg(save_arg())
}

fn http2() -> Command {
    Command::new("http2")
        .about("CPU time per HTTP/2 request, or per GiB from bodies of 64 KiB on; by prior knowledge, without TLS")
        .arg(peers_arg("floor,spurline,haproxy,nginx,envoy,hyper"))
        .arg(count("rounds", "9", "interleaved rounds; each measures every peer once"))
        .arg(count("seconds", "3", "length of one measurement, after one second of warm-up"))
        .arg(count("connections", "8", "connections of the load generator"))
        .arg(count("streams", "16", "requests at once on each connection"))
        .arg(
            Arg::new("body")
                .long("body")
                .default_value("64")
                .value_parser(value_parser!(u32).range(1..=16 * 1024 * 1024))
                .help("bytes of the body, the same both ways"),
        )
        .arg(
            Arg::new("grpc")
                .long("grpc")
                .action(ArgAction::SetTrue)
                .help("unary gRPC calls: one message in the body, the status in trailers"),
        )
        .arg(keyed_arg())
        .arg(save_arg())
}

fn memory() -> Command {
    Command::new("memory")
        .about("Memory of an idle process and of an idle connection that has had one request")
        .arg(peers_arg("spurline,spurline-1,haproxy,nginx"))
        .arg(count("connections", "5000", "idle connections to hold open"))
        .arg(
            Arg::new("http2")
                .long("http2")
                .action(ArgAction::SetTrue)
                .help("HTTP/2 by prior knowledge instead of HTTP/1.1"),
        )
        .arg(save_arg())
}

fn tls() -> Command {
    Command::new("tls")
        .about(
            "CPU time per TLS handshake, full and resumed, and per GiB in TLS, beside the same without TLS",
        )
        .arg(peers_arg("spurline-1,haproxy,nginx"))
        .arg(count("rounds", "5", "interleaved rounds; each measures every peer once"))
        .arg(count("seconds", "3", "length of each of the five measurements of a peer in a round"))
        .arg(count("connections", "16", "connections being opened at once"))
        .arg(save_arg())
}

fn attacks() -> Command {
    let list: String = ATTACKS
        .iter()
        .map(|attack| format!("  {} {:<22}{}\n", attack.id, attack.name, attack.about))
        .collect();
    Command::new("attacks")
        .about("Attacks on HTTP/2 beside a victim: what becomes of its requests, of the proxy's memory, and afterwards")
        .after_help(format!("The attacks:\n{list}"))
        .arg(
            Arg::new("peer")
                .long("peer")
                .default_value("spurline")
                .value_parser(Peer::parse)
                .help("what to attack: spurline, spurline-1, haproxy, nginx, envoy, hyper"),
        )
        .arg(
            Arg::new("attacks")
                .long("attacks")
                .value_delimiter(',')
                .help("ids or names of attacks; all without it"),
        )
        .arg(
            count("connections", "1,50", "connections to attack from; several numbers are measured in turn")
                .value_delimiter(','),
        )
        .arg(count("seconds", "30", "length of each attack; nine seconds more are for before and after"))
        .arg(count("rate", "200", "the victim's requests per second"))
        .arg(save_arg())
}

fn control() -> Command {
    Command::new("control")
        .about("Time from a sandbox created over REST until every proxy has acknowledged it")
        .arg(
            count("proxies", "10,100,1000", "simulated proxies; several numbers are measured in turn")
                .value_delimiter(','),
        )
        .arg(count("real", "3", "real proxies beside them"))
        .arg(count("rounds", "200", "sandboxes created and deleted for each number of proxies"))
        .arg(save_arg())
}

fn control_load() -> Command {
    Command::new("control-load")
        .about(
            "What very many sandboxes cost the control service and a proxy that needs one override of each",
        )
        .arg(count("sandboxes", "10000", "sandboxes to load"))
        .arg(count("workloads", "100", "forks in each of them"))
        .arg(count("changes", "100", "changes whose time to the swap in the proxy is measured one by one"))
        .arg(count("rate", "2000", "requests per second through the proxy"))
        .arg(count("seconds", "10", "length of one phase in a round"))
        .arg(count("rounds", "3", "rounds of all phases"))
        .arg(save_arg())
}

fn peers_arg(default: &'static str) -> Arg {
    Arg::new("peers")
        .long("peers")
        .default_value(default)
        .value_delimiter(',')
        .value_parser(Peer::parse)
        .help("what to measure: floor, spurline, spurline-1, haproxy, nginx, envoy, hyper (HTTP/2 only)")
}

fn keyed_arg() -> Arg {
    Arg::new("keyed")
        .long("keyed")
        .action(ArgAction::SetTrue)
        .help("send the routing key of a fork (the last key of the table)")
}

fn count(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .default_value(default)
        .value_parser(value_parser!(u32).range(1..=100_000))
        .help(help)
}

fn save_arg() -> Arg {
    Arg::new("save")
        .long("save")
        .value_name("DIR")
        .num_args(0..=1)
        .default_missing_value("bench/results")
        .value_parser(value_parser!(PathBuf))
        .help("write the figures as JSON into DIR")
}
