//! The command line. Only shapes are checked here; whether a peer is installed shows when it is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::attacks::script::ATTACKS;
use crate::attacks::sink::Appetite;
use crate::peer::Peer;
use crate::scenario::Pace;

pub(crate) use self::options::{AttacksOptions, Control, ControlLoadOptions, RunOptions, Task};

mod options;

/// Reads the process arguments; prints help and exits on a usage error, as clap does.
pub(crate) fn parse() -> Result<Task> {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("run", m)) => Ok(Task::Run(RunOptions {
            scenarios: m.get_many::<String>("scenarios").into_iter().flatten().cloned().collect(),
            pace: if m.get_flag("quick") { Pace::Quick } else { Pace::Full },
            rounds: m.get_one("rounds").copied(),
            peers: m.get_many::<Peer>("peers").map(|peers| peers.copied().collect()),
            save: required(m, "save")?,
        })),
        Some(("list", _)) => Ok(Task::List),
        Some(("report", m)) => Ok(Task::Report(required(m, "file")?)),
        Some(("attacks", m)) => Ok(Task::Attacks(AttacksOptions {
            peer: required(m, "peer")?,
            attacks: m.get_many::<String>("attacks").into_iter().flatten().cloned().collect(),
            connections: m.get_many("connections").context("--connections is missing")?.copied().collect(),
            seconds: required(m, "seconds")?,
            rate: required(m, "rate")?,
            control: if m.get_flag("no-sink") { Control::None } else { Control::Sink },
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
        "sink" => Ok(Task::Sink {
            listen: required(m, "listen")?,
            appetite: Appetite {
                bytes: required(m, "bytes")?,
                life: Duration::from_micros(required(m, "micros")?),
            },
        }),
        _ => anyhow::bail!("{name} is not a subcommand; see --help"),
    }
}

fn required<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Result<T> {
    matches.get_one::<T>(name).cloned().with_context(|| format!("--{name} is missing"))
}

fn command() -> Command {
    Command::new("spurline-bench")
        .about("What Spurline costs: its proxy beside the proxies you know, its control service")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run())
        .subcommand(Command::new("list").about("Lists the scenarios and who takes part"))
        .subcommand(report())
        .subcommand(attacks())
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
        .subcommand(
            hidden("sink", &["listen"]).args(
                ["bytes", "micros"]
                    .map(|name| Arg::new(name).long(name).required(true).value_parser(value_parser!(u64))),
            ),
        )
}

/// A process that the other tasks start; all it is told is addresses.
fn hidden(name: &'static str, addresses: &[&'static str]) -> Command {
    let address = |name: &&'static str| {
        Arg::new(*name).long(*name).required(true).value_parser(value_parser!(SocketAddr))
    };
    Command::new(name).hide(true).args(addresses.iter().map(address))
}

fn run() -> Command {
    Command::new("run")
        .about("Measures scenarios, all or those that are named; writes one record and its page")
        .after_help(
            "One number again, beside the peer it is compared with:\n  \
             spurline-bench run http1-13B --peers spurline,haproxy\n\n\
             SPURLINE_PROXY and SPURLINE_CONTROL name other binaries than those built beside this program, \
             SPURLINE_BENCH_ENVOY another Envoy, SPURLINE_BENCH_PINGORA another relay on Pingora. The record is saved after \
             each scenario; an interrupt ends all that was started and loses the scenario under way.",
        )
        .arg(
            Arg::new("scenarios")
                .value_name("SCENARIO")
                .num_args(0..)
                .help("what to measure, by name or the beginning of names (see list); everything without it"),
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("less of everything: to see that it works and the order of magnitude, not for figures"),
        )
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_parser(value_parser!(u32).range(1..=100))
                .help("rounds of every scenario, in place of its own number"),
        )
        .arg(
            Arg::new("peers")
                .long("peers")
                .value_delimiter(',')
                .value_parser(Peer::parse)
                .help("those that take part, of those that can do the work; all without it"),
        )
        .arg(
            Arg::new("save")
                .long("save")
                .value_name("DIR")
                .default_value("target/bench")
                .value_parser(value_parser!(PathBuf))
                .help("where record and page go; a page that is there is replaced, records are kept"),
        )
}

fn report() -> Command {
    Command::new("report").about("Makes the page of a record once more, into the record's directory").arg(
        Arg::new("file")
            .value_name("FILE")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("a record that a run has written"),
    )
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
                .help("what to attack: spurline, spurline-1, haproxy, nginx, envoy, pingora, hyper"),
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
        .arg(
            Arg::new("no-sink")
                .long("no-sink")
                .action(ArgAction::SetTrue)
                .help("measure no attack a second time on a sink beside the proxy: half the time, and nothing to tell the machine's part by"),
        )
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
