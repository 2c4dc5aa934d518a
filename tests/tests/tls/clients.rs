//! Clients that people really use.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use spurline_tests::{Finished, run};

use crate::certificates::Authority;

/// curl that trusts one authority and finds every name at one address.
pub(crate) struct Curl {
    ca: PathBuf,
    address: SocketAddr,
}

fn curl(arguments: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20"]).args(arguments);
    run(command, Duration::from_secs(60))
}

impl Curl {
    pub(crate) fn new(authority: &Authority, address: SocketAddr) -> Self {
        Self { ca: authority.ca(), address }
    }

    pub(crate) fn get(&self, name: &str, more: &[&str]) -> Finished {
        let port = self.address.port();
        let resolve = format!("{name}:{port}:{}", self.address.ip());
        let url = format!("https://{name}:{port}/");
        let ca = self.ca.to_str().expect("a path");
        curl(&[&["--cacert", ca, "--resolve", &resolve, &url], more].concat())
    }
}

/// What `openssl s_client` says, on both outputs, after it has sent `input` and its server has ended the connection.
pub(crate) fn s_client(address: SocketAddr, options: &[&str], input: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["10", "openssl", "s_client", "-connect", &address.to_string()]).args(options);
    if !input.is_empty() {
        command.arg("-ign_eof");
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    // One that was refused has closed its input.
    let _sent = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("openssl ends");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}
