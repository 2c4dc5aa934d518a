//! What the system knows about this process, under the names every Prometheus client uses.

use std::{fmt, fs};

use prometheus_client::{
    encoding::DescriptorEncoder,
    metrics::{MetricType, exemplar::Exemplar},
};

/// One reading of `/proc/self`; what cannot be read is absent from the scrape.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    descriptors: Option<f64>,
    descriptors_max: Option<f64>,
    threads: Option<f64>,
    start_seconds: Option<f64>,
}

/// One row of the table of process metrics.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    read: fn(&Process) -> Option<f64>,
}

/// Name and help of the build information, a gauge that is always 1.
pub(super) const BUILD_INFO: (&str, &str) = ("spurline_build_info", "Version of this binary.");

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "process_cpu_seconds",
        help: "User and system CPU time spent.",
        kind: MetricType::Counter,
        read: |process| process.cpu_seconds,
    },
    Row {
        name: "process_resident_memory_bytes",
        help: "Resident memory.",
        kind: MetricType::Gauge,
        read: |process| process.resident_bytes,
    },
    Row {
        name: "process_virtual_memory_bytes",
        help: "Virtual memory.",
        kind: MetricType::Gauge,
        read: |process| process.virtual_bytes,
    },
    Row {
        name: "process_open_fds",
        help: "Open descriptors.",
        kind: MetricType::Gauge,
        read: |process| process.descriptors,
    },
    Row {
        name: "process_max_fds",
        help: "Limit of open descriptors.",
        kind: MetricType::Gauge,
        read: |process| process.descriptors_max,
    },
    Row {
        name: "process_threads",
        help: "Threads.",
        kind: MetricType::Gauge,
        read: |process| process.threads,
    },
    Row {
        name: "process_start_time_seconds",
        help: "Start of the process since the Unix epoch.",
        kind: MetricType::Gauge,
        read: |process| process.start_seconds,
    },
];

impl Process {
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "ticks per second are a small number")]
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let cpu_ticks = stat_field(&stat, 14).zip(stat_field(&stat, 15)).map(|(user, system)| user + system);
        Self {
            cpu_seconds: cpu_ticks.map(|ticks| ticks / ticks_per_second),
            resident_bytes: number_after(&status, "VmRSS:").map(|kib| kib * 1024.0),
            virtual_bytes: number_after(&status, "VmSize:").map(|kib| kib * 1024.0),
            descriptors: count_descriptors(),
            descriptors_max: number_after(&limits, "Max open files"),
            threads: number_after(&status, "Threads:"),
            start_seconds: stat_field(&stat, 22)
                .zip(number_after(&boot, "btime"))
                .map(|(ticks, boot)| boot + ticks / ticks_per_second),
        }
    }
}

/// A field of `/proc/self/stat`, counted from 1 as in proc(5). The second field is a name in parentheses that may hold
/// spaces, so counting begins after the last parenthesis.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The first number on the line that starts with `name`.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

fn count_descriptors() -> Option<f64> {
    // The directory handle of this very reading is one of the entries.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

pub(super) fn encode(
    process: &Process,
    version: &str,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    for row in ROWS {
        let Some(value) = (row.read)(process) else { continue };
        let mut metric = encoder.encode_descriptor(row.name, row.help, None, row.kind)?;
        match row.kind {
            MetricType::Counter => {
                metric.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)?
            }
            _ => metric.encode_gauge(&value)?,
        }
    }
    let (name, help) = BUILD_INFO;
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_family(&[("version", version)])?
        .encode_gauge(&1_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_descriptors_threads_and_a_start() {
        let process = Process::read();
        for row in ROWS {
            let value = (row.read)(&process);
            assert!(value.is_some_and(|value| value >= 0.0), "{}", row.name);
        }
        assert!(process.resident_bytes > Some(100_000.0));
        assert!(process.start_seconds > Some(1.6e9));
    }

    #[test]
    fn a_process_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        assert_eq!(stat_field("7 (a) b) c) S 1 2 3", 4), Some(1.0));
        assert_eq!(stat_field("", 4), None);
    }
}
