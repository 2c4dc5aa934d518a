//! The environment as a source.

use super::{Raw, Source, add_map, suggestion};
use crate::{
    defs::{SETTINGS, VARIABLE_PREFIX},
    error::Problem,
};

/// Takes every `SPURLINE_*` variable; one that names no setting is a problem, because a misspelt limit is no limit.
pub(super) fn read(env: impl Iterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Raw {
    let mut raw = Raw::default();
    let mut ours: Vec<_> = env.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
    ours.sort();
    for (name, value) in ours {
        match SETTINGS.iter().find(|setting| setting.variable() == name) {
            Some(setting) if setting.map_key().is_some() => {
                for text in value.split(';').map(str::trim).filter(|text| !text.is_empty()) {
                    problems.extend(add_map(&mut raw, setting, &Source::Environment, text).err());
                }
            }
            Some(setting) => raw.insert(setting, Source::Environment, value),
            None if is_service_link(&name, &value) => {}
            None => {
                let known: Vec<_> = SETTINGS.iter().map(super::Setting::variable).collect();
                let suggestion = suggestion(&name, known.iter().map(String::as_str));
                problems.push(Problem::new(format!("{name} (env {name}): unknown setting{suggestion}")));
            }
        }
    }
    raw
}

/// Kubernetes gives every pod variables for the services of its namespace: a service `spurline-control` makes
/// `SPURLINE_CONTROL_SERVICE_HOST` and its kin. They are not ours, and must not stop a proxy.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_port = name.split("_PORT_").skip(1).any(|rest| {
        let protocol = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        protocol.len() < rest.len() && ["_TCP", "_UDP", "_SCTP"].iter().any(|word| protocol.starts_with(word))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || of_port
        || (name.ends_with("_PORT") && is_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_kubernetes_makes_for_a_service_are_not_settings() {
        let address = "tcp://10.0.0.1:7777";
        for (name, value) in [
            ("SPURLINE_CONTROL_SERVICE_HOST", "10.0.0.1"),
            ("SPURLINE_CONTROL_SERVICE_PORT", "7777"),
            ("SPURLINE_CONTROL_SERVICE_PORT_GRPC", "7777"),
            ("SPURLINE_CONTROL_PORT", address),
            ("SPURLINE_CONTROL_PORT_7777_TCP", address),
            ("SPURLINE_CONTROL_PORT_7777_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [("SPURLINE_CONTROL_PORT", "7777"), ("SPURLINE_HEAD_TIMEOUT", "1s")] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
