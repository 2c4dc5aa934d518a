//! TLS that ends here: the ClientHello, the choice between ending and passing on, and the handshake.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use spurline_config::Unmatched;
use spurline_net::{
    Detection, Transport, detect,
    tls::{HandshakeFailure, HandshakeFault, Heard, Hello, Unreadable},
};
use spurline_telemetry::metrics::{Counter, Handshake, Reason};

use crate::{
    binding::{Binding, Termination},
    connection::Connection,
    deadline::{Deadline, Signal},
    http,
    reply::Reply,
    worker::Worker,
};

/// What becomes of a connection that may be TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminated {
    /// Inside of TLS it goes on.
    Open,
    /// It is to be passed on as it came.
    Passed,
    Ended,
}

/// What the first bytes turned out to be.
enum Greeting {
    Hello(Box<Heard>),
    Unreadable(Unreadable),
    /// HTTP in the clear.
    Http,
    /// Neither.
    Other,
    Timeout,
    Closed,
}

/// Ends TLS, if the client speaks it and asks for a name that there is a certificate for.
pub(crate) async fn terminate(worker: &Rc<Worker>, connection: &mut Connection) -> Terminated {
    let binding = Arc::clone(&connection.origin.binding);
    let Binding { termination: Some(termination), .. } = &*binding else { return Terminated::Passed };
    if !connection.terminates() {
        return Terminated::Passed;
    }
    connection.deadline.set(worker.now(), Some(worker.params().timeouts.tls_handshake));
    let mut hello = Hello::default();
    let greeting = poll_fn(|cx| poll_greeting(connection, &mut hello, cx)).await;
    let result = match greeting {
        Greeting::Hello(heard) => return answer(worker, connection, termination, *heard).await,
        Greeting::Unreadable(unreadable) => {
            tracing::debug!(peer = %connection.origin.peer, reason = unreadable.reason, "ClientHello unreadable");
            if termination.unmatched == Unmatched::Pass {
                worker.shard().inc(Counter::TlsHandshakes(Handshake::Passed));
                return Terminated::Passed;
            }
            refuse(worker, connection, &unreadable.alert).await;
            Handshake::Malformed
        }
        Greeting::Http => {
            let reply = Reply::new(400, Reason::TlsRequired);
            http::refuse(worker, connection, worker.now(), reply).await;
            Handshake::NotTls
        }
        Greeting::Other => Handshake::NotTls,
        Greeting::Timeout => Handshake::Timeout,
        Greeting::Closed => Handshake::Closed,
    };
    worker.shard().inc(Counter::TlsHandshakes(result));
    Terminated::Ended
}

fn poll_greeting(connection: &mut Connection, hello: &mut Hello, cx: &mut Context<'_>) -> Poll<Greeting> {
    loop {
        let received = connection.link.input.data();
        match detect(received) {
            Detection::NeedMore => {}
            Detection::Http1 => return Poll::Ready(Greeting::Http),
            Detection::Http2 | Detection::Opaque => return Poll::Ready(Greeting::Other),
            Detection::Tls => match hello.read(received) {
                Ok(Some(heard)) => return Poll::Ready(Greeting::Hello(Box::new(heard))),
                Ok(None) => {}
                Err(unreadable) => return Poll::Ready(Greeting::Unreadable(unreadable)),
            },
        }
        if connection.link.input.is_full() {
            return Poll::Ready(Greeting::Unreadable(Unreadable::too_long()));
        }
        match connection.deadline.poll_signal(cx) {
            Some(Signal::Expired) => return Poll::Ready(Greeting::Timeout),
            Some(Signal::Evicted) => return Poll::Ready(Greeting::Closed),
            Some(Signal::Changed) => continue,
            None => {}
        }
        match ready!(connection.poll_fill(cx)) {
            Ok(0) | Err(_) => return Poll::Ready(Greeting::Closed),
            Ok(_) => {}
        }
    }
}

/// Ends TLS for a name that is covered.
async fn answer(
    worker: &Worker,
    connection: &mut Connection,
    termination: &Termination,
    heard: Heard,
) -> Terminated {
    let count = |result| worker.shard().inc(Counter::TlsHandshakes(result));
    let offer = termination.tls.offer();
    let name = heard.server_name();
    if !offer.covers(name.as_deref()) {
        if termination.unmatched == Unmatched::Pass {
            count(Handshake::Passed);
            return Terminated::Passed;
        }
        tracing::debug!(peer = %connection.origin.peer, ?name, "No certificate for this name");
        count(Handshake::UnrecognizedName);
        refuse(worker, connection, Heard::unrecognized_name()).await;
        return Terminated::Ended;
    }
    let Some(stream) = connection.take_plain() else { return Terminated::Ended };
    let deadline = &connection.deadline;
    let mut handshake = pin!(offer.accept(heard, stream, termination.speech));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        poll_expired(deadline, cx).map(|()| None)
    })
    .await;
    match done {
        Some(Ok(stream)) => {
            let resumed = stream.session().is_some_and(|session| session.resumed);
            count(if resumed { Handshake::Resumed } else { Handshake::Full });
            connection.secured(stream);
            Terminated::Open
        }
        Some(Err(HandshakeFailure { error, stream })) => {
            tracing::debug!(peer = %connection.origin.peer, ?name, %error, "TLS handshake failed");
            count(match error.fault {
                HandshakeFault::Certificate => Handshake::Certificate,
                HandshakeFault::Closed => Handshake::Closed,
                HandshakeFault::Incompatible => Handshake::Incompatible,
                HandshakeFault::Protocol => Handshake::Malformed,
                HandshakeFault::Refused => Handshake::Refused,
            });
            // The client has been told why; what it has sent since must not reset the connection before it reads that.
            connection.secured(Transport::Plain(stream));
            connection.linger(worker).await;
            Terminated::Ended
        }
        None => {
            count(Handshake::Timeout);
            Terminated::Ended
        }
    }
}

fn poll_expired(deadline: &Deadline, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match deadline.poll_signal(cx) {
            Some(Signal::Expired | Signal::Evicted) => return Poll::Ready(()),
            Some(Signal::Changed) => {}
            None => return Poll::Pending,
        }
    }
}

/// Sends an alert in the clear, and ends.
async fn refuse(worker: &Worker, connection: &mut Connection, alert: &[u8]) {
    connection.link.input.clear();
    connection.link.output.writer().extend_from_slice(alert);
    if connection.flush(worker).await {
        connection.linger(worker).await;
    }
}
