//! Counting with valgrind's callgrind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use spurline_micro::Case;

use crate::baseline::Counts;

/// Counting is on in this function only, whichever way its name is mangled.
const COUNTED_FUNCTION: &str = "*spurline_micro*measured*";

/// The instructions of one operation of every case.
pub(crate) fn count_all(times: u32) -> Result<Counts> {
    check_machine()?;
    let program = env::current_exe().context("where this program lies")?;
    let directory = program.with_file_name("callgrind");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let waiting = Mutex::new(spurline_micro::cases());
    let counts = Mutex::new(Ok(Counts::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = next(&waiting) {
                    let counted = count(&program, &directory, case, times);
                    let mut counts = counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    match (counted, counts.as_mut()) {
                        (Ok(count), Ok(counts)) => {
                            counts.insert(case.name.to_owned(), count);
                        }
                        (Err(error), Ok(_)) => *counts = Err(error.context(case.name)),
                        (_, Err(_)) => return,
                    }
                }
            });
        }
    });
    counts.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn next(waiting: &Mutex<impl Iterator<Item = &'static Case>>) -> Option<&'static Case> {
    waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next()
}

/// Valgrind shows every program the same processor, as long as the real one has AVX2. Libraries that choose their code by
/// what the processor can do, such as the C library, so choose the same everywhere.
fn check_machine() -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    let comparable = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let comparable = false;
    ensure!(comparable, "the baseline holds for x86-64 with AVX2 only; SPURLINE_SKIP_MICRO=1 leaves it out");
    Ok(())
}

fn count(program: &Path, directory: &Path, case: &Case, times: u32) -> Result<f64> {
    let profile = directory.join(format!("{}.out", case.name.replace('/', "-")));
    let output = valgrind()
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(format!("--toggle-collect={COUNTED_FUNCTION}"))
        .arg(program)
        .args(["run", case.name])
        .stdin(Stdio::null())
        .output()
        .context("cannot run valgrind; bench/micro/setup.sh installs it")?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let total = total(&profile)?;
    ensure!(total > 0, "nothing was counted: no function is named {COUNTED_FUNCTION}");
    Ok(total as f64 / f64::from(times))
}

/// With nothing in the environment that the stack of the program could start with.
fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// The sum of instructions in a profile.
fn total(profile: &PathBuf) -> Result<u64> {
    let text = fs::read_to_string(profile).with_context(|| format!("cannot read {}", profile.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("{} has no total", profile.display()))
}

/// What the counts depend on beside our own code.
pub(crate) fn versions() -> Result<String> {
    let lines = [
        first_line(Command::new("rustc").arg("--version"))?,
        first_line(valgrind().arg("--version"))?,
        first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?,
    ];
    Ok(lines.join(", "))
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
