//! From settings to certificates, and keeping them in step with their files.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, UNIX_EPOCH},
};

use spurline_config::{Certificate, Config, Tls, TlsVersion, UpstreamTls};
use spurline_net::tls::{
    CertificateFiles, ClientFiles, ClientTls, MinVersion, Reload, ServerFiles, ServerTls,
};
use spurline_telemetry::metrics::{Counter, FileUpdate, Gauge, Shared};

use crate::AppError;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that follows the files. Dropping it stops the thread; what is in use stays.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What TLS is spoken with; `None` where it is not.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// With clients.
    pub(crate) server: Option<Arc<ServerTls>>,
    /// With upstreams.
    pub(crate) client: Option<Arc<ClientTls>>,
}

// === impl Certificates ===

impl Certificates {
    /// Reads the files that the settings name.
    pub(crate) fn load(config: &Config) -> Result<Self, AppError> {
        let server = config.tls.as_ref().map(|tls| {
            ServerTls::load(server_files(tls)).map_err(|error| {
                let is_ca = tls.client_ca_file.as_deref() == Some(error.path());
                AppError::Tls { setting: if is_ca { "tls_client_ca_file" } else { "tls_certificate" }, error }
            })
        });
        let client = config.upstream_tls.as_ref().map(|tls| {
            ClientTls::load(client_files(tls)).map_err(|error| {
                let is_ca = tls.ca_file == error.path();
                let setting = if is_ca { "upstream_tls_ca_file" } else { "upstream_tls_cert_file" };
                AppError::Tls { setting, error }
            })
        });
        let (server, client) = (server.transpose()?, client.transpose()?);
        Ok(Self { server: server.map(Arc::new), client: client.map(Arc::new) })
    }

    /// Follows the files from a thread, if there are any.
    pub(crate) fn follow(self, metrics: Shared) -> io::Result<Option<Watch>> {
        if self.server.is_none() && self.client.is_none() {
            return Ok(None);
        }
        self.note_expiry(&metrics);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("certificates".into()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let server = self.server.iter().map(|tls| tls.follow());
                let client = self.client.iter().map(|tls| tls.follow());
                server.chain(client).for_each(|reload| note(&reload, &metrics));
                self.note_expiry(&metrics);
            }
        })?;
        Ok(Some(Watch { stop: Some(stop), thread: Some(thread) }))
    }

    fn note_expiry(&self, metrics: &Shared) {
        let ends = self.server.iter().flat_map(|tls| tls.expiries());
        let first = ends.min().and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        metrics.gauge_set(Gauge::TlsCertificateExpiry, first.map_or(0, |end| end.as_secs()));
    }
}

fn server_files(tls: &Tls) -> ServerFiles {
    let files = |certificate: &Certificate| {
        let Certificate { names, cert, key } = certificate.clone();
        CertificateFiles { names, cert, key }
    };
    ServerFiles {
        certificates: tls.certificates.iter().map(files).collect(),
        client_ca: tls.client_ca_file.clone(),
        min_version: min_version(tls.min_version),
    }
}

fn client_files(tls: &UpstreamTls) -> ClientFiles {
    ClientFiles {
        ca: tls.ca_file.clone(),
        identity: tls.identity.clone(),
        server_name: tls.name.clone(),
        min_version: min_version(tls.min_version),
    }
}

fn min_version(version: TlsVersion) -> MinVersion {
    match version {
        TlsVersion::Tls12 => MinVersion::Tls12,
        TlsVersion::Tls13 => MinVersion::Tls13,
    }
}

// === impl Watch ===

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn note(reload: &Reload, metrics: &Shared) {
    for path in &reload.taken {
        metrics.inc(Counter::TlsReloads(FileUpdate::Applied));
        tracing::info!(path = %path.display(), "Certificates reloaded");
    }
    for error in &reload.rejected {
        metrics.inc(Counter::TlsReloads(FileUpdate::Rejected));
        tracing::warn!(%error, "Changed certificates are unusable, those in use stay");
    }
}
