//! The binary from outside: the service over TLS, tokens and Unix sockets, its signals, and the commands against it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(20);

/// A running service on ports of the kernel's choice.
struct Service {
    child: Child,
    log: Arc<Mutex<String>>,
    listening: HashMap<String, String>,
}

impl Service {
    fn start(arguments: &[&str]) -> Self {
        let mut command = control();
        command.arg("serve").args(["--grpc-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]);
        if !arguments.iter().any(|argument| argument.starts_with("--rest-listen")) {
            command.arg("--rest-listen=127.0.0.1:0");
        }
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (stderr, copy) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *copy.lock().unwrap() += &(line + "\n");
            }
        });
        let mut service = Self { child, log, listening: HashMap::new() };
        service.listening = eventually("it listens", || {
            let log = service.log();
            let found: HashMap<_, _> = log.lines().filter_map(listening).collect();
            (found.len() == 3).then_some(found)
        });
        service
    }

    /// Waits until `/readyz` says so.
    fn ready(self) -> Self {
        eventually("it is ready", || (self.admin("/readyz").0 == 200).then_some(()));
        self
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn admin(&self, path: &str) -> (u16, String) {
        get(&self.listening["admin"], path)
    }

    fn rest(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.listening["rest"])
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("it ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("side=\"")?;
    let (side, rest) = rest.split_once("\" listen=")?;
    Some((side.to_owned(), rest.split(' ').next()?.to_owned()))
}

fn control() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spurline-control"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPURLINE_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    control().args(arguments).output().unwrap()
}

/// Runs a command against a server; its exit code, stdout and stderr.
fn ask(server: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = run(&[arguments, &["--server", server]].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn get(addr: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < SOON, "took too long until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: SanType) -> (String, String) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn sandbox(name: &str, key: &str, port: u16) -> String {
    format!(
        "kind: Sandbox\nmetadata: {{ name: {name} }}\nspec:\n  routingKey: {key}\n  forks:\n  - workload: \
         shop/Deployment/cart\n    ports: {{ 8080: [127.0.0.1:{port}] }}\n"
    )
}

#[test]
fn apply_tells_what_it_did_and_does_nothing_twice() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let file =
        folder.write("a.yaml", &format!("{}---\n{}", sandbox("alice", "a", 1), sandbox("bob", "12e4", 2)));
    let apply = |more: &[&str]| {
        let (code, stdout, stderr) = ask(&server, &[&["sandbox", "apply", "-f", &file], more].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    let dry = "sandbox/alice created (dry run)\nsandbox/bob created (dry run)\n";
    assert_eq!(apply(&["--dry-run"]), dry);
    assert_eq!(apply(&[]), "sandbox/alice created\nsandbox/bob created\n");
    assert_eq!(apply(&["--dry-run"]).matches("unchanged (dry run)").count(), 2);
    assert_eq!(
        apply(&["--wait"]),
        "sandbox/alice unchanged\nsandbox/bob unchanged\nsandbox/alice programmed 0/0\nsandbox/bob programmed 0/0\n"
    );
    folder.write("a.yaml", &sandbox("alice", "a", 9));
    assert_eq!(apply(&["--dry-run"]), "sandbox/alice changed (dry run)\n");
    assert_eq!(apply(&[]), "sandbox/alice changed\n");
    // What is shown can be applied again.
    let (_, shown, _) = ask(&server, &["sandbox", "get", "bob"]);
    let file = folder.write("again.yaml", &shown);
    assert_eq!(ask(&server, &["sandbox", "apply", "-f", &file]).1, "sandbox/bob unchanged\n");
    let (_, table, _) = ask(&server, &["sandbox", "list"]);
    assert!(table.starts_with("NAME ") && table.lines().count() == 3 && table.contains("12e4"), "{table}");
    let (code, stdout, _) = ask(&server, &["sandbox", "delete", "-f", &file, "--wait"]);
    assert_eq!((code, stdout.as_str()), (0, "sandbox/bob deleted\n"));
    assert_eq!(ask(&server, &["sandbox", "delete", "bob"]).0, 1);
    assert_eq!(ask(&server, &["sandbox", "delete", "bob", "--ignore-not-found"]).0, 0);
}

#[test]
fn a_directory_is_applied_like_its_files_and_stdin_like_a_file() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    fs::create_dir(folder.path().join("some")).unwrap();
    folder.write("some/b.yaml", &sandbox("bob", "b", 2));
    folder.write("some/a.yaml", &sandbox("alice", "a", 1));
    folder.write("some/notes.txt", "none of ours");
    let some = folder.path().join("some").display().to_string();
    let more = folder.write("more.yaml", &sandbox("carol", "c", 3));
    let (code, stdout, stderr) = ask(&server, &["apply", "-f", &some, "-f", &more]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "sandbox/alice created\nsandbox/bob created\nsandbox/carol created\n");
    fs::create_dir(folder.path().join("none")).unwrap();
    let (code, _, stderr) = ask(&server, &["apply", "-f", &folder.path().join("none").display().to_string()]);
    assert!(code == 1 && stderr.contains("allowed: .yaml"), "{stderr}");
    let mut child = control()
        .args(["apply", "-f", "-", "--server", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sandbox("dave", "d", 4).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "sandbox/dave created\n");
}

#[test]
fn whom_nobody_listens_to_any_more_ends_without_a_panic() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let many: Vec<String> = (0..300).map(|n| sandbox(&format!("s{n}"), &format!("k{n}"), 1)).collect();
    let file = folder.write("many.yaml", &many.join("---\n"));
    assert_eq!(ask(&server, &["apply", "-f", &file]).0, 0);
    for arguments in [&["sandbox", "list", "-o", "json"][..], &["--help"], &["sandbox", "list", "--help"]] {
        let mut command = control();
        command.args(arguments).env("SPURLINE_CONTROL_SERVER", &server);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code() == Some(0) && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn what_cannot_start_says_which_setting_is_wrong_once() {
    let folder = Folder::new();
    let file = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let half = folder.write("half.json", "{\"tokens\": [");
    for (flag, value, wanted) in [
        ("--store", file("missing/control.store"), "the folder does not exist"),
        ("--store", file("folder"), "Is a directory"),
        ("--store", folder.write("text.store", "no store"), "move it away to start empty"),
        ("--tokens-file", file("missing.json"), "No such file"),
        ("--tokens-file", half, "EOF while parsing"),
    ] {
        let ports = ["--grpc-listen=127.0.0.1:0", "--rest-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
        let output = run(&[&["serve", flag, &value, "--log-level=off"], &ports[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with(&format!("spurline-control: {flag}: {value}")), "{stderr}");
        assert_eq!(stderr.matches(wanted).count(), 1, "{stderr}");
    }
}

#[test]
fn faults_name_the_line_and_what_is_allowed() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let good = sandbox("good", "g", 1);
    let file = folder
        .write("a.yaml", &format!("{good}---\nkind: Sandbox\nmetadata: {{ name: bad }}\nspec:\n  ttl: 5\n"));
    let (code, stdout, stderr) = ask(&server, &["sandbox", "apply", "-f", &file]);
    assert_eq!(
        (code, stdout.as_str()),
        (1, "sandbox/good created\n"),
        "what is good is applied all the same"
    );
    assert!(stderr.contains(&format!("{file}:12: /spec/ttl: ")) && stderr.contains("allowed: "), "{stderr}");
    for (text, line, part) in [
        ("kind: [\n", 1, ""),
        ("kind: Workload\nmetadata: { name: a/B/c }\n", 1, "allowed: Sandbox"),
        ("kind: Sandbox\nmetadata: {}\n", 2, "/metadata/name: is missing; allowed: "),
    ] {
        let file = folder.write("b.yaml", text);
        let (code, stdout, stderr) = ask(&server, &["sandbox", "apply", "-f", &file]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains(&format!("{file}:{line}: ")) && stderr.contains(part), "{stderr}");
    }
}

#[test]
fn the_documents_of_the_guide_are_good() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let guide = include_str!("../../docs/guide/control.md");
    let (_, rest) = guide.split_once("```yaml\n").unwrap();
    let file = folder.write("guide.yaml", rest.split_once("```").unwrap().0);
    let (code, stdout, stderr) = ask(&service.rest("http"), &["apply", "-f", &file]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "sandbox/alice-cart created\nroutegroup/checkout created\nworkload/shop/Deployment/cart created\n"
    );
    let (_, table, _) = ask(&service.rest("http"), &["workload", "list"]);
    assert!(table.contains("shop/Deployment/cart"), "{table}");
}

#[test]
fn what_is_not_in_force_is_not_programmed() {
    let (folder, service) = (Folder::new(), Service::start(&[]).ready());
    let server = service.rest("http");
    let file =
        folder.write("a.yaml", &format!("{}---\n{}", sandbox("first", "k", 1), sandbox("second", "k", 2)));
    let (code, stdout, stderr) = ask(&server, &["apply", "-f", &file, "--wait", "--timeout", "5s"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stdout.contains("sandbox/first programmed 0/0") && !stdout.contains("second programmed"),
        "{stdout}"
    );
    assert!(
        stderr.contains("sandbox/second: not in force: ") && stderr.contains("Sandbox first"),
        "{stderr}"
    );
}

#[test]
fn wrong_arguments_and_settings_are_64_and_all_told() {
    for arguments in [
        &["sandbox", "nonsense"][..],
        &["sandbox", "apply"],
        &["sandbox", "list", "--server", "ftp://a"],
        &["sandbox", "list", "--server", "https://a"],
        &["sandbox", "wait", "a", "--timeout", "soon"],
        &["sandbox", "list", "--token-file", "/nowhere"],
        &["serve", "--nonsense"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let output = control()
        .args(["serve", "--workers=0", "--grpc-listen=0.0.0.0:0"])
        .env("SPURLINE_CONTROL_LOG_LEVEL", "loud")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    for part in ["--workers=0: ", "--grpc-listen=0.0.0.0:0: ", "SPURLINE_CONTROL_LOG_LEVEL=loud: "] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn rest_over_tls_wants_the_right_authority_and_a_token() {
    let folder = Folder::new();
    let (ours, theirs) = (authority(), authority());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let (ca, wrong_ca) = (folder.write("ca.crt", &ours.pem()), folder.write("wrong.crt", &theirs.pem()));
    let tokens = folder.write(
        "tokens.json",
        r#"{"tokens": [{"name": "ci", "token": "correct-horse-battery-staple-and-more", "scopes": ["read", "write"]}]}"#,
    );
    let token = folder.write("token", "correct-horse-battery-staple-and-more\n");
    let wrong_token = folder.write("wrong-token", "guess\n");
    let service = Service::start(&[
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
        &format!("--tokens-file={tokens}"),
    ])
    .ready();
    let server = service.rest("https");
    let list = |more: &[&str]| ask(&server, &[&["sandbox", "list"], more].concat());
    let (code, _, stderr) = list(&["--ca-file", &ca, "--token-file", &token]);
    assert_eq!(code, 0, "{stderr}\n{}", service.log());
    assert_eq!(list(&["--ca-file", &wrong_ca, "--token-file", &token]).0, 1);
    for more in [&["--ca-file", &ca][..], &["--ca-file", &ca, "--token-file", &wrong_token]] {
        let (code, _, stderr) = list(more);
        assert!(code == 1 && stderr.contains("401"), "{stderr}");
    }
    let plain = server.replace("https", "http");
    let (code, _, stderr) = ask(&plain, &["sandbox", "list"]);
    assert!(code == 1 && stderr.contains("does it want https?"), "{stderr}");
    assert!(!service.log().contains("correct-horse"));
}

#[test]
fn a_token_that_may_only_write_is_enough_to_apply() {
    let folder = Folder::new();
    let token = "correct-horse-battery-staple-and-more";
    let tokens =
        format!(r#"{{"tokens": [{{"name": "ci", "token": "{token}", "scopes": ["write:sandbox/ci-"]}}]}}"#);
    let service =
        Service::start(&[&format!("--tokens-file={}", folder.write("tokens.json", &tokens))]).ready();
    let (server, token) = (service.rest("http"), folder.write("token", token));
    let file = folder.write("a.yaml", &sandbox("ci-1", "a", 1));
    let apply = || ask(&server, &["sandbox", "apply", "-f", &file, "--token-file", &token]);
    assert_eq!(apply().1, "sandbox/ci-1 created\n");
    assert_eq!(apply().1, "sandbox/ci-1 written\n", "whether it changed is not for this token to see");
    let file = folder.write("b.yaml", &sandbox("alice", "a", 1));
    let (code, _, stderr) = ask(&server, &["sandbox", "apply", "-f", &file, "--token-file", &token]);
    assert!(code == 1 && stderr.contains("write:sandbox/"), "{stderr}");
}

#[test]
fn with_a_client_ca_clients_show_a_certificate_and_are_named_in_the_log() {
    let (folder, ours) = (Folder::new(), authority());
    let ca = folder.write("ca.crt", &ours.pem());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let service = Service::start(&[
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
        &format!("--rest-client-ca-file={ca}"),
    ])
    .ready();
    let server = service.rest("https");
    let (cert, key) = issue(&ours, SanType::URI("spiffe://spurline/ci".try_into().unwrap()));
    let (cert, key) = (folder.write("ci.crt", &cert), folder.write("ci.key", &key));
    let file = folder.write("a.yaml", &sandbox("alice", "a", 1));
    let apply = ["sandbox", "apply", "-f", &file, "--ca-file", &ca];
    assert_eq!(ask(&server, &apply).0, 1);
    let (code, _, stderr) = ask(&server, &[&apply[..], &["--cert-file", &cert, "--key-file", &key]].concat());
    assert_eq!(code, 0, "{stderr}");
    eventually("the write is logged", || service.log().contains("spiffe://spurline/ci").then_some(()));
}

#[test]
fn commands_work_over_a_unix_socket() {
    let folder = Folder::new();
    let server = format!("unix:{}", folder.path().join("s.sock").display());
    let mut service = Service::start(&[&format!("--rest-listen={server}")]).ready();
    let file = folder.write("a.yaml", &sandbox("alice", "a", 1));
    assert_eq!(ask(&server, &["sandbox", "apply", "-f", &file, "--wait"]).0, 0);
    assert!(ask(&server, &["sandbox", "get", "alice", "-o", "json"]).1.contains("\"alice\""));
    service.signal(Signal::TERM);
    assert_eq!(service.ended().code(), Some(0));
    let (code, _, stderr) = ask(&server, &["sandbox", "list"]);
    assert!(code == 1 && stderr.contains(&server), "{stderr}");
}

#[test]
fn a_unix_socket_beside_tls_is_in_clear_text() {
    let (folder, ours) = (Folder::new(), authority());
    let (cert, key) = issue(&ours, SanType::IpAddress("127.0.0.1".parse().unwrap()));
    let server = format!("unix:{}", folder.path().join("s.sock").display());
    let _service = Service::start(&[
        &format!("--rest-listen={server}"),
        &format!("--rest-cert-file={}", folder.write("tls.crt", &cert)),
        &format!("--rest-key-file={}", folder.write("tls.key", &key)),
    ])
    .ready();
    let (code, _, stderr) = ask(&server, &["sandbox", "list"]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn documents_of_files_are_served_reloaded_and_read_only() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("routes")).unwrap();
    let routes = folder.path().join("routes");
    folder.write("routes/a.yaml", "kind: Sandbox\nmetadata: { name: BAD }\nspec: { forks: [] }\n");
    // So slow that only the signal can be what makes it look.
    let service =
        Service::start(&[&format!("--directory={}", routes.display()), "--directory-poll-interval=1h"]);
    eventually("the fault is told", || service.log().contains("a.yaml:2: ").then_some(()));
    let (status, text) = service.admin("/readyz");
    assert!(status == 503 && text.contains("waiting for: directory"), "{text}");
    assert_eq!(service.admin("/healthz").0, 200);
    folder.write("routes/a.yaml", &format!("# ours\n{}", sandbox("alice", "a", 1)));
    service.signal(Signal::HUP);
    let service = service.ready();
    let server = service.rest("http");
    let file = folder.write("b.yaml", &sandbox("alice", "a", 2));
    let (code, _, stderr) = ask(&server, &["sandbox", "apply", "-f", &file]);
    assert!(code == 1 && stderr.contains("409") && stderr.contains("routes/a.yaml:2"), "{stderr}");
    let metrics = service.admin("/metrics").1;
    for part in
        ["spurline_control_directory_documents 1", "spurline_control_documents{kind=\"Sandbox\"} 1", "# EOF"]
    {
        assert!(metrics.contains(part), "{metrics}\nshould have\n{part}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let mut service = Service::start(&["--drain-timeout=1h"]).ready();
    let mut stream = TcpStream::connect(&service.listening["rest"]).unwrap();
    let head = "PUT /v1/sandboxes/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut asked = [0; 12];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100", "it waits for the body");
    service.signal(Signal::TERM);
    eventually("it drains", || service.log().contains("Draining").then_some(()));
    let (status, text) = service.admin("/readyz");
    assert!(status == 503 && text.ends_with("draining\n"), "{text}");
    service.signal(Signal::INT);
    assert_eq!(service.ended().code(), Some(1));
}

#[test]
fn written_documents_outlive_the_process_and_the_log_can_be_json() {
    let folder = Folder::new();
    let store = format!("--store={}", folder.path().join("store").display());
    let file = folder.write("a.yaml", &sandbox("alice", "a", 1));
    let mut service = Service::start(&[&store]).ready();
    assert_eq!(ask(&service.rest("http"), &["sandbox", "apply", "-f", &file]).0, 0);
    service.signal(Signal::KILL);
    service.ended();
    let service = Service::start(&[&store]).ready();
    assert_eq!(ask(&service.rest("http"), &["sandbox", "get", "alice"]).0, 0);
    let second = run(&[
        "serve",
        &store,
        "--grpc-listen=127.0.0.1:0",
        "--rest-listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--log-format=json",
    ]);
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && stderr.contains("in use by another process"), "{stderr}");
    assert!(stderr.starts_with('{'), "{stderr}");
}
