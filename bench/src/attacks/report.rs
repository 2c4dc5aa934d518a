//! What a run of `attacks` leaves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::attacker::Outcome;
use crate::host::Versions;
use crate::report::{mebibytes, print, render_versions, save};

/// The victim's p99 may be this many times that of quiet times.
pub(super) const SLOWDOWN_MAX: f64 = 3.0;
const GROWTH_MEBIBYTES_MAX: f64 = 64.0;
const RECOVERY_MILLIS_MAX: f64 = 1000.0;

const TITLE: &str = "\
                            from   victim   p99, ms                grown recovery core                                            \
upstream    at
attack                             served   quiet  attack  ratio    MiB       ms busy  connections and how they ended        \
requests  once  missed";

/// One run of `attacks`.
#[derive(Debug, Serialize)]
pub(crate) struct AttacksReport {
    pub(crate) versions: Versions,
    pub(crate) peer: &'static str,
    pub(crate) seconds: u32,
    /// The victim's requests per second.
    pub(crate) rate: u32,
    pub(crate) rows: Vec<AttackFigures>,
}

/// One attack from one number of connections.
#[derive(Debug, Serialize)]
pub(crate) struct AttackFigures {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) connections: u32,
    pub(crate) victim: VictimFigures,
    /// The most anonymous memory above that of quiet times.
    pub(crate) growth_mebibytes: f64,
    pub(crate) busy_share: f64,
    /// Of the attacker: what the backends saw less what the victim had answered.
    pub(crate) upstream_requests: u64,
    /// The most requests the backends had at once, the victim's included.
    pub(crate) upstream_in_flight_peak: u64,
    pub(crate) attacker: Outcome,
}

/// What became of the victim's requests.
#[derive(Debug, Serialize)]
pub(crate) struct VictimFigures {
    pub(crate) served_share: f64,
    pub(crate) quiet_p99_millis: f64,
    pub(crate) attack_p99_millis: f64,
    /// From the end of the attack until the last answer that was too late or wrong.
    pub(crate) recovery_millis: f64,
}

impl AttacksReport {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = render_versions(&self.versions)?;
        let Self { peer, seconds, rate, rows, .. } = self;
        writeln!(
            text,
            "\n{peer}: attacks of {seconds} s beside a victim with {rate} requests/s; bounds: all served, p99 <= \
             {SLOWDOWN_MAX} x quiet,\n{GROWTH_MEBIBYTES_MAX} MiB, {RECOVERY_MILLIS_MAX} ms\n\n{TITLE}"
        )?;
        for row in rows {
            writeln!(text, "{}", row.line()?)?;
        }
        let missed = rows.iter().filter(|row| !row.missed().is_empty()).count();
        writeln!(text, "\n{} of {} within all bounds", rows.len() - missed, rows.len())?;
        print(&text)
    }

    /// Writes `attacks-<peer>.json` into `dir`, over an older one.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        save(self, dir, &format!("attacks-{}.json", self.peer))
    }
}

impl AttackFigures {
    /// The row of the table.
    pub(super) fn line(&self) -> Result<String> {
        let mut text = String::new();
        let VictimFigures { served_share, quiet_p99_millis, attack_p99_millis, recovery_millis } =
            self.victim;
        write!(text, "{} {:<22}{:>5}", self.id, self.name, self.connections)?;
        write!(text, "{:>8.2}%{quiet_p99_millis:>8.2}{attack_p99_millis:>8.2}", 100.0 * served_share)?;
        write!(text, "{:>7.1}{:>7.1}", attack_p99_millis / quiet_p99_millis, self.growth_mebibytes)?;
        write!(text, "{recovery_millis:>9.0}{:>5.0}%  ", 100.0 * self.busy_share)?;
        write!(text, "{:<38}", self.attacker.ends())?;
        write!(text, "{:>9}{:>6}  ", self.upstream_requests, self.upstream_in_flight_peak)?;
        write!(text, "{}", self.missed().join(", "))?;
        Ok(text)
    }

    fn missed(&self) -> Vec<&'static str> {
        let victim = &self.victim;
        let bounds = [
            (victim.served_share >= 1.0, "served"),
            (victim.attack_p99_millis <= SLOWDOWN_MAX * victim.quiet_p99_millis, "p99"),
            (self.growth_mebibytes <= GROWTH_MEBIBYTES_MAX, "memory"),
            (victim.recovery_millis <= RECOVERY_MILLIS_MAX, "recovery"),
            (self.attacker.stalls == 0, "stalled"),
        ];
        bounds.into_iter().filter(|(holds, _)| !holds).map(|(_, bound)| bound).collect()
    }
}

impl Outcome {
    /// How many connections there were and what ended them, and how much was sent.
    fn ends(&self) -> String {
        let mut text = format!("{}", self.connections);
        for (code, count) in &self.goaways {
            let _ = write!(text, " {}:{count}", code_name(*code));
        }
        if self.closed > 0 {
            let _ = write!(text, " closed:{}", self.closed);
        }
        if self.transfers + self.stalls > 0 {
            let _ = write!(text, " whole:{} stalled:{}", self.transfers, self.stalls);
        }
        let _ = write!(text, " ({:.0} MiB)", mebibytes(self.sent_bytes));
        text
    }
}

/// Short names of RFC 9113 section 7.
fn code_name(code: u32) -> String {
    let name = match code {
        0x0 => "none",
        0x1 => "protocol",
        0x2 => "internal",
        0x3 => "flow",
        0x4 => "settings",
        0x5 => "stream-closed",
        0x6 => "frame-size",
        0x7 => "refused",
        0x8 => "cancel",
        0x9 => "compression",
        0xb => "calm",
        _ => return format!("{code:#x}"),
    };
    name.to_owned()
}
