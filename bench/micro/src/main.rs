//! `spurline-micro`: what each case costs in instructions, compared with the committed baseline.
//!
//! Instructions are counted by callgrind, so that the figure is the same on a busy machine, and on another one. What they
//! cost in time is what the wall-time benchmarks are for.

mod baseline;
mod callgrind;

use std::{env, hint, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use baseline::{Baseline, Counts};

const USAGE: &str = "usage: spurline-micro compare BASELINE | accept BASELINE | run CASE";
/// Done before counting begins: buffers have their size then, and the tables of header compression their content.
const WARM_UP: u32 = 64;
/// Done while counted: whole rounds, or several, of what an operation takes in turn.
const COUNTED: u32 = 512;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["compare", path] => compare(Path::new(path)),
        ["accept", path] => accept(Path::new(path)),
        ["run", name] => run(name),
        _ => bail!(USAGE),
    }
}

fn compare(path: &Path) -> Result<ExitCode> {
    let baseline = Baseline::read(path)?;
    let counts = callgrind::count_all(COUNTED)?;
    let comparison = baseline.compare(&counts);
    eprint!("{comparison}");
    if comparison.fails() {
        let now = callgrind::versions()?;
        if *baseline.versions() != now {
            eprintln!("The baseline was made with {}.\nThis was counted with {now}.", baseline.versions());
        }
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn accept(path: &Path) -> Result<ExitCode> {
    let counts: Counts = callgrind::count_all(COUNTED)?;
    if path.exists() {
        eprint!("{}", Baseline::read(path)?.compare(&counts));
    }
    Baseline::new(counts, callgrind::versions()?).write(path)?;
    eprintln!("{} is written anew. Commit it with what changed the counts, and say why.", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Does one case, the counted part of it in [`spurline_micro::measured`].
fn run(name: &str) -> Result<ExitCode> {
    let case = spurline_micro::cases().find(|case| case.name == name).context("no such case")?;
    let mut operation = (case.prepare)()?;
    (0..WARM_UP).for_each(|_| operation());
    spurline_micro::measured(hint::black_box(&mut operation), COUNTED);
    Ok(ExitCode::SUCCESS)
}
