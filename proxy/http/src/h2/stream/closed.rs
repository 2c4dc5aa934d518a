use std::collections::VecDeque;

use super::StreamId;

/// How a stream that is gone was closed, which is what frames that still arrive on it are judged by (RFC 9113 section
/// 5.1, "closed").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h2) enum Closing {
    /// Both sides ended it.
    Ended,
    /// The peer reset it, and so knows that it may send no more.
    ResetByPeer,
    /// We reset or refused it, so its frames may have been under way: they are ignored.
    ResetByUs,
}

/// The last streams of a connection that are gone. What is remembered is bounded; of the rest only the highest number is
/// known, and so the more lenient of what it may have been is assumed.
#[derive(Debug, Default)]
pub(in crate::h2) struct Closed {
    ended: VecDeque<(StreamId, Closing)>,
    reset: VecDeque<StreamId>,
    /// The highest that has been forgotten of each.
    ended_forgotten: Option<StreamId>,
    reset_forgotten: Option<StreamId>,
}

const ENDED_MAX: usize = 16;
const RESET_MAX: usize = 64;

impl Closed {
    pub(in crate::h2) fn remember(&mut self, id: StreamId, closing: Closing) {
        if closing == Closing::ResetByUs {
            if self.reset.len() == RESET_MAX {
                self.reset_forgotten = self.reset_forgotten.max(self.reset.pop_front());
            }
            self.reset.push_back(id);
            return;
        }
        if self.ended.len() == ENDED_MAX {
            self.ended_forgotten = self.ended_forgotten.max(self.ended.pop_front().map(|(id, _)| id));
        }
        self.ended.push_back((id, closing));
    }

    /// How a stream was closed that is not open; `None`: it never was.
    pub(in crate::h2) fn closing(&self, id: StreamId) -> Option<Closing> {
        if self.reset.contains(&id) {
            return Some(Closing::ResetByUs);
        }
        if let Some((_, closing)) = self.ended.iter().find(|(ended, _)| *ended == id) {
            return Some(*closing);
        }
        if self.reset_forgotten.is_some_and(|highest| id <= highest) {
            return Some(Closing::ResetByUs);
        }
        self.ended_forgotten.is_some_and(|highest| id <= highest).then_some(Closing::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_never_was_is_told_from_one_that_ended() {
        let mut closed = Closed::default();
        closed.remember(StreamId(5), Closing::Ended);
        assert_eq!(closed.closing(StreamId(5)), Some(Closing::Ended));
        assert_eq!(closed.closing(StreamId(3)), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_judged_leniently() {
        let mut closed = Closed::default();
        for id in 0..100_000 {
            let closing = if id % 2 == 0 { Closing::ResetByPeer } else { Closing::Ended };
            closed.remember(StreamId(id), closing);
        }
        assert_eq!(closed.ended.len(), ENDED_MAX);
        assert_eq!(closed.closing(StreamId(0)), Some(Closing::Ended));
        assert_eq!(closed.closing(StreamId(99_998)), Some(Closing::ResetByPeer));
        for id in 100_000..200_000 {
            closed.remember(StreamId(id), Closing::ResetByUs);
        }
        assert_eq!(closed.reset.len(), RESET_MAX);
        assert_eq!(closed.closing(StreamId(0)), Some(Closing::ResetByUs));
        assert_eq!(closed.closing(StreamId(200_000)), None);
    }
}
