//! Settings of TLS, and what they and the listeners ask of each other.

use std::path::PathBuf;

use super::values::Values;
use crate::{
    Certificate, Listener, ListenerTls,
    config::{Tls, TlsVersion},
    defs::Id,
    error::Problem,
};

/// How TLS is spoken with clients, if a listener ends it; settings that make no sense without one are mistakes.
pub(super) fn tls(listeners: &[Listener], values: &mut Values<'_>) -> Option<Tls> {
    let tls = Tls {
        certificates: values.maps(Id::TlsCertificate, Certificate::from_raw),
        client_ca_file: values.text(Id::TlsClientCaFile).map(PathBuf::from),
        min_version: match values.text(Id::TlsMinVersion).as_deref() {
            Some("1.3") => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
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
