//! One closed-loop load with wrk (`man wrk`): as many requests as the connections can carry, one at a time on each.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::LOAD_CORE;
use crate::process;
use crate::steering::{Requests, Steering};
use crate::work::PATH;

const START: &str = "start taskset (util-linux)";
/// It is ended before; this is for when nobody is there any more to do so.
const WARM_UP_SECONDS_MAX: u32 = 10;
/// How much later than its time it may end.
const GRACE: Duration = Duration::from_secs(10);
/// What sends other keys with every request.
const VARIED: &str = include_str!("wrk/varied.lua");

/// One load to send.
pub(crate) struct Load<'a> {
    /// `http`, or `https` with any certificate.
    pub(crate) scheme: &'static str,
    pub(crate) target: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) steering: Steering<'a>,
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// Those with and without a key; what is unanswered at the end is in them where keys vary.
    pub(crate) sent: Requests,
}

impl Load<'_> {
    /// Sends it for `time` and looks at nothing: the figures begin once connections are open and buffers are there.
    pub(crate) fn warm_up(&self, time: Duration) -> Result<()> {
        let mut command = self.command(WARM_UP_SECONDS_MAX)?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context(START)?;
        std::thread::sleep(time);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs to the end. A socket error or an answer other than 2xx or 3xx fails the run: its figure would be a lie.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let limit = Duration::from_secs(self.seconds.into()) + GRACE;
        let output = process::output_within(limit, &mut self.command(self.seconds)?).context(START)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("wrk failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        parse(&text, self.steering).with_context(|| format!("wrk reported:\n{text}"))
    }

    fn command(&self, seconds: u32) -> Result<Command> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &LOAD_CORE.to_string(), "wrk", "--threads", "1"]);
        command.args(["--connections", &self.connections.to_string()]);
        command.args(["--duration", &format!("{seconds}s")]);
        for (name, value) in self.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        if let Steering::Varied(keys) = self.steering {
            let script = keys.with_extension("lua");
            fs::write(&script, VARIED).with_context(|| format!("write {}", script.display()))?;
            command.arg("--script").arg(script);
        }
        command.arg(format!("{}://{}{PATH}", self.scheme, self.target));
        if let Steering::Varied(keys) = self.steering {
            command.arg("--").arg(keys);
        }
        Ok(command)
    }
}

fn parse(text: &str, steering: Steering<'_>) -> Result<Outcome> {
    for line in text.lines().map(str::trim) {
        if line.starts_with("Socket errors:") || line.starts_with("Non-2xx or 3xx responses:") {
            bail!("the load was not answered cleanly: {line}");
        }
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    match (requests, rate) {
        (Some(0), _) => bail!("no request was answered"),
        (Some(requests), Some(requests_per_second)) => {
            let sent = sent(text).unwrap_or_else(|| steering.all_of(requests));
            Ok(Outcome { requests, requests_per_second, sent })
        }
        _ => bail!("no request count found"),
    }
}

/// What the script has counted, where there is one.
fn sent(text: &str) -> Option<Requests> {
    let counts = text.lines().find_map(|line| line.strip_prefix("Sent: "))?;
    let (keyed, unkeyed) = counts.split_once(" keyed, ")?;
    let baseline = unkeyed.trim().strip_suffix(" unkeyed")?.parse().ok()?;
    Some(Requests { baseline, fork: keyed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str =
        "Running 3s test\n  123456 requests in 3.00s, 20.00MB read\nRequests/sec:  41152.50\n";

    #[test]
    fn a_clean_report_gives_count_and_rate() {
        let outcome = parse(CLEAN, Steering::Fork).unwrap();
        let sent = Requests { baseline: 0, fork: 123_456 };
        assert_eq!(outcome, Outcome { requests: 123_456, requests_per_second: 41_152.5, sent });
    }

    #[test]
    fn what_the_script_counted_is_what_was_sent() {
        let text = format!("{CLEAN}Sent: 92610 keyed, 30870 unkeyed\n");
        let sent = parse(&text, Steering::Baseline).unwrap().sent;
        assert_eq!(sent, Requests { baseline: 30_870, fork: 92_610 });
    }

    #[test]
    fn a_report_with_errors_is_refused() {
        let text = format!("{CLEAN}  Non-2xx or 3xx responses: 3\n");
        assert!(parse(&text, Steering::Fork).unwrap_err().to_string().contains("Non-2xx"));
        let text = "  Socket errors: connect 0, read 9, write 0, timeout 0\n";
        assert!(parse(text, Steering::Fork).is_err());
    }
}
