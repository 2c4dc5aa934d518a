//! Two connections joined byte for byte.
//!
//! For opaque protocols and upgraded connections. Looks at no byte, delays none, and holds a buffer only while
//! bytes are on their way: an idle tunnel is two sockets and a timer.

mod direction;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use self::direction::{Direction, State};
use crate::Transport;

/// One of the two peers of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The peer that connected to us.
    Downstream,
    /// The peer we connected to.
    Upstream,
}

/// What a tunnel starts with.
#[derive(Debug, Default)]
pub struct TunnelOptions {
    /// End the tunnel when no byte has moved in either direction for this long; `None` waits for ever.
    pub idle_timeout: Option<Duration>,
    /// Bytes already read from downstream, to be written to upstream first.
    pub from_downstream: Vec<u8>,
    /// Bytes already read from upstream, to be written to downstream first.
    pub from_upstream: Vec<u8>,
}

/// Bytes handed to the kernel in each direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TunnelTraffic {
    /// From downstream to upstream.
    pub to_upstream_bytes: u64,
    /// From upstream to downstream.
    pub to_downstream_bytes: u64,
}

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelCause {
    /// Both peers ended their stream and both ends were passed on.
    Finished,
    /// Nothing moved for the idle timeout.
    Idle,
    /// This peer's connection failed or was reset.
    Reset(Side),
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Why.
    pub cause: TunnelCause,
    /// What it moved.
    pub traffic: TunnelTraffic,
}

/// Copies bytes both ways until both peers have ended, one has failed, or nothing moves any more.
///
/// Each direction ends by itself: a peer's end (see [`Transport`]) is passed on once all before it is written, and the other
/// direction goes on. When one peer fails, what it sent before is still delivered. The tunnel has to be dropped to
/// close the sockets; a peer that has not been sent a FIN by then gets a reset, so that a stream cut by a failure, the
/// idle timeout or the drop of an unfinished tunnel is never taken for a whole one.
///
/// A reset that arrives after its sender's own FIN is noticed at the next write to that peer, at the latest by the idle
/// timeout. TCP urgent data is not forwarded as such.
#[derive(Debug)]
pub struct Tunnel {
    downstream: Transport,
    upstream: Transport,
    to_upstream: Direction,
    to_downstream: Direction,
    idle: Option<Idle>,
}

/// A timer that is not touched when bytes move: it looks at the time of the last move when it fires.
#[derive(Debug)]
struct Idle {
    timeout: Duration,
    moved_at: Instant,
    // Boxed: the timer's entry has to stay in place, the tunnel may move.
    sleep: Pin<Box<Sleep>>,
}

// === impl Tunnel ===

impl Tunnel {
    /// Joins `downstream` and `upstream`. Nothing moves until the tunnel is polled.
    pub fn new(
        downstream: impl Into<Transport>,
        upstream: impl Into<Transport>,
        options: TunnelOptions,
    ) -> Self {
        let TunnelOptions { idle_timeout, from_downstream, from_upstream } = options;
        Self {
            downstream: downstream.into(),
            upstream: upstream.into(),
            to_upstream: Direction::new(from_downstream),
            to_downstream: Direction::new(from_upstream),
            idle: idle_timeout.and_then(Idle::new),
        }
    }

    /// What it has moved so far; for those who drop it before its end.
    pub fn traffic(&self) -> TunnelTraffic {
        TunnelTraffic {
            to_upstream_bytes: self.to_upstream.written_bytes(),
            to_downstream_bytes: self.to_downstream.written_bytes(),
        }
    }

    /// The end, if it has come: a table over the states of the two directions.
    fn cause(&self) -> Option<TunnelCause> {
        use State::{Finished, Open, SourceFailed, TargetFailed};
        match (self.to_upstream.state(), self.to_downstream.state()) {
            (Finished, Finished) => Some(TunnelCause::Finished),
            (SourceFailed, _) => Some(TunnelCause::Reset(Side::Downstream)),
            (_, SourceFailed) => Some(TunnelCause::Reset(Side::Upstream)),
            // One peer takes no more, but what it sent before may still be on its way: the open direction goes on.
            (Open, _) | (_, Open) => None,
            (TargetFailed, _) => Some(TunnelCause::Reset(Side::Upstream)),
            (_, TargetFailed) => Some(TunnelCause::Reset(Side::Downstream)),
        }
    }
}

impl Future for Tunnel {
    type Output = TunnelEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let Self { downstream, upstream, to_upstream, to_downstream, idle } = &mut *self;
        let up = to_upstream.advance(downstream, upstream, to_downstream.state(), cx);
        let down = to_downstream.advance(upstream, downstream, to_upstream.state(), cx);
        if let Some(idle) = idle
            && (up.moved || down.moved)
        {
            idle.moved_at = Instant::now();
        }
        let is_idle = idle.as_mut().is_some_and(|idle| idle.poll_expired(cx).is_ready());
        let cause = self.cause().or_else(|| is_idle.then_some(TunnelCause::Idle));
        if let Some(cause) = cause {
            return Poll::Ready(TunnelEnd { cause, traffic: self.traffic() });
        }
        if up.has_more || down.has_more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // A socket that refuses is closed already.
        if self.to_upstream.state() != State::Finished {
            let _closed = self.upstream.set_linger_reset();
        }
        if self.to_downstream.state() != State::Finished {
            let _closed = self.downstream.set_linger_reset();
        }
    }
}

// === impl Idle ===

impl Idle {
    /// `None` when the timeout lies beyond what the clock can tell.
    fn new(timeout: Duration) -> Option<Self> {
        let moved_at = Instant::now();
        let sleep = Box::pin(sleep_until(moved_at.checked_add(timeout)?));
        Some(Self { timeout, moved_at, sleep })
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let Some(until) = self.moved_at.checked_add(self.timeout) else { return Poll::Pending };
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(until);
        }
    }
}
