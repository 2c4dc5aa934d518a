//! What can be typed: commands, flags and variables. What the words mean is read elsewhere.

use clap::{Arg, ArgAction, Command};

pub(crate) const SERVE: &str = "serve";
/// Every environment variable begins with it. Not with `SPURLINE_`: the proxy refuses variables of that kind that it does
/// not know, and both may be started from one shell.
pub(crate) const ENV_PREFIX: &str = "SPURLINECTL_";

/// A setting of `serve`: its flag, which is its variable too, how its value is shown, its default and what it does.
pub(crate) struct Setting {
    pub(crate) flag: &'static str,
    pub(crate) value: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) help: &'static str,
}

/// Every setting of `serve`. The guide lists them; a test compares.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "grpc-listen",
        "ADDRESS,...",
        Some("127.0.0.1:7777"),
        "Where ADS and the Routes API are served over gRPC",
    ),
    setting("grpc-cert-file", "FILE", None, "Certificate chain for gRPC, PEM; with it, TLS"),
    setting("grpc-key-file", "FILE", None, "Private key of the certificate for gRPC, PEM"),
    setting(
        "grpc-client-ca-file",
        "FILE",
        None,
        "Authorities of client certificates for gRPC, PEM; with it, every client needs one",
    ),
    setting(
        "rest-listen",
        "ADDRESS,...",
        Some("127.0.0.1:7778"),
        "Where the REST API and the Routes API over HTTP are served",
    ),
    setting("rest-cert-file", "FILE", None, "Certificate chain for REST, PEM; with it, TLS"),
    setting("rest-key-file", "FILE", None, "Private key of the certificate for REST, PEM"),
    setting(
        "rest-client-ca-file",
        "FILE",
        None,
        "Authorities of client certificates for REST, PEM; with it, every client needs one",
    ),
    setting(
        "admin-listen",
        "ADDRESS,...",
        Some("127.0.0.1:9090"),
        "Where /metrics, /healthz and /readyz are served, without authentication",
    ),
    setting("tokens-file", "FILE", None, "Bearer tokens for REST, JSON; with it, every request needs one"),
    setting(
        "preconditions",
        "WORD",
        Some("optional"),
        "Whether writes over REST must say which version they mean: optional or required",
    ),
    setting(
        "store",
        "FILE",
        None,
        "Where documents written over REST are kept; without it they are gone with the process",
    ),
    setting("directory", "DIRECTORY", None, "A directory of YAML and JSON documents to follow"),
    setting(
        "directory-poll-interval",
        "TIME",
        Some("1s"),
        "How often the directory is looked at; a change is read when it has settled for as long",
    ),
    setting(
        "debounce-idle",
        "TIME",
        Some("100ms"),
        "A change this long after the last push is pushed at once",
    ),
    setting(
        "debounce-quiet",
        "TIME",
        Some("50ms"),
        "Otherwise changes are pushed together when none came for this long",
    ),
    setting("debounce-max", "TIME", Some("500ms"), "But no later than this after the first"),
    setting(
        "connections-max",
        "NUMBER",
        Some("20000"),
        "Open connections of one listener; one more is closed at once",
    ),
    setting(
        "stream-age-max",
        "TIME",
        Some("30m"),
        "How long an ADS stream lives, 20 % more or less, so that clients spread over replicas",
    ),
    setting("drain-timeout", "TIME", Some("10s"), "How long open requests may go on after SIGTERM"),
    setting("identity", "NAME", Some("spurline-control"), "Which replica this is, in what proxies are told"),
    setting("workers", "NUMBER", Some("2"), "Threads that serve"),
    setting("log-level", "LEVEL", Some("info"), "off, error, warn, info, debug or trace"),
    setting("log-format", "WORD", Some("text"), "text or json; the log goes to stderr"),
];

const fn setting(
    flag: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { flag, value, default, help }
}

const ABOUT: &str = "The control service of Spurline, and the commands that talk to one";

const SERVE_HELP: &str = concat!(
    "Addresses are an IP address and a port, or unix:/path. An address that other machines reach needs ",
    "authentication: for gRPC TLS with a client CA, for REST that or TLS with tokens. Times are a number with ms, s, ",
    "m or h.\n\n",
    "SIGTERM and SIGINT drain, a second one ends at once. SIGHUP reads the directory again; certificates are ",
    "followed by themselves. Exit codes: 0 after a drain, 1 when it could not start, a part of it failed, or it was not ",
    "let drain, 64 for wrong settings.",
);

const EXAMPLES: &str = "Examples:
  spurline-control serve --store control.store
  spurline-control apply -f documents/ --wait
  spurline-control sandbox list -l team=checkout

Every command has --help.";

const CLIENT_HELP: &str = concat!(
    "Exit codes: 0 done, 1 failed, 2 not every proxy had it in time or it is not in force, 64 wrong arguments. ",
    "Results go to stdout, progress and errors to stderr.",
);

pub(crate) fn command() -> Command {
    Command::new("spurline-control")
        .about(ABOUT)
        .after_help(EXAMPLES)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve())
        .subcommand(
            noun("sandbox", "Write, show and delete sandboxes, and wait for proxies to have them")
                .subcommand(heartbeat()),
        )
        .subcommand(noun("routegroup", "The same for route groups").subcommand(heartbeat()))
        .subcommand(noun("workload", "The same for baselines of workloads"))
        .subcommand(with_server(apply("Create or change the documents of files, of any kind")))
}

/// The variable of a flag.
pub(crate) fn variable(flag: &str) -> String {
    format!("{ENV_PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

fn serve() -> Command {
    let flags = SETTINGS.iter().map(|setting| {
        let arg = Arg::new(setting.flag).long(setting.flag).value_name(setting.value).help(setting.help);
        let arg = arg.env(variable(setting.flag)).hide_env_values(true).allow_hyphen_values(true);
        match setting.default {
            Some(default) => arg.default_value(default),
            None => arg,
        }
    });
    Command::new(SERVE).about("Run the control service").after_help(SERVE_HELP).args(flags)
}

fn noun(name: &'static str, about: &'static str) -> Command {
    let commands = [
        apply("Create or change the documents of files"),
        Command::new("get")
            .about("Show one, or list all")
            .arg(Arg::new("name").value_name("NAME"))
            .args([output(), selector()]),
        Command::new("list").about("List all").args([output(), selector()]),
        Command::new("delete")
            .about("Delete by name, or what files name")
            .arg(
                Arg::new("name").value_name("NAME").action(ArgAction::Append).required_unless_present("file"),
            )
            .args([file(), wait(), timeout()])
            .arg(flag("ignore-not-found", "What does not exist counts as deleted")),
        Command::new("wait")
            .about("Wait until every proxy has it")
            .arg(Arg::new("name").value_name("NAME").action(ArgAction::Append).required(true))
            .arg(timeout()),
    ];
    let examples = format!(
        "Examples:\n  spurline-control {name} apply -f {name}.yaml --wait\n  spurline-control {name} get NAME -o \
         json\n  spurline-control {name} delete NAME --ignore-not-found"
    );
    Command::new(name)
        .about(about)
        .after_help(examples)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands.map(with_server))
}

fn heartbeat() -> Command {
    with_server(
        Command::new("heartbeat")
            .about("Say that it is in use, so that it does not end for being idle")
            .arg(Arg::new("name").value_name("NAME").action(ArgAction::Append).required(true)),
    )
}

fn apply(about: &'static str) -> Command {
    Command::new("apply")
        .about(about)
        .args([file().required(true), wait(), timeout()])
        .arg(flag("dry-run", "Have everything checked and change nothing"))
}

fn with_server(command: Command) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .env(variable(name))
            .hide_env_values(true)
            .help_heading("Server")
    };
    command.after_help(CLIENT_HELP).args([
        option("server", "URL", "http://host:port, https://host:port or unix:/path")
            .default_value("http://127.0.0.1:7778"),
        option("token-file", "FILE", "Bearer token to send"),
        option("ca-file", "FILE", "Authorities of the server's certificate, PEM; needed for https"),
        option("cert-file", "FILE", "Client certificate chain, PEM"),
        option("key-file", "FILE", "Private key of the client certificate, PEM"),
    ])
}

fn file() -> Arg {
    let help = "YAML or JSON, several documents allowed; a directory, or - for stdin; may be repeated";
    Arg::new("file").short('f').long("file").value_name("FILE").action(ArgAction::Append).help(help)
}

fn wait() -> Arg {
    flag("wait", "Wait until every proxy has it")
}

fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("TIME")
        .default_value("30s")
        .help("How long to wait for proxies")
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["yaml", "json", "table"])
        .help("How to show it; one is shown as yaml, a list as table, unless told otherwise")
}

fn selector() -> Arg {
    Arg::new("selector")
        .short('l')
        .long("selector")
        .value_name("LABELS")
        .help("Only those with these labels: team=checkout,!legacy")
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}
