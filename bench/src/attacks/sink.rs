//! The control of an attack: something that takes what the attackers send as the proxy took it, and does nothing with it. The
//! victim asks a proxy that nobody attacks meanwhile. What the victim loses then is lost to the attackers' own work on the
//! core that it shares with them, and is no doing of the proxy.
//!
//! A sink says nothing, not even SETTINGS: no attack but [`super::script::Reading::Awaited`] waits for any.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::attacker::Outcome;

const CHUNK_BYTES: usize = 64 * 1024;
/// The shortest pause between two looks at what may be read.
const TURN: Duration = Duration::from_millis(1);
/// A connection that takes nothing for so long is full.
const FULL_TIME: Duration = Duration::from_millis(50);

/// What becomes of each connection to a sink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Appetite {
    /// Read over its life, evenly. The kernel's buffers take more than that.
    pub(crate) bytes: u64,
    /// Then it is closed, a quarter sooner or later.
    pub(crate) life: Duration,
}

impl Appetite {
    /// Of the proxy that an attack of `time` from `connections` at once had this `outcome` with: as much on average, and as long.
    /// What a proxy that reads nothing would have been sent, too, stays unread.
    pub(super) fn of(outcome: &Outcome, connections: u32, time: Duration) -> Result<Self> {
        let opened = outcome.connections.max(1);
        let each = outcome.sent_bytes / opened;
        let life = time.mul_f64(f64::from(connections) / opened as f64);
        Ok(Self { bytes: each.saturating_sub(unread_bytes()?), life })
    }

    /// Tells it to a sink.
    pub(super) fn arguments(self, command: &mut Command) {
        command.args(["--bytes", &self.bytes.to_string()]);
        command.args(["--micros", &self.life.as_micros().to_string()]);
    }

    /// What may have been read after `time`.
    fn due(self, time: Duration) -> u64 {
        let share = time.as_secs_f64() / self.life.as_secs_f64().max(f64::EPSILON);
        (self.bytes as f64 * share.min(1.0)) as u64
    }
}

/// Serves until the process is killed: one thread for each connection.
pub(crate) fn run(listen: SocketAddr, appetite: Appetite) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    loop {
        let (stream, _) = listener.accept()?;
        let life = appetite.life.mul_f64(0.75 + fastrand::f64() / 2.0);
        std::thread::spawn(move || take(stream, Appetite { life, ..appetite }));
    }
}

fn take(mut stream: TcpStream, appetite: Appetite) {
    let begin = Instant::now();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut taken = 0;
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    while begin.elapsed() < appetite.life {
        let due = appetite.due(begin.elapsed()).saturating_sub(taken);
        let most = usize::try_from(due).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        match stream.read(chunk.get_mut(..most).unwrap_or_default()) {
            Ok(0) if most > 0 => return,
            Ok(count) if count > 0 => taken += count as u64,
            Ok(_) => std::thread::sleep(TURN),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TURN),
            Err(_) => return,
        }
    }
}

/// What a connection on this machine takes that nobody reads from.
fn unread_bytes() -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let _unread = listener.accept()?;
    stream.set_nonblocking(true)?;
    let chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut last) = (0, Instant::now());
    while last.elapsed() < FULL_TIME {
        match stream.write(&chunk) {
            Ok(count) => {
                bytes += count as u64;
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TURN),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_takes_what_the_proxy_took_on_average() {
        let unread = unread_bytes().unwrap();
        let outcome = Outcome { connections: 10, sent_bytes: 100 * unread, ..Outcome::default() };
        let appetite = Appetite::of(&outcome, 2, Duration::from_secs(5)).unwrap();
        assert_eq!(appetite.life, Duration::from_secs(1));
        // What the kernel takes by itself is not the same each time.
        assert!(appetite.bytes > 5 * unread && appetite.bytes < 10 * unread, "{appetite:?} of {unread}");
        assert_eq!(appetite.due(Duration::from_millis(500)), appetite.bytes / 2);
        assert_eq!(appetite.due(Duration::from_secs(9)), appetite.bytes);
    }

    #[test]
    fn a_proxy_that_reads_nothing_has_a_sink_that_reads_nothing() {
        let outcome = Outcome { connections: 50, sent_bytes: 50 * 1000, ..Outcome::default() };
        let appetite = Appetite::of(&outcome, 50, Duration::from_secs(5)).unwrap();
        assert_eq!((appetite.bytes, appetite.due(Duration::from_secs(9))), (0, 0));
    }
}
