//! The reference page of all settings, generated from the table.

use std::fmt::Write as _;

use crate::{
    defs::{Group, SETTINGS},
    value::Kind,
};

const HEAD: &str = "\
# Settings of spurline-proxy

Generated from the table of settings; do not edit. Regenerate it with
`spurline-proxy --print-settings-reference > docs/reference/settings.md`.

Every setting can be given as a flag, as a variable, or as a key of the YAML file named by `--config`. A flag wins over
a variable, a variable over the file, the file over the default. A setting that is unknown or wrong in any source ends
the start with status 64; all mistakes are reported together. `--check` only checks.

Durations are written `250ms`, `10s`, `5m`, `1h`; sizes in bytes or as `16KiB`, `1MiB`; lists with commas, or as YAML
lists. An empty value unsets a text and empties a list.

";

/// The page in Markdown, as `--print-settings-reference` prints it.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for group in Group::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "## {}\n", group.title());
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let default = match setting.default {
                "" => "unset".to_owned(),
                default => format!("`{default}`"),
            };
            let file_key = setting
                .file_key()
                .map_or_else(|| "not in the file".to_owned(), |key| format!("file `{key}`"));
            let _ = writeln!(
                page,
                "### `{}`\n\n`--{}`, `{}`, {file_key}. Type: {}. Default: {default}. Allowed: {}.\n\n{}\n",
                setting.name,
                setting.flag(),
                setting.variable(),
                setting.kind.name(),
                allowed(setting.kind),
                setting.help
            );
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Maps { .. } => format!("`{}`", kind.allowed()),
        _ => kind.allowed(),
    }
}
