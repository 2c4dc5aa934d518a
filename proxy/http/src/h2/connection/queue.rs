use std::collections::VecDeque;

use crate::h2::{
    StreamId,
    frame::{HEADER_BYTES, PAYLOAD_BYTES_MAX},
};

/// What a stream may send when it is its turn: one frame.
pub(super) const QUANTUM_BYTES: usize = PAYLOAD_BYTES_MAX;
/// What that takes in the output.
pub(super) const QUANTUM_OUTPUT_BYTES: usize = HEADER_BYTES + QUANTUM_BYTES;

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

    /// How many were told to send and have not.
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// Sets a quantum aside; returns the round in which that holds.
    pub(super) fn grant(&mut self) -> u64 {
        self.granted += 1;
        self.round
    }

    /// Whether the quantum of that round still is set aside.
    pub(super) fn holds(&self, round: u64) -> bool {
        round == self.round && self.granted > 0
    }

    /// The quantum of that round is used, or not wanted any more.
    pub(super) fn release(&mut self, round: u64) {
        self.granted -= usize::from(self.holds(round));
    }

    pub(super) fn next_round(&mut self) {
        self.granted = 0;
        self.round += 1;
    }
}
