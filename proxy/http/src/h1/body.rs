use crate::{BodyEvent, Error, Framing, Head, Limits, h1::trailers};

/// Reads the body of one message from bytes, event by event (RFC 9112 sections 6 and 7).
///
/// ```text
/// None, Length(0)                                         ─────► Done
/// Length(n)   ── n bytes ───────────────────────────────────────► Done
/// Close       ── until the transport ends ──────────────────────► (finish)
/// Size ─► Extension ─► SizeLf ─► Data ─► DataCr ─► DataLf ─► Size
///                         └─ size 0 ─► Trailers ────────────────► Done
/// ```
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Extension bytes seen so far in this body.
    extension_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Close,
    Data { left: u64 },
    DataCr,
    DataLf,
    Done,
    Extension { size: u64 },
    Length { left: u64 },
    Size { size: u64, digits: u8 },
    SizeLf { size: u64 },
    Trailers,
}

/// A size of more digits could overflow.
const SIZE_DIGITS_MAX: u8 = 15;

// === impl BodyDecoder ===

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::Close => State::Close,
        };
        Self { state, extension_bytes: 0 }
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The transport ended. That is the end of a close-delimited body, and a truncation of any other.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::Close | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Error::Truncated),
        }
    }

    /// Reads the next event from the start of `input`; returns it with the number of bytes it took. Trailer fields go
    /// to `trailers`, which is otherwise left alone. Chunk extensions are dropped.
    ///
    /// Bytes that were not taken must be given again, with more behind them after [`BodyEvent::NeedMore`].
    ///
    /// # Errors
    /// A malformed chunk or an exceeded limit; what was returned before must not be passed on as a complete body.
    pub fn decode(
        &mut self,
        input: &[u8],
        limits: &Limits,
        trailers: &mut Head,
    ) -> Result<(usize, BodyEvent), Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok((at, BodyEvent::End)),
                State::Length { left } => return Ok(self.data(input, at, left)),
                State::Data { left } => return Ok(self.data(input, at, left)),
                State::Close if at == input.len() => return Ok((at, BodyEvent::NeedMore)),
                State::Close => return Ok((input.len(), BodyEvent::Data(at..input.len()))),
                State::Trailers => {
                    let rest = input.get(at..).unwrap_or_default();
                    return self.trailers(rest, at, limits, trailers);
                }
                _ => {
                    let Some(byte) = input.get(at) else { return Ok((at, BodyEvent::NeedMore)) };
                    at += 1;
                    self.step(*byte, limits)?;
                }
            }
        }
    }

    /// One byte of what stands around the data of chunks.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<(), Error> {
        self.state = match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Error::Chunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Error::Chunk),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Size { size, .. }, b';') => State::Extension { size },
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extension_bytes += 1;
                if self.extension_bytes > limits.chunk_extension_bytes_max {
                    return Err(Error::ChunkExtensions);
                }
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            _ => return Err(Error::Chunk),
        };
        Ok(())
    }

    fn data(&mut self, input: &[u8], at: usize, left: u64) -> (usize, BodyEvent) {
        let here = input.len() - at;
        if here == 0 {
            return (at, BodyEvent::NeedMore);
        }
        let taken = usize::try_from(left).map_or(here, |left| left.min(here));
        let left = left - taken as u64;
        self.state = match self.state {
            State::Length { .. } if left == 0 => State::Done,
            State::Length { .. } => State::Length { left },
            _ if left == 0 => State::DataCr,
            _ => State::Data { left },
        };
        (at + taken, BodyEvent::Data(at..at + taken))
    }

    fn trailers(
        &mut self,
        rest: &[u8],
        at: usize,
        limits: &Limits,
        trailers: &mut Head,
    ) -> Result<(usize, BodyEvent), Error> {
        if rest.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok((at + 2, BodyEvent::End));
        }
        match trailers::read_trailers(rest, limits, trailers)? {
            Some(consumed) => {
                self.state = State::Done;
                Ok((at + consumed, BodyEvent::Trailers))
            }
            None => Ok((at, BodyEvent::NeedMore)),
        }
    }
}
