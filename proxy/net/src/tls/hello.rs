//! The ClientHello: read as it arrives, without an answer and without using it up.

use std::fmt;

use rustls::{
    CipherSuite,
    server::{Accepted, Acceptor},
};

use super::{alert::UNRECOGNIZED_NAME, is_chacha20};

/// The longest ClientHello that is waited for, records and all. Real ones have some hundred bytes, with post-quantum key
/// shares two thousand.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// What a connection has sent so far, read as a ClientHello.
#[derive(Default)]
pub struct Hello {
    acceptor: Acceptor,
    fed: usize,
}

/// A ClientHello that has arrived whole.
pub struct Heard {
    pub(super) accepted: Accepted,
}

/// What was sent is no ClientHello, or one that is too long.
#[derive(Debug)]
pub struct Unreadable {
    /// The alert that says so, to be sent as it is; empty where there is nothing to say, as to an alert.
    pub alert: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

// === impl Hello ===

impl Hello {
    /// Takes in what is new in `received`, all that the connection has sent. `None`: more is needed.
    ///
    /// # Errors
    /// When it will not become a ClientHello of at most [`HELLO_BYTES_MAX`].
    pub fn read(&mut self, received: &[u8]) -> Result<Option<Heard>, Unreadable> {
        let mut unread = received.get(self.fed..).unwrap_or_default();
        self.fed = received.len();
        // All of it goes in before a hello is looked for: what has arrived behind one belongs to its handshake.
        while !unread.is_empty() {
            if let Err(error) = self.acceptor.read_tls(&mut unread) {
                return Err(Unreadable::new(&error));
            }
        }
        match self.acceptor.accept() {
            Ok(Some(accepted)) => Ok(Some(Heard { accepted })),
            Ok(None) if received.len() >= HELLO_BYTES_MAX => Err(Unreadable::too_long()),
            Ok(None) => Ok(None),
            Err((error, mut alert)) => {
                let mut unreadable = Unreadable::new(&error);
                unreadable.alert.clear();
                // Writing to a vector does not fail.
                let _written = alert.write_all(&mut unreadable.alert);
                Err(unreadable)
            }
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello").field("fed", &self.fed).finish_non_exhaustive()
    }
}

// === impl Heard ===

impl Heard {
    /// The name that the client asks for, in lower case. Addresses are none (RFC 6066 section 3).
    pub fn server_name(&self) -> Option<String> {
        self.accepted.client_hello().server_name().map(str::to_ascii_lowercase)
    }

    /// Whether the client has no AES in hardware, by what it names first.
    pub(super) fn prefers_chacha20(&self) -> bool {
        let hello = self.accepted.client_hello();
        let mut named =
            hello.cipher_suites().iter().filter(|suite| !matches!(suite, CipherSuite::Unknown(_)));
        named.next().is_some_and(|first| is_chacha20(*first))
    }

    /// The alert for a name that is not served.
    pub fn unrecognized_name() -> &'static [u8] {
        &UNRECOGNIZED_NAME
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("server_name", &self.server_name()).finish_non_exhaustive()
    }
}

// === impl Unreadable ===

impl Unreadable {
    /// More was sent than a ClientHello may be long.
    pub fn too_long() -> Self {
        Self::new(&"ClientHello too long")
    }

    fn new(reason: &impl ToString) -> Self {
        // decode_error, fatal.
        Self { alert: vec![21, 3, 3, 0, 2, 2, 50], reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_arrives_in_whatever_pieces_is_read_refused_or_waited_for(
            records in prop::collection::vec((20_u8..25, prop::collection::vec(any::<u8>(), 0..80)), 0..6),
            cuts in prop::collection::vec(0..600_usize, 0..8),
        ) {
            let mut bytes = Vec::new();
            for (kind, fragment) in records {
                let [high, low] = u16::try_from(fragment.len()).unwrap().to_be_bytes();
                bytes.extend([kind, 3, 1, high, low]);
                bytes.extend(fragment);
            }
            let mut ends: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
            ends.sort_unstable();
            let mut hello = Hello::default();
            for end in ends {
                match hello.read(&bytes[..end]) {
                    Ok(None) => {}
                    Ok(Some(heard)) => {
                        let _name = heard.server_name();
                        break;
                    }
                    Err(unreadable) => {
                        prop_assert!(unreadable.alert.first().is_none_or(|kind| *kind == 21));
                        break;
                    }
                }
            }
        }
    }
}
