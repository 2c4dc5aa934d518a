//! A peer that knows what it may do, and does so as long as nobody says otherwise.

use std::collections::BTreeMap;

use spurline_http::h2::Role;

use super::{
    Steps,
    judge::{Judge, Kind},
};

/// Header blocks without compression.
const REQUESTS: [&[u8]; 2] = [b"\x82\x86\x84\x41\x01a", b"\x83\x86\x84\x41\x01a"];
const RESPONSES: [&[u8]; 3] = [b"\x88", b"\x08\x03103", b"\x08\x03404"];
const TRAILERS: &[u8] = b"\x40\x01t\x01u";

/// What the peer sends on a stream next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Head,
    Body,
    Ended,
}

#[derive(Debug)]
pub struct Peer {
    /// Whose peer it is.
    role: Role,
    streams: BTreeMap<u32, Sending>,
    /// Streams that were reset by the other side, which the peer does not know yet.
    resets: Vec<u32>,
    next: u32,
    is_acknowledged: bool,
}

/// A frame of any kind with any payload.
pub fn any_frame(steps: &mut Steps<'_>) -> Vec<u8> {
    let (kind, flags, stream, length) = (steps.byte() % 11, steps.byte(), steps.byte() % 16, steps.byte());
    let payload: Vec<u8> = (0..length).map_while(|_| steps.next()).collect();
    write(kind, flags, stream.into(), &payload)
}

fn write(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

// === impl Peer ===

impl Peer {
    pub fn new(role: Role) -> Self {
        Self { role, streams: BTreeMap::new(), resets: Vec::new(), next: 1, is_acknowledged: false }
    }

    /// A stream was opened by the other side.
    pub fn opened(&mut self, id: u32) {
        self.streams.entry(id).or_insert(Sending::Head);
    }

    /// A stream was reset by the other side, which the peer will know some time.
    pub fn reset(&mut self, id: u32) {
        self.resets.push(id);
    }

    /// A frame of that kind, if it may be sent.
    pub fn frame(&mut self, kind: u8, judge: &Judge, steps: &mut Steps<'_>) -> Option<Vec<u8>> {
        match kind {
            1 if self.role == Role::Server && steps.byte() & 1 == 0 => {
                let id = self.next;
                self.next += 2;
                let (request, end) = (REQUESTS[usize::from(steps.byte() & 1)], steps.byte() & 1);
                self.streams.insert(id, if end == 1 { Sending::Ended } else { Sending::Body });
                Some(write(Kind::Headers as u8, 4 | end, id, request))
            }
            1 => self.head(steps),
            2 => self.data(judge, steps),
            3 => {
                const VALUES: [(u8, u32); 9] = [
                    (1, 0),
                    (1, 100),
                    (1, 65_536),
                    (3, 2),
                    (4, 0),
                    (4, 1000),
                    (4, 100_000),
                    (5, 16_384),
                    (5, 20_000),
                ];
                let (id, value) = VALUES[usize::from(steps.byte()) % VALUES.len()];
                let payload = [&[0, id], &value.to_be_bytes()[..]].concat();
                Some(write(Kind::Settings as u8, 0, 0, &payload))
            }
            4 => {
                let id = if steps.byte() & 1 == 0 { 0 } else { self.pick(steps)?.0 };
                let increment = steps.size().max(1) as u32;
                Some(write(Kind::WindowUpdate as u8, 0, id, &increment.to_be_bytes()))
            }
            5 => {
                let (id, _) = self.pick(steps)?;
                self.streams.remove(&id);
                Some(write(Kind::Reset as u8, 0, id, &[0, 0, 0, steps.byte()]))
            }
            _ => Some(self.control(steps)),
        }
    }

    fn pick(&self, steps: &mut Steps<'_>) -> Option<(u32, Sending)> {
        let pick = usize::from(steps.byte()) % self.streams.len().max(1);
        self.streams.iter().nth(pick).map(|(id, sending)| (*id, *sending))
    }

    /// A response, or trailers.
    fn head(&mut self, steps: &mut Steps<'_>) -> Option<Vec<u8>> {
        let (id, sending) = self.pick(steps)?;
        let (pick, end) = (usize::from(steps.byte()) % 3, steps.byte() & 1);
        let (block, end) = match sending {
            Sending::Head => (RESPONSES[pick], if pick == 1 { 0 } else { end }),
            Sending::Body => (TRAILERS, 1),
            Sending::Ended => return None,
        };
        if end == 1 {
            self.streams.insert(id, Sending::Ended);
        } else if pick != 1 {
            self.streams.insert(id, Sending::Body);
        }
        Some(write(Kind::Headers as u8, 4 | end, id, block))
    }

    /// Data as far as the windows let it be sent.
    fn data(&mut self, judge: &Judge, steps: &mut Steps<'_>) -> Option<Vec<u8>> {
        let (id, sending) = self.pick(steps)?;
        let (bytes, end) = (steps.size().min(16_384).min(judge.room(id)), steps.byte() & 1);
        if sending != Sending::Body || (bytes == 0 && end == 0) {
            return None;
        }
        if end == 1 {
            self.streams.insert(id, Sending::Ended);
        }
        Some(write(Kind::Data as u8, end, id, &vec![7; bytes]))
    }

    fn control(&mut self, steps: &mut Steps<'_>) -> Vec<u8> {
        let byte = steps.byte();
        match byte % 8 {
            0..2 if !self.is_acknowledged => {
                self.is_acknowledged = true;
                write(Kind::Settings as u8, 1, 0, &[])
            }
            2 => write(Kind::Ping as u8, 1, 0, b"graceful"),
            3 if byte > 0xf0 => write(Kind::GoAway as u8, 0, 0, &[0, 0, 0, steps.byte() % 16, 0, 0, 0, 0]),
            _ => write(Kind::Ping as u8, 0, 0, &[byte; 8]),
        }
    }
}
