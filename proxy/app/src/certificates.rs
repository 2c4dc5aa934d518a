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

use spurline_config::{Certificate, Config, Tls, TlsVersion};
use spurline_net::tls::{CertificateFiles, MinVersion, Reload, ServerFiles, ServerTls};
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

/// Reads what listeners show, if one ends TLS.
pub(crate) fn server(config: &Config) -> Result<Option<Arc<ServerTls>>, AppError> {
    let Some(Tls { certificates, client_ca_file, min_version, .. }) = &config.tls else { return Ok(None) };
    let files = |certificate: &Certificate| {
        let Certificate { names, cert, key } = certificate.clone();
        CertificateFiles { names, cert, key }
    };
    let files = ServerFiles {
        certificates: certificates.iter().map(files).collect(),
        client_ca: client_ca_file.clone(),
        min_version: match min_version {
            TlsVersion::Tls12 => MinVersion::Tls12,
            TlsVersion::Tls13 => MinVersion::Tls13,
        },
    };
    Ok(Some(Arc::new(ServerTls::load(files)?)))
}

// === impl Watch ===

impl Watch {
    pub(crate) fn start(server: Arc<ServerTls>, metrics: Shared) -> io::Result<Self> {
        note_expiry(&server, &metrics);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("certificates".into()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                note(&server.follow(), &metrics);
                note_expiry(&server, &metrics);
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

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

fn note_expiry(server: &ServerTls, metrics: &Shared) {
    let first = server.expiries().into_iter().min().and_then(|end| end.duration_since(UNIX_EPOCH).ok());
    metrics.gauge_set(Gauge::TlsCertificateExpiry, first.map_or(0, |end| end.as_secs()));
}
