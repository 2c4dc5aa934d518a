//! The sandboxes that are put: as JSON for REST, as YAML for files.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

/// The port of every workload that is forked.
pub(crate) const PORT: u16 = 8080;

/// Where forks are that no request of the bench goes to.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A workload by number.
pub(crate) fn workload(number: u32) -> String {
    format!("bench/Deployment/w{number:03}")
}

/// A sandbox by number: its name, and its routing key too.
pub(crate) fn name(number: u32) -> String {
    format!("bench-{number:06}")
}

/// A sandbox that forks `workloads` to one endpoint each.
pub(crate) fn json(name: &str, forks: impl IntoIterator<Item = (String, SocketAddr)>) -> Value {
    let forks: Vec<Value> = forks
        .into_iter()
        .map(|(workload, endpoint)| {
            json!({ "workload": workload, "ports": { PORT.to_string(): [endpoint.to_string()] } })
        })
        .collect();
    json!({
        "kind": "Sandbox",
        "metadata": { "name": name },
        "spec": { "routingKey": name, "forks": forks },
    })
}

/// The same as one document of a YAML file.
pub(crate) fn yaml(name: &str, forks: impl IntoIterator<Item = (String, SocketAddr)>) -> String {
    let mut text =
        format!("---\nkind: Sandbox\nmetadata: {{ name: {name} }}\nspec:\n  routingKey: {name}\n  forks:\n");
    for (workload, endpoint) in forks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    - {{ workload: {workload}, ports: {{ \"{PORT}\": [\"{endpoint}\"] }} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_every_fork_once() {
        let forks = || (0..3).map(|number| (workload(number), NOWHERE));
        let json = json("a", forks()).to_string();
        let yaml = yaml("a", forks());
        for number in 0..3 {
            assert_eq!(json.matches(&workload(number)).count(), 1);
            assert_eq!(yaml.matches(&workload(number)).count(), 1);
        }
    }
}
