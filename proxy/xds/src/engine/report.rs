//! Log lines about the control service: enough to act on, and not one per try.

use spurline_telemetry::metrics::StreamEnd;

use crate::{Rejection, decode::Fault, link::Closed};

/// The most rejected resources of one response that are logged by name.
const LOGGED_MAX: usize = 10;

/// What was said last, so that it is not said again.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The failure that was logged last, until a server answers again.
    trouble: Option<(String, StreamEnd)>,
}

// === impl Report ===

impl Report {
    pub(super) fn connected(&mut self, server: &str) {
        self.trouble = None;
        tracing::info!(server, "Connected to the control service");
    }

    pub(super) fn closed(&mut self, closed: &Closed, generation: u64) {
        let Closed { server, end, reason, retry_in } = closed;
        // A server ends streams from time to time so that proxies spread over its replicas.
        let trouble = (server.clone(), *end);
        if *end == StreamEnd::Closed || self.trouble.as_ref() == Some(&trouble) {
            tracing::debug!(
                server,
                end = end.label(),
                reason,
                ?retry_in,
                "Stream to the control service ended"
            );
            return;
        }
        tracing::warn!(
            server,
            end = end.label(),
            reason,
            ?retry_in,
            generation,
            "Stream to the control service ended, the table in force stays"
        );
        self.trouble = Some(trouble);
    }
}

/// Logs what was not taken of a response; returns the last of it.
pub(super) fn rejected(
    type_url: &str,
    rejected: &[(String, Fault)],
    refused: Option<&str>,
    at_unix_s: u64,
) -> Rejection {
    if let Some(reason) = refused {
        tracing::warn!(type_url, reason, "Response of the control service rejected");
    }
    for (name, fault) in rejected.iter().take(LOGGED_MAX) {
        tracing::warn!(
            type_url,
            name,
            reason = %fault,
            "Resource of the control service rejected, what was known of it stays"
        );
    }
    if rejected.len() > LOGGED_MAX {
        let more = rejected.len() - LOGGED_MAX;
        tracing::warn!(type_url, more, "More resources of the same response rejected");
    }
    match rejected.last() {
        Some((name, fault)) => Rejection { name: name.clone(), reason: fault.to_string(), at_unix_s },
        None => {
            Rejection { name: type_url.to_owned(), reason: refused.unwrap_or_default().to_owned(), at_unix_s }
        }
    }
}
