//! What has arrived for the streams of a session and was not taken by them.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    task::{Context, Waker},
};

use foldhash::fast::RandomState;
use spurline_http::{Head, h2::StreamId};

use super::{Loss, Response};
use crate::buffer::Buffer;

/// What has arrived for one stream and was not taken by it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) interims: VecDeque<Response>,
    /// The final response.
    pub(super) response: Option<Response>,
    pub(super) data: Arrived,
    pub(super) trailers: Option<Head>,
    /// The peer has sent everything.
    pub(super) is_whole: bool,
    pub(super) loss: Option<Loss>,
    pub(super) waker: Option<Waker>,
}

/// Data, in the order in which it arrived and in as many buffers as it takes. All but the last are half full at least.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    first: Buffer,
    others: VecDeque<Buffer>,
}

/// The inboxes of a session. A stream knows the place of its own, where it stays until the stream goes; what arrives
/// finds it by the stream's number.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    inboxes: Vec<Inbox>,
    free: Vec<Place>,
    by_id: HashMap<StreamId, Place, RandomState>,
}

/// Where the inbox of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

// === impl Inboxes ===

impl Inboxes {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Makes an inbox for a stream, of which everything has arrived already or not.
    pub(super) fn insert(&mut self, id: StreamId, is_whole: bool) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.inboxes.push(Inbox::default());
            Place(self.inboxes.len() - 1)
        });
        if let Some(inbox) = self.at(place) {
            inbox.is_whole = is_whole;
        }
        self.by_id.insert(id, place);
        place
    }

    pub(super) fn at(&mut self, place: Place) -> Option<&mut Inbox> {
        self.inboxes.get_mut(place.0)
    }

    pub(super) fn of(&mut self, id: StreamId) -> Option<&mut Inbox> {
        let place = *self.by_id.get(&id)?;
        self.at(place)
    }

    /// Notes that streams are lost.
    pub(super) fn lose(&mut self, loss: Loss, is_lost: impl Fn(StreamId) -> bool) {
        for (_, place) in self.by_id.iter().filter(|(id, _)| is_lost(**id)) {
            if let Some(inbox) = self.inboxes.get_mut(place.0) {
                inbox.lose(loss);
            }
        }
    }

    /// Gives up the inbox of a stream that is gone. When none is left, the memory of all but one goes too.
    pub(super) fn remove(&mut self, id: StreamId, place: Place) {
        self.by_id.remove(&id);
        if let Some(inbox) = self.at(place) {
            *inbox = Inbox::default();
        }
        self.free.push(place);
        if self.by_id.is_empty() {
            self.inboxes.truncate(1);
            self.inboxes.shrink_to(1);
            self.free.clear();
            self.free.push(Place(0));
        }
    }
}

// === impl Arrived ===

impl Arrived {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Takes that part of `input` over, with what stands before it off its front. It stays where it was read if it is most
    /// of that and no buffer before it is left half empty; else it is copied.
    pub(super) fn receive(&mut self, input: &mut Buffer, range: Range<usize>) {
        let last = self.others.back().unwrap_or(&self.first);
        match last.is_mostly_data().then(|| input.split_most(&range)).flatten() {
            Some(most) if self.is_empty() => self.first = most,
            Some(most) => self.others.push_back(most),
            None => {
                self.append(input.data().get(range.clone()).unwrap_or_default());
                input.consume(range.end);
            }
        }
    }

    fn append(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let last = self.others.back_mut().unwrap_or(&mut self.first);
            let fitted = last.append(data);
            data = data.get(fitted..).unwrap_or_default();
            if !data.is_empty() {
                self.others.push_back(Buffer::default());
            }
        }
    }

    /// Takes what arrived first.
    pub(super) fn pop(&mut self) -> Buffer {
        let next = self.others.pop_front().unwrap_or_default();
        std::mem::replace(&mut self.first, next)
    }
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What has arrived before stays: a peer that has said everything may then say that it wants nothing more.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.loss.get_or_insert(loss);
        self.wake();
    }

    /// The task that is to be woken when something arrives or can be sent.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_out_as_it_arrived_and_small_pieces_share_buffers() {
        let (mut arrived, mut expected) = (Arrived::default(), Vec::new());
        for round in 0..100_u8 {
            let bytes = if round % 7 == 0 { 16_375 } else { 100 * usize::from(round) };
            let mut input = Buffer::default();
            input.writer().extend_from_slice(b"head");
            input.writer().resize(4 + bytes, round);
            input.writer().extend_from_slice(b"tail");
            arrived.receive(&mut input, 4..4 + bytes);
            assert_eq!(input.data(), b"tail");
            expected.resize(expected.len() + bytes, round);
        }
        assert!(arrived.others.len() <= 2 * expected.len() / (16 * 1024), "{}", arrived.others.len());
        let mut found = Vec::new();
        while !arrived.is_empty() {
            found.extend_from_slice(arrived.pop().data());
        }
        assert!(found == expected);
        assert!(arrived.others.is_empty());
    }
}
