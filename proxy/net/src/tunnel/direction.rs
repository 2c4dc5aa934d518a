//! One direction of a tunnel: read, write all of it, read again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Buffer, Transport};

/// Steps (a read or a write) a direction takes before the other one and the worker's other connections have their
/// turn: 256 KiB at most. Tokio's own budget would allow a megabyte, and would let one direction use up all of it.
const STEPS_MAX: usize = 16;

/// ```text
///        FIN read, FIN passed on
/// Open ──────────────────────────▶ Finished
///   ├──── read failed ───────────▶ SourceFailed
///   └──── write failed ──────────▶ TargetFailed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Finished,
    SourceFailed,
    TargetFailed,
}

/// What a turn did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Turn {
    /// Some byte was read or written.
    pub(super) moved: bool,
    /// The turn is over, but neither socket made it wait: poll again without waiting for an event.
    pub(super) has_more: bool,
}

#[derive(Debug)]
pub(super) struct Direction {
    state: State,
    written_bytes: u64,
    /// Read but not yet written. `None` is what makes an idle tunnel small.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    buffer: Buffer,
    start: usize,
    end: usize,
}

// === impl Direction ===

impl Direction {
    pub(super) fn new(first: Vec<u8>) -> Self {
        let end = first.len();
        let held = (end > 0).then(|| Held { buffer: Buffer::from(first), start: 0, end });
        Self { state: State::Open, written_bytes: 0, held }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Takes one turn. `reverse` is the state of the other direction.
    pub(super) fn advance(
        &mut self,
        source: &mut Transport,
        target: &mut Transport,
        reverse: State,
        cx: &mut Context<'_>,
    ) -> Turn {
        let mut turn = Turn::default();
        for _ in 0..STEPS_MAX {
            if self.state != State::Open {
                return turn;
            }
            let step = match self.held.take() {
                Some(held) => self.poll_write(held, target, cx),
                None if target.has_unsent() => self.poll_flush(target, cx),
                None => self.poll_read(source, target, reverse, cx),
            };
            if step.is_pending() {
                return turn;
            }
            turn.moved = true;
        }
        turn.has_more = self.state == State::Open;
        turn
    }

    fn poll_read(
        &mut self,
        source: &mut Transport,
        target: &mut Transport,
        reverse: State,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // Asks before it takes a buffer. An error shows in the read.
        let _error = ready!(source.poll_read_ready(cx));
        let mut buffer = Buffer::take();
        let mut unread = ReadBuf::new(&mut buffer);
        let outcome = ready!(Pin::new(source).poll_read(cx, &mut unread));
        let end = unread.filled().len();
        match outcome {
            Err(_) => self.state = State::SourceFailed,
            Ok(()) if end > 0 => self.held = Some(Held { buffer, start: 0, end }),
            // A write to this peer has taken its reset; the kernel then reports the end of the stream, but none was sent.
            Ok(()) if reverse == State::TargetFailed => self.state = State::SourceFailed,
            Ok(()) => return self.poll_shutdown(target, cx),
        }
        Poll::Ready(())
    }

    fn poll_shutdown(&mut self, target: &mut Transport, cx: &mut Context<'_>) -> Poll<()> {
        // In the clear this is one shutdown(2), which never waits.
        self.state = match ready!(Pin::new(target).poll_shutdown(cx)) {
            Ok(()) => State::Finished,
            Err(_) => State::TargetFailed,
        };
        Poll::Ready(())
    }

    fn poll_flush(&mut self, target: &mut Transport, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(Pin::new(target).poll_flush(cx)).is_err() {
            self.state = State::TargetFailed;
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, mut held: Held, target: &mut Transport, cx: &mut Context<'_>) -> Poll<()> {
        let unwritten = held.buffer.get(held.start..held.end).unwrap_or_default();
        match Pin::new(target).poll_write(cx, unwritten) {
            Poll::Pending => {
                self.held = Some(held);
                return Poll::Pending;
            }
            Poll::Ready(Ok(written @ 1..)) => {
                self.written_bytes += written as u64;
                held.start += written;
                if held.start < held.end {
                    self.held = Some(held);
                }
            }
            // Zero for a non-empty write does not happen on a socket; going on would spin.
            Poll::Ready(Ok(0) | Err(_)) => self.state = State::TargetFailed,
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, accepted) = tokio::join!(connecting, listener.accept());
        (ours.unwrap(), accepted.unwrap().0)
    }

    /// Takes turns until `done`, as the tunnel does.
    async fn advance_until(
        direction: &mut Direction,
        (source, target): (&mut Transport, &mut Transport),
        done: impl Fn(&Direction) -> bool,
    ) {
        let turns = poll_fn(|cx| {
            let turn = direction.advance(source, target, State::Open, cx);
            if done(direction) {
                return Poll::Ready(());
            }
            if turn.has_more {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        timeout(Duration::from_secs(10), turns).await.expect("in time");
    }

    #[tokio::test]
    async fn a_buffer_is_held_only_while_bytes_are_on_their_way() {
        let (source, mut writer) = pair().await;
        let (target, mut reader) = pair().await;
        let (mut source, mut target) = (Transport::from(source), Transport::from(target));
        let mut direction = Direction::new(b"first".to_vec());
        assert!(direction.held.is_some());
        writer.write_all(b"second").await.unwrap();
        advance_until(&mut direction, (&mut source, &mut target), |d| d.written_bytes() == 11).await;
        let mut seen = [0; 11];
        reader.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"firstsecond");
        assert!(direction.held.is_none(), "an idle direction holds a buffer");
        assert_eq!(direction.state(), State::Open);
    }
}
