//! What operators type, and what they get: values, precedence, mistakes.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, io, net::SocketAddr, path::Path, time::Duration};

use spurline_config::{
    AccessLogTarget, Command, Config, ControlServer, Exit, LogLevel, Protocol, Rate, Role, UpstreamProtocol,
    parse,
};
use spurline_route::{GatewayCarrier, OnConflict, Trust};

/// One start of the proxy.
#[derive(Default)]
struct Start<'a> {
    args: Vec<&'a str>,
    env: Vec<(&'a str, &'a str)>,
    file: &'a str,
}

const LISTEN: &str = "--inbound-listen=127.0.0.1:15006";

fn with_args<'a>(args: &[&'a str]) -> Start<'a> {
    Start { args: [&[LISTEN], args].concat(), ..Start::default() }
}

fn with_file(file: &str) -> Start<'_> {
    Start { args: vec![LISTEN, "--config", "settings.yaml"], file, ..Start::default() }
}

impl Start<'_> {
    fn parse(&self) -> Result<Command, Exit> {
        let args = ["spurline-proxy"].iter().chain(&self.args).map(Into::into);
        let env = self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(args, env, |path| {
            assert_eq!(path, Path::new("settings.yaml"));
            Ok(self.file.to_owned())
        })
    }

    fn config(&self) -> Config {
        match self.parse() {
            Ok(Command::Run(config) | Command::Check(config)) => *config,
            Ok(Command::Print(text)) => panic!("printed {text}"),
            Err(exit) => panic!("{exit}"),
        }
    }

    fn mistakes(&self) -> Vec<String> {
        let exit = self.parse().unwrap_err();
        assert_eq!(exit.code, 64);
        exit.message.lines().map(str::to_owned).collect()
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_to_listen_on_is_all_that_is_needed() {
    let config = with_args(&[]).config();
    assert_eq!(config.workers, None);
    assert_eq!(config.inbound.unwrap().listen, addr("127.0.0.1:15006"));
    assert_eq!(config.admin, Some(addr("127.0.0.1:15000")));
    assert_eq!(config.carriers.custom_headers, ["sd-routing-key"]);
    assert_eq!(config.carriers.legacy_members, ["sd-sandbox", "sd-workspace"]);
    assert_eq!(config.carriers.gateway.order, []);
    assert_eq!(config.limits.head_bytes_max, 16 * 1024);
    assert_eq!(config.limits.connections_max, None);
    assert_eq!(config.timeouts.response, Some(Duration::from_secs(60)));
    assert_eq!(config.timeouts.request, None);
    assert_eq!(config.timeouts.tunnel_idle, Some(Duration::from_secs(3600)));
    assert_eq!(config.upstream.ejection_failures, Some(5));
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.log.access, AccessLogTarget::Off);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let file = "head_timeout: 2s\nidle_timeout: 2s\nbody_idle_timeout: 2s\n";
    let start = Start {
        args: vec![LISTEN, "--config=settings.yaml", "--head-timeout=4s"],
        env: vec![("SPURLINE_HEAD_TIMEOUT", "3s"), ("SPURLINE_IDLE_TIMEOUT", "3s")],
        file,
    };
    let timeouts = start.config().timeouts;
    assert_eq!(timeouts.head, Some(Duration::from_secs(4)));
    assert_eq!(timeouts.idle, Some(Duration::from_secs(3)));
    assert_eq!(timeouts.body_idle, Some(Duration::from_secs(2)));
    assert_eq!(timeouts.connect, Duration::from_secs(1));
}

#[test]
fn listeners_come_from_flags_variables_and_the_file_alike() {
    let flag = "name=cart,listen=127.0.0.1:9001,workload=shop/Deployment/cart,baseline=127.0.0.1:8080+127.0.0.1:8081";
    let web = "name=web,listen=127.0.0.1:9002,workload=shop/Deployment/web,protocol=http,role=gateway";
    let file = "\
listeners:
  - name: cart
    listen: 127.0.0.1:9001
    workload: shop/Deployment/cart
    baseline: [127.0.0.1:8080, 127.0.0.1:8081]
  - {name: web, listen: '127.0.0.1:9002', workload: shop/Deployment/web, protocol: http, role: gateway}
";
    let by_flag = Start { args: vec!["--listener", flag, "--listener", web], ..Start::default() }.config();
    let both = format!("{flag}; {web}");
    let by_variable = Start { env: vec![("SPURLINE_LISTENER", &both)], ..Start::default() }.config();
    let by_file = Start { args: vec!["--config=settings.yaml"], file, ..Start::default() }.config();
    assert_eq!(by_flag.listeners, by_variable.listeners);
    assert_eq!(by_flag.listeners, by_file.listeners);
    let [cart, web] = by_flag.listeners.as_slice() else { panic!() };
    assert_eq!(cart.baseline, [addr("127.0.0.1:8080"), addr("127.0.0.1:8081")]);
    assert_eq!((cart.port, cart.protocol), (9001, Protocol::Detect));
    assert_eq!((web.role, web.trust), (Role::Gateway, Trust::None));
}

#[test]
fn certificates_come_from_flags_variables_and_the_file_alike() {
    let listener = "--listener=name=web,listen=127.0.0.1:9002,workload=shop/Deployment/web,tls=terminate";
    let first = "names=a.example+*.b.example,cert=a.pem,key=a.key";
    let file = "tls_certificates:\n  - {names: [a.example, '*.b.example'], cert: a.pem, key: a.key}\n  - cert: c.pem\n    key: c.key\n";
    let flags = vec![listener, "--tls-certificate", first, "--tls-certificate=cert=c.pem,key=c.key"];
    let by_flag = Start { args: flags, ..Start::default() }.config().tls.unwrap();
    let both = format!("{first}; cert=c.pem,key=c.key");
    let env = vec![("SPURLINE_TLS_CERTIFICATE", both.as_str())];
    let by_variable = Start { args: vec![listener], env, ..Start::default() }.config().tls.unwrap();
    let by_file = Start { args: vec![listener, "--config=settings.yaml"], file, ..Start::default() }.config();
    assert_eq!(by_flag, by_variable);
    assert_eq!(by_flag, by_file.tls.unwrap());
    let [a, c] = by_flag.certificates.as_slice() else { panic!() };
    assert_eq!(
        (a.names.as_slice(), c.names.len()),
        (["a.example", "*.b.example"].map(String::from).as_slice(), 0)
    );
}

#[test]
fn http2_is_spoken_unless_told_and_each_budget_has_its_numbers() {
    let http2 = with_args(&[]).config().http2;
    assert!(http2.is_on);
    assert_eq!((http2.streams_max, http2.upstream_streams_max), (100, 100));
    assert_eq!((http2.stream_window_bytes, http2.connection_window_bytes), (16 * 1024, 1024 * 1024));
    assert_eq!(http2.ping_interval, None);
    let file = "http2: false\nhttp2_resets_burst: 7\nhttp2_resets_per_second: 0\nhttp2_ping_interval: 5m\n";
    let http2 = with_file(file).config().http2;
    assert_eq!((http2.is_on, http2.ping_interval), (false, Some(Duration::from_secs(300))));
    assert_eq!(http2.resets, Rate { burst: 7, per_second: 0 });
    let wrong = with_args(&["--http2-stream-window-bytes=2MiB", "--http2-pings-burst=0"]).mistakes();
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    assert!(
        wrong[0].contains("larger than http2_connection_window_bytes") || wrong[1].contains("larger than")
    );
}

#[test]
fn the_version_of_http_upstream_is_one_for_all_unless_a_listener_has_its_own() {
    let own = "--listener=name=a,listen=127.0.0.1:9000,workload=shop/Deployment/a,upstream_protocol=http1";
    let other = "--listener=name=b,listen=127.0.0.1:9001,workload=shop/Deployment/b";
    let config = with_args(&["--upstream-protocol=http2", own, other]).config();
    assert_eq!(config.upstream.protocol, UpstreamProtocol::Http2);
    let of = |at: usize| config.listeners[at].upstream_protocol;
    assert_eq!((of(0), of(1)), (UpstreamProtocol::Http1, UpstreamProtocol::Http2));
    assert_eq!(with_args(&[]).config().upstream.protocol, UpstreamProtocol::Auto);
    assert_eq!(with_args(&["--upstream-protocol=h2"]).mistakes().len(), 1);
}

#[test]
fn grpc_web_is_for_gateways_and_a_mistake_where_there_are_none() {
    let listener = "--listener=name=a,listen=127.0.0.1:9000,workload=shop/Deployment/a";
    let gateway = "--listener=name=b,listen=127.0.0.1:9001,workload=shop/Deployment/b,role=gateway";
    let config = with_args(&["--grpc-web", listener, gateway]).config();
    assert_eq!(config.listeners.iter().map(|it| it.grpc_web).collect::<Vec<_>>(), [false, true]);
    assert!(with_args(&["--grpc-web", listener]).mistakes()[0].contains("no listener has role=gateway"));
    let wrong = with_args(&["--grpc-web", "--upstream-protocol=http1", gateway]).mistakes();
    assert!(wrong.join("\n").contains("upstream_protocol=http1 cannot carry"), "{wrong:#?}");
}

#[test]
fn a_setting_of_tls_that_would_do_nothing_is_a_mistake() {
    let web = "--listener=name=web,listen=127.0.0.1:9002,workload=shop/Deployment/web";
    let told = |args: &[&str]| with_args(args).mistakes().join("\n");
    assert_eq!(
        told(&[web, "--tls-certificate=cert=a,key=b"]),
        "tls_certificate is set, and no listener has tls=terminate"
    );
    assert!(
        told(&[web, "--tls-client-ca-file=a"]).ends_with("no listener has tls=terminate; allowed: a path")
    );
    assert!(
        told(&[web, "--upstream-tls-name=a.example"])
            .ends_with("no listener has upstream_tls=on; allowed: a DNS name")
    );
    let originating =
        "--listener=name=web,listen=127.0.0.1:9002,workload=shop/Deployment/web,upstream_tls=on";
    assert_eq!(told(&[originating]), "listener \"web\": upstream_tls=on needs upstream_tls_ca_file");
    let terminating = "--listener=name=web,listen=127.0.0.1:9002,workload=shop/Deployment/web,tls=terminate";
    assert_eq!(told(&[terminating]), "listener \"web\": tls=terminate needs a tls_certificate");
}

#[test]
fn carriers_are_configurable_and_unset_gateway_carriers_are_skipped() {
    let config = with_args(&[
        "--routing-headers=x-key,x-other",
        "--legacy-members=",
        "--on-conflict=reject",
        "--gateway-key-order=cookie,host,query",
        "--gateway-host-pattern={key}--*.preview.example.com",
        "--gateway-cookie=key",
    ])
    .config();
    assert_eq!(config.carriers.custom_headers, ["x-key", "x-other"]);
    assert_eq!(config.carriers.legacy_members, [""; 0]);
    assert_eq!(config.carriers.on_conflict, OnConflict::Reject);
    assert_eq!(config.carriers.own_key, None);
    assert_eq!(config.carriers.gateway.order, [GatewayCarrier::Cookie, GatewayCarrier::Host]);
}

#[test]
fn every_mistake_of_every_source_is_told_at_once_with_its_place() {
    let start = Start {
        args: vec![
            "--config=settings.yaml",
            "--head-timeout=5x",
            "--workers=-1x".trim_end_matches('x'),
            "--listener=name=a,listen=nowhere",
        ],
        env: vec![("SPURLINE_FIELDS_MAX", "0"), ("SPURLINE_HEAD_TIMEUOT", "1s"), ("OTHER_THING", "x")],
        file: "\n# comment\nidel_timeout: 1s\nbuffer_bytes: 16KB\nlog_level: [info]\nroutes:\ndrain_timeout: 1s\n",
    };
    assert_eq!(
        start.mistakes(),
        [
            "SPURLINE_HEAD_TIMEUOT (env SPURLINE_HEAD_TIMEUOT): unknown setting; did you mean \
             \"SPURLINE_HEAD_TIMEOUT\"?",
            "settings.yaml:3: idel_timeout: unknown setting; did you mean \"idle_timeout\"?",
            "settings.yaml:5: log_level is not one word; allowed: off, error, warn, info, debug, trace",
            "settings.yaml:6: routes has no value: remove it, or write \"\" for none",
            "workers (flag --workers): value \"-1\": not a whole number; allowed: 0 to 1024",
            "listener (flag --listener): value \"name=a,listen=nowhere\": listen: \"nowhere\" is not ADDRESS:PORT in \
             digits, such as 127.0.0.1:8080 or [::1]:8080, workload is missing; allowed: \
             name=NAME,listen=ADDRESS:PORT,workload=NAMESPACE/KIND/NAME,port=PORT,baseline=ADDRESS:PORT+...,\
             protocol=detect|http|tcp,role=sidecar|gateway,trust=all|signed|none,tls=off|terminate,\
             tls_unmatched=pass|refuse,upstream_tls=off|on,upstream_protocol=auto|http1|http2,grpc_web=off|on",
            "fields_max (env SPURLINE_FIELDS_MAX): value \"0\": too small; allowed: 1 to 256",
            "buffer_bytes (settings.yaml:4): value \"16KB\": not a size; allowed: 4KiB to 1MiB (16384, 16KiB, 1MiB)",
            "head_timeout (flag --head-timeout): value \"5x\": not a duration; allowed: 0 (no limit) to 24h (250ms, \
             10s, 5m, 1h)",
            "drain_timeout (settings.yaml:7): value \"1s\": not longer than drain_delay, so nothing in flight could \
             finish; allowed: 1ms to 24h (250ms, 10s, 5m, 1h)",
        ]
    );
}

#[test]
fn a_proxy_that_listens_nowhere_does_not_start() {
    assert_eq!(
        Start::default().mistakes(),
        ["nothing to listen on: set inbound_listen, or at least one listener"]
    );
}

#[test]
fn admin_stays_on_loopback_unless_told_otherwise() {
    let mistakes = with_args(&["--admin-listen=0.0.0.0:15000"]).mistakes();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].contains("admin_allow_remote is not true"), "{mistakes:?}");
    for good in [&["--admin-listen=0.0.0.0:1", "--admin-allow-remote"][..], &["--admin-listen=[::1]:1"]] {
        assert!(with_args(good).config().admin.is_some());
    }
    assert_eq!(with_args(&["--admin-listen=off"]).config().admin, None);
}

#[test]
fn rules_between_settings_are_checked() {
    let listener = "name=a,listen=127.0.0.1:1,workload=n/Deployment/a";
    for (args, expected) in [
        (vec!["--target-bytes-max=32KiB"], "target_bytes_max (flag --target-bytes-max)"),
        (vec!["--signed-keys-file=keys.yaml"], "signed_keys_audience (default)"),
        (vec!["--routing-headers=host"], "routing_headers (flag --routing-headers)"),
        (
            vec!["--listener=name=a,listen=127.0.0.1:1,workload=n/Deployment/a,role=gateway,protocol=detect"],
            "listener (flag --listener)",
        ),
        (vec!["--fields-max=257"], "fields_max (flag --fields-max)"),
        (vec!["--baggage-member=A B"], "baggage_member (flag --baggage-member)"),
        (vec!["--gateway-key-order=header"], "gateway_key_order (flag --gateway-key-order)"),
        (vec!["--listener", listener, "--listener", listener], "listener: two are named \"a\""),
        (
            vec!["--listener=name=a,listen=127.0.0.1:1,workload=n/Deployment/a,trust=signed"],
            "listener \"a\": trust=signed needs signed_keys_file and signed_keys_audience",
        ),
        (
            vec!["--listener=name=a,listen=127.0.0.1:15000,workload=n/Deployment/a"],
            "admin_listen and listener \"a\" have the same address",
        ),
    ] {
        let mistakes = with_args(&args).mistakes();
        assert!(mistakes[0].starts_with(expected), "{args:?}: {mistakes:?}");
    }
    let orphan =
        Start { args: vec!["--listener", listener, "--inbound-workload=n/Deployment/a"], ..Start::default() };
    assert!(orphan.mistakes()[0].ends_with("inbound_listen is not set; allowed: namespace/Kind/name"));
}

#[test]
fn a_file_that_is_not_a_map_of_settings_is_told_by_line() {
    for (file, expected) in [
        ("- a\n- b\n", "settings.yaml:1: the document is not a map of settings"),
        ("workers: 1\nworkers: 2\n", "settings.yaml:2: workers is given twice"),
        ("workers: &a 1\nfields_max: *a\n", "settings.yaml:2: aliases are not supported"),
        ("workers: 1\n---\nworkers: 2\n", "settings.yaml:3: a second document begins"),
        ("check: true\n", "settings.yaml:1: check: unknown setting"),
        ("listeners: here\n", "settings.yaml:1: listeners is not a list of maps"),
        ("listeners:\n  - here\n", "settings.yaml:2: a listener is not a map"),
        ("listeners:\n  - name:\n", "settings.yaml:2: name of a listener has no value"),
        ("workers: [1\n", "settings.yaml:1: unclosed bracket"),
    ] {
        let mistakes = with_file(file).mistakes();
        assert!(mistakes[0].starts_with(expected), "{file:?}: {mistakes:?}");
    }
}

#[test]
fn values_in_a_file_keep_the_text_that_was_typed() {
    let config = with_file(
        "admin_listen: off\nrouting_headers: [x-a, x-b]\nlegacy_members: []\naccess_log: \"off\"\n",
    )
    .config();
    assert_eq!(config.admin, None);
    assert_eq!(config.carriers.custom_headers, ["x-a", "x-b"]);
    assert_eq!(config.carriers.legacy_members, [""; 0]);
    let mistakes = with_file("workers: 0x10\n").mistakes();
    assert!(mistakes[0].contains("value \"0x10\": not a whole number"), "{mistakes:?}");
}

#[test]
fn an_empty_file_changes_nothing() {
    for file in ["", "# nothing\n", "---\n"] {
        assert_eq!(with_file(file).config().workers, None);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_that_names_it() {
    let exit = parse(["p", LISTEN, "--config=gone.yaml"].iter().map(Into::into), std::iter::empty(), |_| {
        Err(io::ErrorKind::NotFound.into())
    })
    .unwrap_err();
    assert_eq!(exit.message, "config (flag --config): value \"gone.yaml\": entity not found");
}

#[test]
fn check_only_checks() {
    assert!(matches!(with_args(&["--check"]).parse(), Ok(Command::Check(_))));
    assert!(matches!(with_args(&["--check=false"]).parse(), Ok(Command::Run(_))));
    let by_variable = Start { args: vec![LISTEN], env: vec![("SPURLINE_CHECK", "true")], file: "" };
    assert!(matches!(by_variable.parse(), Ok(Command::Check(_))));
}

#[test]
fn an_unknown_flag_ends_with_64_and_a_suggestion() {
    let exit = with_args(&["--head-timeuot=1s"]).parse().unwrap_err();
    assert_eq!(exit.code, 64);
    assert!(exit.message.contains("--head-timeout"), "{exit}");
}

#[test]
fn help_and_version_are_printed() {
    let Ok(Command::Print(help)) = with_args(&["--help"]).parse() else { panic!() };
    for text in ["--head-timeout <DURATION>", "SPURLINE_HEAD_TIMEOUT", "[default: 10s]", "Timeouts:"] {
        assert!(help.contains(text), "{text} not in\n{help}");
    }
    let Ok(Command::Print(version)) = with_args(&["--version"]).parse() else { panic!() };
    assert_eq!(version, concat!("spurline-proxy ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_dump_tells_every_value_and_its_source() {
    let start = Start {
        args: vec!["--config=settings.yaml", "--workers=2"],
        env: vec![("SPURLINE_IDLE_TIMEOUT", "3s")],
        file: "head_timeout: 2s\nlisteners:\n  - {name: a, listen: '127.0.0.1:1', workload: n/Deployment/a}\n",
    };
    let dump: serde_json::Value = serde_json::from_str(&start.config().dump()).unwrap();
    for (name, value, source) in [
        ("workers", "2", "flag"),
        ("idle_timeout", "3s", "env"),
        ("head_timeout", "2s", "settings.yaml:1"),
        ("fields_max", "100", "default"),
    ] {
        assert_eq!(dump[name]["value"], value);
        assert_eq!(dump[name]["source"], source);
    }
    assert_eq!(dump["listeners"][0]["value"], "name=a,listen=127.0.0.1:1,workload=n/Deployment/a");
}

#[test]
fn the_settings_page_is_fresh() {
    let Ok(Command::Print(expected)) = with_args(&["--print-settings-reference"]).parse() else { panic!() };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
    if std::env::var_os("SPURLINE_UPDATE_REFERENCE").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&page).unwrap_or_default() == expected,
        "docs/reference/settings.md is stale: spurline-proxy --print-settings-reference > docs/reference/settings.md"
    );
}

#[test]
fn a_control_service_is_named_by_one_or_more_addresses() {
    let config = with_args(&[
        "--control=http://127.0.0.1:7777,https://control.example:7777/,unix:/run/spurline.sock,http://[::1]:7",
        "--control-ca-file=ca.pem",
        "--control-snapshot=routes.snapshot",
    ])
    .config();
    let control = config.control.unwrap();
    let servers = [
        ControlServer::Http("127.0.0.1:7777".into()),
        ControlServer::Https("control.example:7777".into()),
        ControlServer::Unix("/run/spurline.sock".into()),
        ControlServer::Http("[::1]:7".into()),
    ];
    assert_eq!(control.servers, servers);
    assert_eq!(control.snapshot.as_deref(), Some(Path::new("routes.snapshot")));
    assert_eq!(control.snapshot_age_max, Duration::from_secs(24 * 3600));
    assert_eq!(control.ready_timeout, Some(Duration::from_secs(10)));
    assert_eq!((control.identity, control.node), (None, None));
    assert_eq!(with_args(&[]).config().control, None);
}

#[test]
fn what_does_not_fit_a_control_service_is_refused() {
    let refused = |args: &[&'static str], expected: &str| {
        let mistakes = with_args(args).mistakes().join("\n");
        assert!(mistakes.contains(expected), "{args:?}: {mistakes}");
    };
    refused(&["--control=http://a:1", "--routes=r.yaml"], "routes is set too");
    refused(&["--control=https://a:1"], "required when a server is https");
    refused(&["--control=http://a:1", "--control-cert-file=c"], "required with control_cert_file");
    refused(&["--control=http://a:1,http://a:1"], "given twice");
    refused(&["--control-snapshot=s"], "control is not set");
    for server in ["a:1", "http://a", "http://a:0", "http://:1", "http://a b:1", "http://a:1/x", "unix:x"] {
        let argument = format!("--control={server}");
        assert_eq!(with_args(&[&argument]).mistakes().len(), 1, "{server}");
    }
}
