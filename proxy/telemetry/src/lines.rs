//! A queue of lines to a file or a pipe that never makes its users wait.
//!
//! Traffic must not stop because a log pipe is blocked or a disk is full. So lines go to a thread of their own through
//! a queue that is bounded in bytes; a line that finds it full is dropped and counted, and so is one that cannot be
//! written. Lines keep their order. A line is never cut by this queue, but a failing disk may cut one.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use crate::{
    error::TelemetryError,
    metrics::{Counter, Shared},
};

/// Bytes that may wait in one queue.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one waiting line costs besides its text: the box, its place in the channel.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Lines written with one system call, at most about this many bytes.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// The sending side. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: Shared,
    dropped: Counter,
}

/// Owns the thread. Keep it until the last line is sent, then [`LinesGuard::flush`].
#[derive(Debug)]
#[must_use = "lines still in the queue are lost unless the guard is flushed"]
pub struct LinesGuard {
    queue: Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Line(Box<[u8]>),
    /// Everything sent before is written: say so and end.
    Stop(Sender<()>),
}

// === impl Lines ===

impl Lines {
    /// Starts the thread `name` that writes to `output`; lost lines are counted in `dropped`.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(
        name: &'static str,
        output: Box<dyn Write + Send>,
        metrics: Shared,
        dropped: Counter,
    ) -> Result<(Self, LinesGuard), TelemetryError> {
        let (queue, lines) = mpsc::channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let mut writer =
            Writer { output, waiting_bytes: Arc::clone(&waiting_bytes), metrics: metrics.clone(), dropped };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(lines))
            .map_err(|source| TelemetryError::Thread { name, source })?;
        let guard = LinesGuard { queue: queue.clone() };
        Ok((Self { queue, waiting_bytes, metrics, dropped }, guard))
    }

    /// Queues one line, which must end with a line feed. Never waits; a line that does not fit is dropped and counted.
    pub fn send(&self, line: &[u8]) {
        let cost = line.len() + LINE_OVERHEAD_BYTES;
        let waiting = self.waiting_bytes.fetch_add(cost, Relaxed);
        let sent = waiting + cost <= QUEUE_BYTES_MAX && self.queue.send(Message::Line(line.into())).is_ok();
        if !sent {
            self.waiting_bytes.fetch_sub(cost, Relaxed);
            self.metrics.inc(self.dropped);
        }
    }
}

// === impl LinesGuard ===

impl LinesGuard {
    /// Writes everything that was queued before this call and ends the thread. Returns false when that took longer
    /// than `deadline`, as it does when a pipe is blocked; the rest is then lost with the process.
    pub fn flush(self, deadline: Duration) -> bool {
        let (done, written) = mpsc::channel();
        self.queue.send(Message::Stop(done)).is_ok() && written.recv_timeout(deadline).is_ok()
    }
}

/// The thread's side.
struct Writer {
    output: Box<dyn Write + Send>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: Shared,
    dropped: Counter,
}

impl Writer {
    fn run(&mut self, lines: Receiver<Message>) {
        let mut batch = Vec::new();
        while let Ok(first) = lines.recv() {
            let mut count = 0;
            let mut next = Some(first);
            let mut stop = None;
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        batch.extend_from_slice(&line);
                        count += 1;
                    }
                    Message::Stop(done) => {
                        stop = Some(done);
                        break;
                    }
                }
                next = if batch.len() < BATCH_BYTES_MAX { lines.try_recv().ok() } else { None };
            }
            self.write(&batch, count);
            batch.clear();
            if let Some(done) = stop {
                // Whoever still sends is told from here on that nobody listens.
                let late = lines.try_iter().count();
                drop(lines);
                self.lost(late);
                // The guard may have stopped waiting.
                let _ = done.send(());
                return;
            }
        }
    }

    fn write(&mut self, batch: &[u8], lines: usize) {
        let written: io::Result<()> = self.output.write_all(batch).and_then(|()| self.output.flush());
        // Only now is there room again: a blocked pipe keeps its batch charged to the queue.
        self.waiting_bytes.fetch_sub(batch.len() + lines * LINE_OVERHEAD_BYTES, Relaxed);
        if written.is_err() {
            self.lost(lines);
        }
    }

    fn lost(&self, lines: usize) {
        self.metrics.add(self.dropped, u64::try_from(lines).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::metrics::Registry;

    /// Collects what is written; blocks while somebody holds the lock.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn flushed_lines_are_written_in_order() {
        let (registry, _) = Registry::new(0, "0");
        let sink = Sink::default();
        let (lines, guard) =
            Lines::start("t", Box::new(sink.clone()), registry.shared(), Counter::LogDropped).unwrap();
        for at in 0..1000 {
            lines.send(format!("{at}\n").as_bytes());
        }
        assert!(guard.flush(LONG));
        let expected: String = (0..1000).map(|at| format!("{at}\n")).collect();
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(registry.counter(Counter::LogDropped), 0);
    }

    #[test]
    fn a_blocked_output_drops_and_counts_and_never_blocks_the_sender() {
        let (registry, _) = Registry::new(0, "0");
        let sink = Sink::default();
        let (lines, guard) =
            Lines::start("t", Box::new(sink.clone()), registry.shared(), Counter::LogDropped).unwrap();
        let blocked = sink.0.lock().unwrap();
        let line = vec![b'x'; 1024];
        let sent = 2 * QUEUE_BYTES_MAX / line.len();
        for _ in 0..sent {
            lines.send(&line);
        }
        let dropped = registry.counter(Counter::LogDropped);
        drop(blocked);
        assert!(guard.flush(LONG));
        let written = sink.0.lock().unwrap().len() / line.len();
        assert!(dropped > 0);
        assert_eq!(written + usize::try_from(dropped).unwrap(), sent, "every line is written or counted");
    }

    #[test]
    fn a_flush_gives_up_on_a_blocked_output_at_its_deadline() {
        let (registry, _) = Registry::new(0, "0");
        let sink = Sink::default();
        let (lines, guard) =
            Lines::start("t", Box::new(sink.clone()), registry.shared(), Counter::LogDropped).unwrap();
        let _blocked = sink.0.lock().unwrap();
        lines.send(b"x\n");
        assert!(!guard.flush(Duration::from_millis(20)));
    }

    #[test]
    fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
        let (registry, _) = Registry::new(0, "0");
        let (lines, guard) =
            Lines::start("t", Box::new(FullDisk), registry.shared(), Counter::AccessLogDropped).unwrap();
        lines.send(b"x\n");
        lines.send(b"y\n");
        assert!(guard.flush(LONG));
        lines.send(b"after the end\n");
        assert_eq!(registry.counter(Counter::AccessLogDropped), 3);
    }
}
