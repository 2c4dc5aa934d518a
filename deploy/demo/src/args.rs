//! The command line of the demo, as clap's builder says it. No setting of the other programs stands here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::service::{Service, Version};

/// What the command line asked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Start the shop, show the requests being steered, stay up unless `once`.
    Run { lifetime: Lifetime, proxy: Option<PathBuf>, control: Option<PathBuf> },
    /// Be one service of the shop.
    Service(Service),
    /// Become `program`, but die with the process `parent`.
    Attached { parent: i32, program: Vec<OsString> },
}

/// Whether `run` ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Stay up after the checks, until a signal.
    UntilSignal,
    /// Exit after the checks, with their verdict.
    Once,
}

/// Parses `args` (the program's name first).
///
/// # Errors
/// Usage errors, and the requests for help, as clap reports them.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut matches = command().try_get_matches_from(args)?;
    let (name, mut sub) = matches.remove_subcommand().ok_or_else(missing)?;
    Ok(match name.as_str() {
        "service" => Invocation::Service(Service {
            name: required(&mut sub, "name")?,
            version: required(&mut sub, "version")?,
            listen: required(&mut sub, "listen")?,
            next: sub.remove_one("next"),
        }),
        "attached" => Invocation::Attached {
            parent: required(&mut sub, "parent")?,
            program: sub.remove_many("program").into_iter().flatten().collect(),
        },
        _ => Invocation::Run {
            lifetime: if sub.get_flag("once") { Lifetime::Once } else { Lifetime::UntilSignal },
            proxy: sub.remove_one("proxy"),
            control: sub.remove_one("control"),
        },
    })
}

fn command() -> Command {
    let run = Command::new("run")
        .about("Starts the shop behind its proxies and shows where each request goes")
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help(
            "Exit after the checks: 0 if every request was answered by whom it should have been, else 1",
        ))
        .arg(path("proxy").help("The spurline-proxy to run [default: the one beside this program]"))
        .arg(path("control").help("The spurline-control to run [default: the one beside this program]"));
    let service = Command::new("service")
        .about("One service of the shop: plain HTTP, knows nothing of routing keys, copies `baggage`")
        .arg(Arg::new("name").long("name").required(true).help("Name it answers with"))
        .arg(
            Arg::new("version")
                .long("version")
                .required(true)
                .value_parser(Version::from_str)
                .help("Which copy it is: baseline or fork"),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .required(true)
                .value_parser(value_parser!(SocketAddr))
                .help("Address to serve on"),
        )
        .arg(Arg::new("next").long("next").value_name("URL").help("Service to call before answering"));
    let attached = Command::new("attached")
        .hide(true)
        .arg(Arg::new("parent").long("parent").required(true).value_parser(value_parser!(i32)))
        .arg(
            Arg::new("program").num_args(1..).last(true).required(true).value_parser(value_parser!(OsString)),
        );
    Command::new("spurline-demo")
        .about("A small shop behind spurline proxies: real requests being steered")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run, service, attached])
}

fn path(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("PATH").value_parser(value_parser!(PathBuf))
}

fn required<T: Clone + Send + Sync + 'static>(
    matches: &mut clap::ArgMatches,
    name: &str,
) -> Result<T, clap::Error> {
    matches.remove_one(name).ok_or_else(missing)
}

/// Unreachable while `command` marks the same arguments as required; an error rather than a panic.
fn missing() -> clap::Error {
    clap::Error::new(clap::error::ErrorKind::MissingRequiredArgument)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn run_stays_up_unless_told_otherwise() {
        let Ok(Invocation::Run { lifetime, proxy, control }) = parsed("spurline-demo run") else {
            panic!("run")
        };
        assert_eq!(lifetime, Lifetime::UntilSignal);
        assert_eq!((proxy, control), (None, None));
    }

    #[test]
    fn an_attached_program_keeps_its_own_flags() {
        let Ok(Invocation::Attached { parent, program }) =
            parsed("spurline-demo attached --parent 7 -- /bin/x --once -- y")
        else {
            panic!("attached")
        };
        assert_eq!(parent, 7);
        assert_eq!(program, ["/bin/x", "--once", "--", "y"]);
    }

    #[test]
    fn a_version_is_baseline_or_fork() {
        assert!(parsed("spurline-demo service --name a --version fork --listen 127.0.0.1:1").is_ok());
        assert!(parsed("spurline-demo service --name a --version canary --listen 127.0.0.1:1").is_err());
    }
}
