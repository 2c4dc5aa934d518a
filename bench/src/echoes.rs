//! Numbered messages that come back: through a WebSocket, through bytes that nobody reads, in a gRPC call that stays open.
//! Each that comes back is compared with what was sent.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::closed_loop::{BUSY, Cost, Meter};
use crate::scenario::{Better, Metric};
use crate::work::Tuning;

/// The figures of small messages.
pub(crate) const SMALL_METRICS: &[Metric] = &[PER_MESSAGE, PER_SECOND, BUSY];
/// The figures of large ones.
pub(crate) const LARGE_METRICS: &[Metric] = &[PER_GIBIBYTE, PER_MESSAGE, PER_SECOND, BUSY];

const PER_MESSAGE: Metric = Metric {
    name: "cpu_micros_per_message",
    title: "CPU per message and its echo",
    unit: "µs",
    better: Better::Lower,
};
const PER_GIBIBYTE: Metric = Metric {
    name: "cpu_millis_per_gibibyte",
    title: "CPU per GiB, both directions counted",
    unit: "ms",
    better: Better::Lower,
};
const PER_SECOND: Metric =
    Metric { name: "messages_per_second", title: "echoes", unit: "1/s", better: Better::Neither };

/// What is sent at once, and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Tunnels or calls at once.
    pub(crate) count: u32,
    pub(crate) message_bytes: usize,
    /// Messages in each at once.
    pub(crate) under_way: u64,
}

impl Shape {
    /// One small message at a time in each of many.
    pub(crate) const SMALL: Self = Self { count: 64, message_bytes: 64, under_way: 1 };
    /// As much as fits into 64 KiB, in each of a few.
    pub(crate) const LARGE: Self = Self { count: 16, message_bytes: 16 * 1024, under_way: 4 };
    /// As many in calls of gRPC: with their prefixes four of them fit into the 65,535 bytes that a window has where nobody
    /// says otherwise (RFC 9113, section 6.9.2), so that a peer may keep to it.
    pub(crate) const LARGE_IN_CALLS: Self = Self { message_bytes: 16_000, ..Self::LARGE };

    /// The values of [`SMALL_METRICS`] or, with [`Shape::LARGE`] and its kind, of [`LARGE_METRICS`].
    pub(crate) fn figures(self, cost: Cost) -> Vec<f64> {
        let each = [cost.micros(), cost.per_second(), cost.busy_percent()];
        if self.is_large() {
            [cost.millis_per_gibibyte(2 * self.message_bytes)].into_iter().chain(each).collect()
        } else {
            each.to_vec()
        }
    }

    /// For what peers are set up.
    pub(crate) fn tuning(self) -> Tuning {
        if self.is_large() { Tuning::Bytes } else { Tuning::Requests }
    }

    /// Whether the bytes are the work, not the messages.
    fn is_large(self) -> bool {
        self.message_bytes > Self::SMALL.message_bytes
    }
}

/// One tunnel or call, to a backend that sends everything back.
pub(crate) trait Duplex {
    async fn send(&mut self, message: Bytes) -> Result<()>;

    /// The next message, of `bytes`.
    async fn receive(&mut self, bytes: usize) -> Result<Bytes>;
}

/// Sends messages as long as the meter goes on, and counts each that comes back as it was.
pub(crate) async fn run(duplex: &mut impl Duplex, shape: Shape, meter: &Arc<Meter>) -> Result<()> {
    for number in 0..shape.under_way {
        duplex.send(message(number, shape.message_bytes)).await?;
    }
    for number in 0.. {
        expect(duplex, number, shape.message_bytes).await?;
        meter.count();
        if !meter.goes_on() {
            break;
        }
        duplex.send(message(number + shape.under_way, shape.message_bytes)).await?;
    }
    Ok(())
}

/// Sends one message and has it back.
pub(crate) async fn once(duplex: &mut impl Duplex) -> Result<()> {
    duplex.send(message(0, Shape::SMALL.message_bytes)).await?;
    expect(duplex, 0, Shape::SMALL.message_bytes).await
}

async fn expect(duplex: &mut impl Duplex, number: u64, bytes: usize) -> Result<()> {
    let received = duplex.receive(bytes).await?;
    ensure!(received == message(number, bytes), "message {number} came back changed");
    Ok(())
}

/// Message `number`: no two have the same bytes.
fn message(number: u64, bytes: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes.max(8));
    message.put_u64(number);
    message.put_bytes(b'm', bytes.saturating_sub(8));
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends back what was sent, and from message 3 on that of before.
    #[derive(Default)]
    struct Stale(Vec<Bytes>);

    impl Duplex for Stale {
        async fn send(&mut self, message: Bytes) -> Result<()> {
            self.0.push(message);
            Ok(())
        }

        async fn receive(&mut self, _bytes: usize) -> Result<Bytes> {
            Ok(self.0.get(self.0.len().min(4) - 1).cloned().unwrap_or_default())
        }
    }

    #[tokio::test]
    async fn a_message_that_is_not_the_one_that_was_sent_fails_the_run() {
        let (mut duplex, meter) = (Stale::default(), Arc::default());
        let ended = run(&mut duplex, Shape::SMALL, &meter).await;
        assert_eq!(ended.unwrap_err().to_string(), "message 4 came back changed");
    }

    #[test]
    fn messages_are_told_apart_by_their_bytes() {
        assert_eq!((message(1, 64).len(), message(1, 64) == message(2, 64)), (64, false));
    }
}
