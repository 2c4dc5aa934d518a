use std::collections::VecDeque;

use crate::h2::{StreamId, frame::PAYLOAD_BYTES_MAX};

/// What a stream may send when it is its turn.
pub(super) const QUANTUM_BYTES: usize = PAYLOAD_BYTES_MAX;

/// The streams that want to send and have to wait for room, in the order in which they are let to: each a quantum in
/// turn. Room is set aside for those that were told to send, so that none takes it before them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<StreamId>,
    granted: usize,
    /// How often the output was taken; turns end with that.
    round: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, id: StreamId) {
        self.waiting.push_back(id);
    }

    pub(super) fn pop(&mut self) -> Option<StreamId> {
        self.waiting.pop_front()
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    /// Bytes that are set aside.
    pub(super) fn granted_bytes(&self) -> usize {
        self.granted * QUANTUM_BYTES
    }

    /// Sets a quantum aside; returns the round in which that holds.
    pub(super) fn grant(&mut self) -> u64 {
        self.granted += 1;
        self.round
    }

    /// The quantum of that round is used, or not wanted any more.
    pub(super) fn release(&mut self, round: u64) {
        if round == self.round {
            self.granted = self.granted.saturating_sub(1);
        }
    }

    pub(super) fn next_round(&mut self) {
        self.granted = 0;
        self.round += 1;
    }
}
