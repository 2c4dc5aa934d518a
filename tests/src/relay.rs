//! A TCP relay that injects faults between the proxy and an upstream.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong. Counts are bytes of one direction of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections are refused: nobody listens.
    Refuse,
    /// Connections are accepted and reset.
    AcceptReset,
    /// Connections are accepted and closed in order, with nothing said.
    AcceptFinish,
    /// The upstream seems to reset after so many bytes of its answers.
    ResetAfter(usize),
    /// The upstream seems to finish after so many bytes of its answers.
    FinishAfter(usize),
    /// Nothing passes after so many bytes of answers; the connection stays open.
    StallAfter(usize),
    /// The upstream seems to reset after it was sent so many bytes.
    ResetRequestAfter(usize),
    /// Answers come in pieces of so many bytes.
    Slice(usize),
    /// Answers come with at most so many bytes per second.
    Bandwidth(usize),
    /// Connections are accepted; nothing passes either way.
    Blackhole,
}

struct Shared {
    target: SocketAddr,
    fault: Mutex<Fault>,
    accepted: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// A running relay. Dropping it closes its listener and its connections.
pub struct Relay {
    address: SocketAddr,
    listener: Mutex<Option<Arc<TcpListener>>>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Relay")
            .field("address", &self.address)
            .field("to", &self.shared.target)
            .finish()
    }
}

impl Relay {
    /// Starts a relay to `target` without a fault.
    pub fn start(target: SocketAddr) -> Self {
        let address = crate::free_address();
        let shared = Arc::new(Shared {
            target,
            fault: Mutex::new(Fault::None),
            accepted: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let relay = Self { address, listener: Mutex::new(None), shared };
        relay.listen();
        relay
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections came.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Changes the fault for new connections; those that are open are reset so that none is left without it.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("fault") = fault;
        if fault == Fault::Refuse {
            self.close();
        } else {
            self.listen();
        }
    }

    /// Resets every open connection.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().expect("streams").drain(..) {
            reset(&stream);
        }
    }

    fn listen(&self) {
        let mut slot = self.listener.lock().expect("listener");
        if slot.is_some() {
            return;
        }
        let listener = Arc::new(TcpListener::bind(self.address).expect("bind the relay"));
        *slot = Some(Arc::clone(&listener));
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || pass(&stream, &shared));
            }
        });
    }

    fn close(&self) {
        if let Some(listener) = self.listener.lock().expect("listener").take() {
            let _ = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both);
        }
        self.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass(downstream: &TcpStream, shared: &Arc<Shared>) {
    let fault = *shared.fault.lock().expect("fault");
    match fault {
        Fault::AcceptReset => return reset(downstream),
        Fault::AcceptFinish | Fault::Refuse => return finish(downstream),
        _ => {}
    }
    let _ = downstream.set_nodelay(true);
    let Ok(upstream) = TcpStream::connect(shared.target) else { return reset(downstream) };
    let _ = upstream.set_nodelay(true);
    {
        let mut streams = shared.streams.lock().expect("streams");
        streams.extend(downstream.try_clone());
        streams.extend(upstream.try_clone());
    }
    if fault == Fault::Blackhole {
        drain(downstream);
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| requests(downstream, &upstream, fault));
        answers(&upstream, downstream, fault);
    });
}

fn requests(mut from: &TcpStream, mut to: &TcpStream, fault: Fault) {
    let mut passed = 0;
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        passed += count;
        if matches!(fault, Fault::ResetRequestAfter(limit) if passed > limit) {
            reset(from);
            reset(to);
            return;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn answers(mut from: &TcpStream, to: &TcpStream, fault: Fault) {
    let mut passed = 0;
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let limit = match fault {
            Fault::ResetAfter(limit) | Fault::FinishAfter(limit) | Fault::StallAfter(limit) => limit,
            _ => usize::MAX,
        };
        let allowed = count.min(limit - passed.min(limit));
        if write(to, &buffer[..allowed], fault).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        passed += count;
        if passed >= limit {
            return end(from, to, fault);
        }
    }
    reset(to);
}

fn end(from: &TcpStream, to: &TcpStream, fault: Fault) {
    match fault {
        Fault::ResetAfter(_) => reset(to),
        Fault::FinishAfter(_) => {
            let _ = to.shutdown(Shutdown::Both);
        }
        _ => drain(to),
    }
    let _ = from.shutdown(Shutdown::Both);
}

fn write(mut to: &TcpStream, bytes: &[u8], fault: Fault) -> std::io::Result<()> {
    match fault {
        Fault::Slice(size) => {
            for piece in bytes.chunks(size.max(1)) {
                to.write_all(piece)?;
            }
            Ok(())
        }
        Fault::Bandwidth(rate) => {
            for piece in bytes.chunks((rate / 50).max(1)) {
                to.write_all(piece)?;
                // The fault itself, not a synchronisation.
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        _ => to.write_all(bytes),
    }
}

/// Ends our direction in order and reads the rest: closing with bytes unread would send a reset.
fn finish(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    drain(stream);
}

/// Reads and forgets until the peer ends the connection or the relay is cut.
fn drain(mut stream: &TcpStream) {
    let mut nothing = [0; 4096];
    while stream.read(&mut nothing).is_ok_and(|count| count > 0) {}
}

/// Ends both directions with a reset, although other handles to the socket exist.
fn reset(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
    // Disconnecting is what sends the reset while other threads hold the descriptor.
    let _ = rustix::net::connect_unspec(stream);
}
