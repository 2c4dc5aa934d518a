//! Settings of TLS, and what they and the listeners ask of each other.

use std::path::PathBuf;

use super::values::Values;
use crate::{
    Certificate, Listener, ListenerTls,
    certificate::parse_name,
    config::{Tls, TlsVersion, UpstreamTls},
    defs::Id,
    error::Problem,
};

/// How TLS is spoken with clients, if a listener ends it; settings that make no sense without one are mistakes.
pub(super) fn tls(listeners: &[Listener], values: &mut Values<'_>) -> Option<Tls> {
    let tls = Tls {
        certificates: values.maps(Id::TlsCertificate, Certificate::from_raw),
        client_ca_file: values.text(Id::TlsClientCaFile).map(PathBuf::from),
        min_version: min_version(values),
        handshake_timeout: values.span(Id::TlsHandshakeTimeout),
    };
    let terminating = listeners.iter().find(|listener| listener.tls != ListenerTls::Off);
    let is_given = values.raw.maps(Id::TlsCertificate).next().is_some();
    match terminating {
        // A listener that could not be read may be the one that ends TLS.
        None if values.problems.is_empty() && is_given => {
            values.problems.push(Problem::new("tls_certificate is set, and no listener has tls=terminate"));
        }
        None if values.problems.is_empty() && tls.client_ca_file.is_some() => {
            values.problem(Id::TlsClientCaFile, "no listener has tls=terminate");
        }
        Some(listener) if !is_given => {
            let line = format!("listener {:?}: tls=terminate needs a tls_certificate", listener.name);
            values.problems.push(Problem::new(line));
        }
        _ => {}
    }
    terminating.map(|_| tls)
}

/// How TLS is spoken with upstreams, if a listener does; settings that make no sense without one are mistakes.
pub(super) fn upstream_tls(listeners: &[Listener], values: &mut Values<'_>) -> Option<UpstreamTls> {
    let ca_file = values.text(Id::UpstreamTlsCaFile).map(PathBuf::from);
    let name = values.parsed(Id::UpstreamTlsName, |text| match parse_name(text) {
        Ok(name) if !name.starts_with('*') => Ok(name),
        _ => Err("not a DNS name".to_owned()),
    });
    let identity = identity(values);
    let min_version = min_version(values);
    let Some(listener) = listeners.iter().find(|listener| listener.upstream_tls) else {
        orphans(values);
        return None;
    };
    if ca_file.is_none() {
        let line = format!("listener {:?}: upstream_tls=on needs upstream_tls_ca_file", listener.name);
        values.problems.push(Problem::new(line));
    }
    Some(UpstreamTls { ca_file: ca_file?, name, identity, min_version })
}

fn identity(values: &mut Values<'_>) -> Option<(PathBuf, PathBuf)> {
    let cert = values.text(Id::UpstreamTlsCertFile);
    let key = values.text(Id::UpstreamTlsKeyFile);
    match (&cert, &key) {
        (Some(_), None) => values.problem(Id::UpstreamTlsKeyFile, "required with upstream_tls_cert_file"),
        (None, Some(_)) => values.problem(Id::UpstreamTlsCertFile, "required with upstream_tls_key_file"),
        _ => {}
    }
    Some((cert?.into(), key?.into()))
}

fn orphans(values: &mut Values<'_>) {
    // A listener that could not be read may be the one that needs them.
    if !values.problems.is_empty() {
        return;
    }
    let ids = [Id::UpstreamTlsCaFile, Id::UpstreamTlsName, Id::UpstreamTlsCertFile, Id::UpstreamTlsKeyFile];
    for id in ids {
        if values.text(id).is_some() {
            values.problem(id, "no listener has upstream_tls=on");
        }
    }
}

fn min_version(values: &mut Values<'_>) -> TlsVersion {
    match values.text(Id::TlsMinVersion).as_deref() {
        Some("1.3") => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    }
}
