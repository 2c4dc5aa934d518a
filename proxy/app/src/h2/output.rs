//! What is on its way to the socket of a session.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    iter,
    pin::Pin,
    task::{Context, Poll},
};

use spurline_net::Transport;
use tokio::io::AsyncWrite as _;

use super::session::State;
use crate::buffer::Buffer;

/// Bytes, and between them data that is written from where it was read.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Buffer,
    /// Bytes that have been written, apart from data.
    written: usize,
    apart: VecDeque<Apart>,
}

/// Data that is to be written behind so many bytes.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) at: usize,
    pub(super) data: Buffer,
}

/// What one system call takes: the data of a round and the bytes around it.
const SLICES_MAX: usize = 18;

// === impl Output ===

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.apart.is_empty()
    }

    /// Takes everything that a session has to send. To be called only while this is empty.
    pub(super) fn take(&mut self, state: &mut State) {
        state.connection.swap_output(self.bytes.writer());
        std::mem::swap(&mut self.apart, &mut state.apart);
        self.written = 0;
    }

    /// Puts something behind the rest.
    pub(super) fn append(&mut self, mut other: Self) {
        let end = self.written + self.bytes.len();
        self.bytes.writer().extend_from_slice(other.bytes.data());
        self.apart.extend(other.apart.drain(..).map(|Apart { at, data }| Apart { at: end + at, data }));
    }

    pub(super) fn into_buffer(self) -> Buffer {
        if self.apart.is_empty() {
            return self.bytes;
        }
        let mut whole = Buffer::default();
        self.pieces().for_each(|piece| whole.writer().extend_from_slice(piece));
        whole
    }

    /// Writes until nothing is left, here or in `transport`, or the socket takes no more. Returns how much was written, if
    /// that is anything.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while !self.apart.is_empty() {
            match self.poll_write(cx, transport) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    written += count;
                    self.advance(count);
                }
                Poll::Pending if written > 0 => return Poll::Ready(Ok(written)),
                failed_or_pending => return failed_or_pending,
            }
        }
        match self.bytes.poll_flush(cx, transport) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(written + count)),
            Poll::Pending if written > 0 => Poll::Ready(Ok(written)),
            failed_or_pending => failed_or_pending,
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, transport: &mut Transport) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(piece);
        }
        Pin::new(transport).poll_write_vectored(cx, &slices)
    }

    /// What is left, in order.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.bytes.data();
        let begins = iter::once(self.written).chain(self.apart.iter().map(|apart| apart.at));
        let apart = self.apart.iter().map(Some).chain([None]);
        begins.zip(apart).flat_map(move |(begin, apart)| {
            let end = apart.map_or(bytes.len(), |apart| apart.at - self.written);
            let before = bytes.get(begin - self.written..end).unwrap_or_default();
            [before, apart.map_or(&[][..], |apart| apart.data.data())]
        })
    }

    /// Forgets what was written.
    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let before = self.apart.front().map_or(count, |apart| count.min(apart.at - self.written));
            self.bytes.consume(before);
            self.written += before;
            count -= before;
            if let Some(apart) = self.apart.front_mut() {
                let of_data = count.min(apart.data.len());
                apart.data.consume(of_data);
                count -= of_data;
                if apart.data.is_empty() {
                    self.apart.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(text: &str) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.writer().extend_from_slice(text.as_bytes());
        buffer
    }

    fn output() -> Output {
        let apart = [(2, "one"), (2, "two"), (3, "three")];
        let apart = apart.map(|(at, text)| Apart { at, data: buffer(text) });
        Output { bytes: buffer("abcd"), written: 0, apart: apart.into() }
    }

    fn text(output: Output) -> String {
        String::from_utf8(output.into_buffer().take()).unwrap()
    }

    #[test]
    fn data_is_written_behind_its_bytes_wherever_a_write_ends() {
        let whole = "abonetwocthreed";
        for count in 0..=whole.len() {
            let mut output = output();
            output.advance(count);
            assert_eq!(output.is_empty(), count == whole.len());
            assert_eq!(text(output), whole[count..]);
        }
    }

    #[test]
    fn what_is_appended_comes_behind_the_rest() {
        for count in 0..=15 {
            let mut first = output();
            first.advance(count);
            first.append(output());
            assert_eq!(text(first), format!("{}abonetwocthreed", &"abonetwocthreed"[count..]));
        }
    }
}
