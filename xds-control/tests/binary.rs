//! The binary from outside: the service over TLS, tokens and Unix sockets, its signals, and the commands against it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "binary/access.rs"]
mod access;
#[path = "binary/commands.rs"]
mod commands;
#[path = "binary/reference.rs"]
mod reference;

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

fn sandbox(name: &str, key: &str, port: u16) -> String {
    format!(
        "kind: Sandbox\nmetadata: {{ name: {name} }}\nspec:\n  routingKey: {key}\n  forks:\n  - workload: \
         shop/Deployment/cart\n    ports: {{ 8080: [127.0.0.1:{port}] }}\n"
    )
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
        .env("SPURLINECTL_LOG_LEVEL", "loud")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    for part in ["--workers=0: ", "--grpc-listen=0.0.0.0:0: ", "SPURLINECTL_LOG_LEVEL=loud: "] {
        assert!(stderr.contains(part), "{stderr}");
    }
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
