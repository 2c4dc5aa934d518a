//! The command line as a source.

use std::ffi::OsString;

use clap::{Arg, ArgAction, error::ErrorKind};

use super::{Raw, Source, add_map};
use crate::{
    defs::{SETTINGS, Setting},
    error::Exit,
    reference,
    value::Kind,
};

const PRINT_REFERENCE: &str = "print-settings-reference";

const ABOUT: &str = "Steers requests that carry a routing key to the forks of their sandbox, and leaves every other \
request on its way.\n\nEvery setting is a flag, a variable or a key in the file given with --config; a flag wins over a \
variable, a variable over the file.";

/// Reads the flags, or gives the text to print instead of running.
///
/// A command line that cannot be split into flags is reported alone: what the rest would mean depends on it.
pub(crate) fn read_flags(args: impl Iterator<Item = OsString>) -> Result<(Raw, Option<String>), Exit> {
    let mut matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok((Raw::default(), Some(error.to_string())));
        }
        Err(error) => {
            return Err(Exit { code: Exit::USAGE, message: error.to_string().trim_end().to_owned() });
        }
    };
    if matches.get_flag(PRINT_REFERENCE) {
        return Ok((Raw::default(), Some(reference())));
    }
    let mut raw = Raw::default();
    let mut problems = Vec::new();
    for setting in SETTINGS {
        let given: Vec<String> = matches.remove_many(setting.name).into_iter().flatten().collect();
        for text in given {
            if setting.map_key().is_some() {
                problems.extend(add_map(&mut raw, setting, &Source::Flag, &text).err());
            } else {
                raw.insert(setting, Source::Flag, text);
            }
        }
    }
    if problems.is_empty() { Ok((raw, None)) } else { Err(Exit::usage(&problems)) }
}

/// The command line that the table describes.
fn command() -> clap::Command {
    let print_reference = Arg::new(PRINT_REFERENCE)
        .long(PRINT_REFERENCE)
        .action(ArgAction::SetTrue)
        .help_heading("Command")
        .help("Print the reference page of all settings in Markdown and end.");
    clap::Command::new("spurline-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args(SETTINGS.iter().map(arg))
        .arg(print_reference)
}

fn arg(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() { "unset" } else { setting.default };
    let help = format!(
        "{}\n[default: {default}] [allowed: {}] [env: {}]",
        setting.help,
        setting.kind.allowed(),
        setting.variable()
    );
    let arg = Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.kind.name().to_ascii_uppercase())
        .help_heading(setting.group.title())
        .help(help);
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Maps { .. } => arg.action(ArgAction::Append),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
