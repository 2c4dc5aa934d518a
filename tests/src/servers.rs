//! Real servers on free ports with configurations made for the test.
//!
//! Each HTTP one answers any request with 200, an `X-Id` field that repeats the request's, and a short text. None of
//! them is installed as a service; all are ended with the test.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::{DEADLINE, eventually};
use crate::loopback::free_address;
use crate::process::{Process, run};

/// A server that ordinary users put behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx, one worker in the foreground.
    Nginx,
    /// HAProxy answering by itself.
    Haproxy,
    /// The HTTP server of Node.js.
    Node,
    /// The HTTP server of Python's standard library.
    Python,
    /// The HTTP/2 server of Node.js, in the clear.
    NodeHttp2,
    /// A server on python-hyper's h2, in the clear.
    PythonHttp2,
    /// nghttp2's server, in the clear. It serves one file, `/file`.
    Nghttpd,
    /// A WebSocket echo server, npm `ws`.
    WebSocket,
    /// Redis without persistence.
    Redis,
    /// PostgreSQL with a fresh cluster; user `postgres`, no password.
    Postgres,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    directory: TempDir,
}

impl Server {
    /// Starts a server and waits until it accepts connections; panics with its output when it does not.
    pub fn start(kind: Kind) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let address = free_address();
        let command = match kind {
            Kind::Nginx => nginx(directory.path(), address),
            Kind::Haproxy => haproxy(directory.path(), address),
            Kind::Node => node(address, "server.js"),
            Kind::NodeHttp2 => node(address, "http2.js"),
            Kind::WebSocket => node(address, "websocket.js"),
            Kind::Python => python(address, "server.py"),
            Kind::PythonHttp2 => python(address, "http2.py"),
            Kind::Nghttpd => nghttpd(directory.path(), address),
            Kind::Redis => redis(directory.path(), address),
            Kind::Postgres => postgres(directory.path(), address),
        };
        let mut process = Process::spawn(&format!("{kind:?}"), command);
        eventually(&format!("{kind:?} listens"), || {
            assert!(process.ended().is_none(), "{kind:?} ended:\n{}{}", process.stdout(), process.stderr());
            TcpStream::connect(address).ok()
        });
        Self { process, address, directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In order, so that PostgreSQL's children go, too.
        self.process.signal(rustix::process::Signal::INT);
        self.process.wait(DEADLINE);
    }
}

/// A script of this crate's `backends` directory.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("backends").join(name)
}

fn nginx(directory: &Path, address: SocketAddr) -> Command {
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr warn;
         events {{ worker_connections 512; }}
         http {{
           access_log off; keepalive_requests 1000000; client_max_body_size 0;
           client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
           uwsgi_temp_path uwsgi; scgi_temp_path scgi;
           server {{ listen {address}; location / {{
             add_header X-Id $http_x_id always; return 200 \"nginx $http_x_id\\n\"; }} }}
         }}"
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, configuration).expect("write a configuration");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-c").arg(path).args(["-e", "stderr"]);
    command
}

fn haproxy(directory: &Path, address: SocketAddr) -> Command {
    let configuration = format!(
        "defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 1s\n\
         frontend echo\n bind {address}\n option http-keep-alive\n \
         http-request return status 200 content-type text/plain hdr X-Id \"%[req.hdr(x-id)]\" \
         lf-string \"haproxy %[req.hdr(x-id)]\\n\"\n"
    );
    let path = directory.join("haproxy.cfg");
    std::fs::write(&path, configuration).expect("write a configuration");
    let mut command = Command::new("haproxy");
    command.arg("-f").arg(path).arg("-db");
    command
}

fn node(address: SocketAddr, name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script(name)).arg(address.ip().to_string()).arg(address.port().to_string());
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/node_modules");
    command.env("NODE_PATH", modules);
    command
}

fn python(address: SocketAddr, name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(script(name)).arg(address.ip().to_string()).arg(address.port().to_string());
    command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python"));
    command
}

fn nghttpd(directory: &Path, address: SocketAddr) -> Command {
    std::fs::write(directory.join("file"), vec![b'n'; 100_000]).expect("write a file");
    let mut command = Command::new("nghttpd");
    // Debian keeps it out of the path of ordinary users.
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    command.args(["--no-tls", "-a", &address.ip().to_string(), "-d"]).arg(directory);
    command.arg(address.port().to_string());
    command
}

fn redis(directory: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(directory);
    command
}

fn postgres(directory: &Path, address: SocketAddr) -> Command {
    // PostgreSQL refuses to run as root.
    let root = rustix::process::geteuid().is_root();
    let unprivileged = |program: &Path| {
        let mut command = Command::new(if root { Path::new("setpriv") } else { program });
        if root {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        }
        command.current_dir("/");
        command
    };
    if root {
        let mut command = Command::new("chown");
        command.arg("postgres").arg(directory);
        assert_eq!(run(command, DEADLINE).code, Some(0), "give the directory to postgres");
    }
    let programs = postgres_programs();
    let data = directory.join("data");
    let mut initdb = unprivileged(&programs.join("initdb"));
    initdb.args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"]).arg(&data);
    let done = run(initdb, Duration::from_secs(60));
    assert_eq!(done.code, Some(0), "initdb: {}", done.stderr);
    let mut command = unprivileged(&programs.join("postgres"));
    command.arg("-D").arg(&data).args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-c", "fsync=off", "-c", "unix_socket_directories="]);
    command
}

/// Debian keeps PostgreSQL's server programs out of the path.
fn postgres_programs() -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: run tests/setup.sh");
    let newest = versions.filter_map(|version| Some(version.ok()?.path())).max();
    newest.expect("PostgreSQL is missing: run tests/setup.sh").join("bin")
}
