use super::*;

fn read(words: &[&str]) -> Result<Settings, String> {
    let words = ["spurline-control", "serve"].into_iter().chain(words.iter().copied());
    let matches = args::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
    let (_, matches) = matches.subcommand().unwrap();
    Settings::read(matches).map_err(|failure| {
        assert_eq!(failure.code(), 64);
        failure.message().to_owned()
    })
}

#[test]
fn the_defaults_are_good_and_local() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.grpc.listen, ["127.0.0.1:7777".parse().unwrap()]);
    assert_eq!(settings.rest.listen, ["127.0.0.1:7778".parse().unwrap()]);
    assert_eq!(settings.admin, ["127.0.0.1:9090".parse().unwrap()]);
    assert_eq!(settings.debounce, Debounce::default());
    assert_eq!((settings.workers, settings.connections_max), (2, 20_000));
}

#[test]
fn several_addresses_are_served_alike() {
    let settings = read(&["--rest-listen", "127.0.0.1:1, unix:/run/control.sock"]).unwrap();
    assert_eq!(settings.rest.listen.len(), 2);
}

#[test]
fn every_wrong_setting_is_told_at_once() {
    let wrong = read(&[
        "--grpc-listen=nowhere",
        "--rest-listen=0.0.0.0:7778",
        "--workers=0",
        "--drain-timeout=soon",
        "--log-level=loud",
        "--preconditions=maybe",
        "--grpc-key-file=k",
        "--store=",
        "--debounce-quiet=2s",
        "--identity=a b",
    ])
    .unwrap_err();
    for part in [
        "--grpc-listen=nowhere: ",
        "--rest-listen=0.0.0.0:7778: ",
        "--workers=0: not a number in range; allowed: 1 to 64",
        "--drain-timeout=soon: ",
        "--log-level=loud: no such word; allowed: off, error, warn, info, debug, trace",
        "--preconditions=maybe: ",
        "--grpc-cert-file, --grpc-key-file",
        "--store=: empty",
        "--debounce-quiet=2s: longer than --debounce-max=500ms",
        "--identity=a b: ",
    ] {
        assert!(wrong.contains(part), "{wrong}\nshould have\n{part}");
    }
    assert_eq!(wrong.lines().count(), 10, "{wrong}");
}

#[test]
fn what_other_machines_reach_needs_authentication() {
    let tls = ["--rest-cert-file=c", "--rest-key-file=k", "--rest-listen=0.0.0.0:1"];
    assert!(read(&tls).unwrap_err().contains("TLS with a client CA"));
    assert!(read(&[&tls[..], &["--tokens-file=t"]].concat()).is_ok());
    assert!(read(&[&tls[..], &["--rest-client-ca-file=a"]].concat()).is_ok());
    assert!(
        read(&["--rest-listen=0.0.0.0:1", "--tokens-file=t"]).unwrap_err().contains("TLS for the tokens")
    );
    assert!(read(&["--admin-listen=0.0.0.0:1"]).is_ok(), "metrics name nobody");
}

#[test]
fn the_guide_lists_every_setting() {
    let guide = include_str!("../../../docs/guide/control.md");
    for setting in args::SETTINGS {
        let default = setting.default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
        let row = format!("| `--{}` | {default} | {} |", setting.flag, setting.help);
        assert!(guide.contains(&row), "docs/guide/control.md lacks\n{row}");
    }
}
