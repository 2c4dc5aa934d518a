//! One closed-loop load with h2load (`man h2load`): every connection always has its full number of requests open.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::LOAD_CORE;
use crate::process;
use crate::work::PATH;

const START: &str = "start taskset (util-linux)";
/// It is ended before; this is for when nobody is there any more to do so.
const WARM_UP_SECONDS_MAX: u32 = 10;
/// How much later than its time it may end: it waits for a peer that does not let it go.
const GRACE: Duration = Duration::from_secs(10);

/// One load to send.
pub(crate) struct Load<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) connections: u32,
    /// Requests at once on each connection.
    pub(crate) streams: u32,
    pub(crate) seconds: u32,
    pub(crate) headers: &'a [(&'static str, String)],
    /// File with the body to post.
    pub(crate) body: &'a Path,
}

/// What came back within the time.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// Bytes of response bodies, those of unfinished responses included.
    pub(crate) body_bytes: u64,
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

    /// Runs to the end. A failed request or an answer other than 2xx fails the run: its figure would be a lie.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let limit = Duration::from_secs(self.seconds.into()) + GRACE;
        let output = process::output_within(limit, &mut self.command(self.seconds)).context(START)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("h2load failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        parse(&text).with_context(|| format!("h2load reported:\n{text}"))
    }

    fn command(&self, seconds: u32) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &LOAD_CORE.to_string(), "h2load", "--threads=1"]);
        command.arg(format!("--clients={}", self.connections));
        command.arg(format!("--max-concurrent-streams={}", self.streams));
        command.arg(format!("--duration={seconds}"));
        command.arg("--data").arg(self.body);
        for (name, value) in self.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        command.arg(format!("http://{}{PATH}", self.target));
        command
    }
}

fn parse(text: &str) -> Result<Outcome> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let counts = line("requests:").context("no counts of requests")?;
    let count = |word: &str| {
        let of_word = |part: &str| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok();
        counts.split(',').find_map(of_word).with_context(|| format!("nothing is {word}"))
    };
    let (requests, failed) = (count("succeeded")?, count("failed")?);
    if failed != 0 || count("errored")? != 0 || count("timeout")? != 0 {
        bail!("the load was not answered cleanly:{counts}");
    }
    if requests == 0 {
        bail!("no request was answered");
    }
    let rate = line("finished in").and_then(|rest| rest.split(',').nth(1));
    let rate = rate.and_then(|rate| rate.trim().strip_suffix("req/s")?.trim().parse().ok());
    let bytes = line("traffic:").and_then(|rest| rest.split(", ").find(|part| part.ends_with("data")));
    let bytes = bytes.and_then(|part| part.split_once('(')?.1.split_once(')')?.0.parse().ok());
    Ok(Outcome {
        requests,
        requests_per_second: rate.context("no rate")?,
        body_bytes: bytes.context("no traffic")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
finished in 3.00s, 41152.50 req/s, 5.51MB/s
requests: 123456 total, 123584 started, 123456 done, 123456 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 123456 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 16.53MB (17333333) total, 482.61KB (494193) headers (space savings 97.35%), 7.53MB (7901184) data
";

    #[test]
    fn a_clean_report_gives_count_rate_and_bytes() {
        let outcome = Outcome { requests: 123_456, requests_per_second: 41_152.5, body_bytes: 7_901_184 };
        assert_eq!(parse(CLEAN).unwrap(), outcome);
    }

    #[test]
    fn a_report_with_errors_is_refused() {
        assert!(parse(&CLEAN.replace("0 errored", "3 errored")).is_err());
        assert!(parse(&CLEAN.replace("123456 succeeded", "0 succeeded")).is_err());
    }
}
