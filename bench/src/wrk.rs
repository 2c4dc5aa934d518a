//! One closed-loop load with wrk (`man wrk`): as many requests as the connections can carry, one at a time on each.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::LOAD_CORE;
use crate::work::PATH;

const START: &str = "start taskset (util-linux)";
/// It is ended before; this is for when nobody is there any more to do so.
const WARM_UP_SECONDS_MAX: u32 = 10;

/// One load to send.
pub(crate) struct Load<'a> {
    /// `http`, or `https` with any certificate.
    pub(crate) scheme: &'static str,
    pub(crate) target: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    pub(crate) headers: &'a [(&'static str, String)],
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
}

impl Load<'_> {
    /// Sends it for `time` and looks at nothing: the figures begin once connections are open and buffers are there.
    pub(crate) fn warm_up(&self, time: Duration) -> Result<()> {
        let mut command = self.command(WARM_UP_SECONDS_MAX);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context(START)?;
        std::thread::sleep(time);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs to the end. A socket error or an answer other than 2xx or 3xx fails the run: its figure would be a lie.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let output = self.command(self.seconds).output().context(START)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("wrk failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        parse(&text).with_context(|| format!("wrk reported:\n{text}"))
    }

    fn command(&self, seconds: u32) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &LOAD_CORE.to_string(), "wrk", "--threads", "1"]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(["--duration", &format!("{seconds}s")]);
        for (name, value) in self.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        command.arg(format!("{}://{}{PATH}", self.scheme, self.target));
        command
    }
}

fn parse(text: &str) -> Result<Outcome> {
    for line in text.lines().map(str::trim) {
        if line.starts_with("Socket errors:") || line.starts_with("Non-2xx or 3xx responses:") {
            bail!("the load was not answered cleanly: {line}");
        }
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    match (requests, rate) {
        (Some(0), _) => bail!("no request was answered"),
        (Some(requests), Some(requests_per_second)) => Ok(Outcome { requests, requests_per_second }),
        _ => bail!("no request count found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str =
        "Running 3s test\n  123456 requests in 3.00s, 20.00MB read\nRequests/sec:  41152.50\n";

    #[test]
    fn a_clean_report_gives_count_and_rate() {
        assert_eq!(parse(CLEAN).unwrap(), Outcome { requests: 123_456, requests_per_second: 41_152.5 });
    }

    #[test]
    fn a_report_with_errors_is_refused() {
        let text = format!("{CLEAN}  Non-2xx or 3xx responses: 3\n");
        assert!(parse(&text).unwrap_err().to_string().contains("Non-2xx"));
        assert!(parse("  Socket errors: connect 0, read 9, write 0, timeout 0\n").is_err());
    }
}
