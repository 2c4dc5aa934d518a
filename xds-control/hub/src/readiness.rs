//! Which sources still have to finish their first load. Until all have, proxies get no answer: half of the documents
//! would read as if the other half had been deleted.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Readiness {
    waiting_for: Mutex<BTreeSet<&'static str>>,
    ready: watch::Sender<bool>,
}

impl Readiness {
    /// Nothing to wait for: ready.
    pub(crate) fn new() -> Self {
        Self { waiting_for: Mutex::default(), ready: watch::Sender::new(true) }
    }

    pub(crate) fn expect(&self, source: &'static str) {
        self.edit(|waiting_for| {
            waiting_for.insert(source);
        });
    }

    pub(crate) fn set_ready(&self, source: &str) {
        self.edit(|waiting_for| {
            waiting_for.remove(source);
        });
    }

    pub(crate) fn waiting_for(&self) -> Vec<&'static str> {
        self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn edit(&self, edit: impl FnOnce(&mut BTreeSet<&'static str>)) {
        let mut waiting_for = self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut waiting_for);
        self.ready.send_replace(waiting_for.is_empty());
    }
}
