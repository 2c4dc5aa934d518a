//! The client as a proxy has it: started, looked at, dropped.

use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;
use spurline_route::RouteTable;
use spurline_telemetry::metrics::Shared;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use crate::{Settings, StatusHandle, Timing, engine::Engine, link::Link};

/// Responses that were read and wait to be applied; bounds what a server can make us hold.
const EVENTS_MAX: usize = 4;

/// Where the results go.
pub struct Outputs {
    /// Every new table is put here, for all workers at once.
    pub table: Arc<ArcSwap<RouteTable>>,
    /// What is counted.
    pub metrics: Shared,
    /// Called once when there is a table to serve by, or the wait for one is over.
    pub ready: Option<Box<dyn FnOnce() + Send>>,
}

/// A thread that follows the control service. Dropping it stops the thread; the last table stays.
#[derive(Debug)]
pub struct Client {
    status: StatusHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Outputs ===

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").finish_non_exhaustive()
    }
}

// === impl Client ===

impl Client {
    /// Puts the snapshot in force, if there is a good one, then follows the control service from a thread of its own.
    ///
    /// Returns when the snapshot counts; the control service is not waited for, and whether it can be reached is no
    /// condition for anything but [`Outputs::ready`].
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: Settings, outputs: Outputs) -> io::Result<Self> {
        Self::start_with(settings, outputs, Timing::default())
    }

    /// As [`Client::start`], with another patience, for tests.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_with(settings: Settings, outputs: Outputs, timing: Timing) -> io::Result<Self> {
        let status = StatusHandle::default();
        let link = Link {
            servers: settings.servers.clone(),
            tls: settings.tls.clone(),
            user_agent: format!("spurline-proxy/{}", settings.node.version),
            timing,
        };
        let mut engine = Engine::new(settings, timing, outputs, status.clone());
        engine.restore();
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            let (events, received) = mpsc::channel(EVENTS_MAX);
            let engine = runtime.block_on(async {
                let link = tokio::spawn(link.run(events));
                let engine = engine.run(received, stopped).await;
                link.abort();
                engine
            });
            // Waits for a snapshot that is being written.
            drop(runtime);
            engine.stop();
        })?;
        Ok(Self { status, stop: Some(stop), thread: Some(thread) })
    }

    /// What an operator may want to know.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
