//! What the tables of heads share: a row, and what it means to hold it.

use spurline_http::{Error, Framing};

/// A head as it is sent on, how its body is framed, and how many of the received bytes it took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) head: String,
    pub(crate) framing: Framing,
    pub(crate) consumed: usize,
}

/// Bytes that arrive, and what becomes of them.
#[derive(Debug)]
pub(crate) struct Row {
    id: String,
    bytes: Vec<u8>,
    outcome: Result<Sent, Error>,
}

/// A row that is sent on like this. Nothing of the bytes is left.
pub(crate) fn sent(id: &str, bytes: impl AsRef<[u8]>, framing: Framing, head: impl AsRef<[u8]>) -> Row {
    sent_before(id, (bytes, ""), framing, head)
}

/// A row of which the second part is left for whatever comes after the head.
pub(crate) fn sent_before(
    id: &str,
    (bytes, rest): (impl AsRef<[u8]>, &str),
    framing: Framing,
    head: impl AsRef<[u8]>,
) -> Row {
    let consumed = bytes.as_ref().len();
    let sent = Sent { head: head.as_ref().escape_ascii().to_string(), framing, consumed };
    Row { id: id.to_owned(), bytes: [bytes.as_ref(), rest.as_bytes()].concat(), outcome: Ok(sent) }
}

/// A row that is refused.
pub(crate) fn refused(id: &str, bytes: impl AsRef<[u8]>, error: Error) -> Row {
    Row { id: id.to_owned(), bytes: bytes.as_ref().to_vec(), outcome: Err(error) }
}

/// Reads each row whole and as far as every split of it: the outcome is never another than the row's, and comes at
/// the latest with the last byte. Of long rows a thousand splits are tried.
#[track_caller]
pub(crate) fn hold(rows: &[Row], read: impl Fn(&[u8]) -> Result<Option<Sent>, Error>) {
    for Row { id, bytes, outcome } in rows {
        let shown = bytes.get(..200).unwrap_or(bytes).escape_ascii();
        for end in (0..bytes.len()).step_by(bytes.len() / 1000 + 1).chain([bytes.len()]) {
            match read(bytes.get(..end).unwrap_or(bytes)) {
                Ok(None) => assert!(end < bytes.len(), "{id}: undecided: {shown}"),
                Ok(Some(sent)) => assert_eq!(Ok(&sent), outcome.as_ref(), "{id} at {end}: {shown}"),
                Err(error) => assert_eq!(Some(&error), outcome.as_ref().err(), "{id} at {end}: {shown}"),
            }
        }
    }
}
