//! From settings to the client of the control service.
//!
//! What a proxy asks for follows from its listeners: the overrides of every workload that one steers for, and the
//! baseline endpoints of those that name none.

use std::{fs, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use spurline_config::{Config, Control, ControlServer, Protocol};
use spurline_route::{RouteTable, Workload};
use spurline_telemetry::metrics::Shared;
use spurline_xds::{Client, Identity, Node, Outputs, Scope, Server, Settings, Tls};

use crate::{AppError, readiness::Guard};

/// Starts the client, if there is a control service; a good snapshot is in force when this returns.
pub(crate) fn follow(
    config: &Config,
    table: &Arc<ArcSwap<RouteTable>>,
    metrics: Shared,
    routes: Guard,
) -> Result<Option<Client>, AppError> {
    let Some(control) = &config.control else { return Ok(None) };
    let ready: Box<dyn FnOnce() + Send> = Box::new(move || drop(routes));
    let outputs = Outputs { table: Arc::clone(table), metrics, ready: Some(ready) };
    Client::start(settings(config, control), outputs).map(Some).map_err(AppError::Runtime)
}

/// Checks the files that a connection will need.
pub(crate) fn check(config: &Config) -> Result<(), AppError> {
    let Some(control) = &config.control else { return Ok(()) };
    let identity = control.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
    for path in control.ca_file.iter().chain(identity) {
        fs::read(path).map_err(|error| AppError::ControlFile { path: path.clone(), error })?;
    }
    let folder =
        |path: &PathBuf| path.parent().map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    if let Some(folder) = control.snapshot.as_ref().and_then(folder) {
        fs::read_dir(&folder).map_err(|error| AppError::ControlFile { path: folder, error })?;
    }
    Ok(())
}

fn settings(config: &Config, control: &Control) -> Settings {
    let server = |server: &ControlServer| match server {
        ControlServer::Http(authority) => Server::Http(authority.clone()),
        ControlServer::Https(authority) => Server::Https(authority.clone()),
        ControlServer::Unix(path) => Server::Unix(path.clone()),
    };
    let identity = control.identity.as_ref().map(|identity| Identity {
        cert_file: identity.cert_file.clone(),
        key_file: identity.key_file.clone(),
    });
    Settings {
        servers: control.servers.iter().map(server).collect(),
        tls: Tls { ca_file: control.ca_file.clone(), identity },
        node: Node {
            id: control.node.clone().unwrap_or_else(node_id),
            cluster: workloads(config).next().map(ToString::to_string).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        scope: scope(config),
        snapshot: control.snapshot.clone(),
        snapshot_age_max: control.snapshot_age_max,
        ready_timeout: control.ready_timeout,
    }
}

/// What the listeners need.
fn scope(config: &Config) -> Scope {
    let without_baseline = config.listeners.iter().filter(|listener| listener.baseline.is_empty());
    let baselines = without_baseline.filter_map(|listener| listener.workload.clone());
    Scope::new(workloads(config).cloned(), baselines)
}

/// The workloads that requests are steered for.
fn workloads(config: &Config) -> impl Iterator<Item = &Workload> {
    let steering = config.listeners.iter().filter(|listener| listener.protocol != Protocol::Tcp);
    let explicit = steering.filter_map(|listener| listener.workload.as_ref());
    let inbound = config.inbound.iter().filter_map(|inbound| inbound.workload.as_ref());
    inbound.chain(explicit)
}

/// Good enough to tell the proxies of a cluster apart: a pod's name is its host's name.
fn node_id() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let process = std::process::id();
    if host.is_empty() { process.to_string() } else { format!("{host}/{process}") }
}

#[cfg(test)]
mod tests {
    use spurline_config::Command;
    use spurline_xds::ResourceType;

    use super::*;

    #[test]
    fn what_is_asked_for_follows_from_the_listeners() {
        let args = [
            "spurline-proxy",
            "--control=unix:/run/control.sock",
            "--inbound-listen=127.0.0.1:15006",
            "--inbound-workload=shop/Deployment/web",
            "--listener=name=a,listen=127.0.0.1:1,workload=shop/Deployment/cart,baseline=127.0.0.1:9",
            "--listener=name=b,listen=127.0.0.1:2,workload=shop/Deployment/cart,role=gateway",
            "--listener=name=c,listen=127.0.0.1:3,workload=shop/Deployment/db,protocol=tcp",
        ];
        let parsed = spurline_config::parse(args.into_iter().map(Into::into), std::iter::empty(), |_| {
            Ok(String::new())
        });
        let Ok(Command::Run(config)) = parsed else { panic!("{parsed:?}") };
        let settings = settings(&config, config.control.as_ref().unwrap());
        let names = |ty| settings.scope.names(ty);
        assert_eq!(names(ResourceType::Override), ["shop/Deployment/cart/*", "shop/Deployment/web/*"]);
        assert_eq!(names(ResourceType::Baseline), ["shop/Deployment/cart", "shop/Deployment/db"]);
        assert_eq!(names(ResourceType::KeyOwner), ["*"]);
        assert_eq!(settings.node.cluster, "shop/Deployment/web");
        assert!(!settings.node.id.is_empty());
    }
}
