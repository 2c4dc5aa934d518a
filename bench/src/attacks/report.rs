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
                             from   victim   p99, ms                                 grown recovery, ms core                                            \
upstream    at
attack                              served   quiet    sink  attack ÷quiet  ÷sink    MiB    sink attack busy  connections and how they ended        \
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
    /// The same attackers on a sink; `None` where that was not asked for, or would not be the same attack.
    pub(crate) sink: Option<SinkFigures>,
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

/// The control: nobody attacks the proxy that the victim asks.
#[derive(Debug, Serialize)]
pub(crate) struct SinkFigures {
    pub(crate) victim: VictimFigures,
    pub(crate) attacker: Outcome,
}

impl AttacksReport {
    /// Writes the table to standard output.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = render_versions(&self.versions)?;
        let Self { peer, seconds, rate, rows, .. } = self;
        writeln!(
            text,
            "\n{peer}: attacks of {seconds} s beside a victim with {rate} requests/s; bounds: all served, p99 <= \
             {SLOWDOWN_MAX} x quiet or sink,\n{GROWTH_MEBIBYTES_MAX} MiB, recovery in {RECOVERY_MILLIS_MAX} ms or as \
             beside the sink\n\n{TITLE}"
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
        let sink = |of: fn(&VictimFigures) -> f64| self.sink.as_ref().map(|sink| of(&sink.victim));
        let shown = |figure: Option<f64>, digits| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
        };
        let sink_p99 = sink(|victim| victim.attack_p99_millis);
        write!(text, "{} {:<23}{:>5}", self.id, self.name, self.connections)?;
        write!(text, "{:>8.2}%{quiet_p99_millis:>8.2}{:>8}", 100.0 * served_share, shown(sink_p99, 2))?;
        write!(text, "{attack_p99_millis:>8.2}{:>7.1}", attack_p99_millis / quiet_p99_millis)?;
        write!(
            text,
            "{:>7}{:>7.1}",
            shown(sink_p99.map(|p99| attack_p99_millis / p99), 1),
            self.growth_mebibytes
        )?;
        write!(text, "{:>8}{recovery_millis:>7.0}", shown(sink(|victim| victim.recovery_millis), 0))?;
        write!(text, "{:>4.0}%  {:<38}", 100.0 * self.busy_share, self.attacker.ends())?;
        write!(text, "{:>9}{:>6}  ", self.upstream_requests, self.upstream_in_flight_peak)?;
        write!(text, "{}", self.missed().join(", "))?;
        Ok(text)
    }

    /// The bounds that do not hold. What the attackers cost the victim where they do not attack the proxy is not the proxy's.
    fn missed(&self) -> Vec<&'static str> {
        let victim = &self.victim;
        let beside = |own: f64, of: fn(&VictimFigures) -> f64| {
            self.sink.as_ref().map_or(own, |sink| own.max(of(&sink.victim)))
        };
        let p99 = beside(victim.quiet_p99_millis, |victim| victim.attack_p99_millis);
        let recovery = beside(RECOVERY_MILLIS_MAX, |victim| victim.recovery_millis);
        let bounds = [
            (victim.served_share >= 1.0, "served"),
            (victim.attack_p99_millis <= SLOWDOWN_MAX * p99, "p99"),
            (self.growth_mebibytes <= GROWTH_MEBIBYTES_MAX, "memory"),
            (victim.recovery_millis <= recovery, "recovery"),
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
