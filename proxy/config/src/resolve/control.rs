//! Settings of the control service, and what they ask of each other.

use std::{net::Ipv6Addr, path::PathBuf};

use super::values::Values;
use crate::{
    config::{Control, ControlIdentity, ControlServer},
    defs::Id,
};

/// Longest name of a proxy.
const NODE_LEN_MAX: usize = 200;
/// Most servers that are tried in turn.
const SERVERS_MAX: usize = 16;

/// The control service, if there is one; settings that make no sense without it are mistakes.
pub(super) fn control(values: &mut Values<'_>) -> Option<Control> {
    let servers = servers(values);
    let path = |values: &mut Values<'_>, id| values.text(id).map(PathBuf::from);
    let ca_file = path(values, Id::ControlCaFile);
    let identity = identity(values);
    let control = Control {
        servers,
        ca_file,
        identity,
        node: values.parsed(Id::ControlNode, node),
        snapshot: path(values, Id::ControlSnapshot),
        snapshot_age_max: values.span(Id::ControlSnapshotAgeMax),
        ready_timeout: values.timeout(Id::ControlReadyTimeout),
    };
    if control.servers.is_empty() {
        orphans(values);
        return None;
    }
    if values.text(Id::Routes).is_some() {
        values.problem(Id::Control, "routes is set too, and a proxy follows one of them");
    }
    let is_https = |server: &ControlServer| matches!(server, ControlServer::Https(_));
    if control.servers.iter().any(is_https) && control.ca_file.is_none() {
        values.problem(Id::ControlCaFile, "required when a server is https");
    }
    Some(control)
}

fn servers(values: &mut Values<'_>) -> Vec<ControlServer> {
    let mut servers = Vec::new();
    for text in values.list(Id::Control) {
        match server(&text) {
            Ok(server) if servers.contains(&server) => {
                values.problem(Id::Control, &format!("{text} is given twice"));
            }
            Ok(server) => servers.push(server),
            Err(reason) => values.problem(Id::Control, &format!("{text:?} {reason}")),
        }
    }
    if servers.len() > SERVERS_MAX {
        values.problem(Id::Control, &format!("more than {SERVERS_MAX} servers"));
    }
    servers
}

/// Reads one server. The error goes on after its text.
fn server(text: &str) -> Result<ControlServer, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        let absolute = path.starts_with('/');
        return absolute.then(|| ControlServer::Unix(path.into())).ok_or("is no absolute path of a socket");
    }
    let (authority, secure) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(authority), _) => (authority, false),
        (None, Some(authority)) => (authority, true),
        (None, None) => return Err("begins with neither http://, https:// nor unix:/"),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':').ok_or("has no port")?;
    if !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err("has no port between 1 and 65535");
    }
    let name = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if !name(host) && bare.is_none_or(|bare| bare.parse::<Ipv6Addr>().is_err()) {
        return Err("has no host name or address");
    }
    let authority = authority.to_owned();
    Ok(if secure { ControlServer::Https(authority) } else { ControlServer::Http(authority) })
}

fn identity(values: &mut Values<'_>) -> Option<ControlIdentity> {
    let cert_file = values.text(Id::ControlCertFile);
    let key_file = values.text(Id::ControlKeyFile);
    match (&cert_file, &key_file) {
        (Some(_), None) => values.problem(Id::ControlKeyFile, "required with control_cert_file"),
        (None, Some(_)) => values.problem(Id::ControlCertFile, "required with control_key_file"),
        _ => {}
    }
    Some(ControlIdentity { cert_file: cert_file?.into(), key_file: key_file?.into() })
}

fn node(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && text.len() <= NODE_LEN_MAX { Ok(text.to_owned()) } else { Err("not a name".to_owned()) }
}

/// Whoever set one of these meant to use a control service.
fn orphans(values: &mut Values<'_>) {
    let ids = [Id::ControlCaFile, Id::ControlCertFile, Id::ControlKeyFile, Id::ControlSnapshot];
    for id in ids {
        if values.text(id).is_some() {
            values.problem(id, "control is not set");
        }
    }
}
