//! Whether windows leak: many small requests that are padded or given up half-way, all of them within what is allowed,
//! and then, on the same connection, more than a leaked window would let through.

use std::time::{Duration, Instant};

use super::super::wire::hpack::{self, Method};
use super::super::wire::{
    Closed, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, PADDED, WINDOW_BYTES_FIRST, Wire,
};
use super::State;
use crate::work::PATH;

const TRANSFER_BYTES: u64 = 10 * 1024 * 1024;
/// Small requests between two transfers.
const REQUESTS: u32 = 1_000;
const REQUESTS_AT_ONCE: u32 = 16;
/// Often enough to show a leak, rare enough to be no attack of its own.
const RESET_INTERVAL: Duration = Duration::from_millis(50);
const STALL_TIME: Duration = Duration::from_secs(5);

/// How far it is, and what came of the transfers.
#[derive(Debug)]
pub(crate) struct Progress {
    requests: u32,
    /// What the connection may still send.
    window: i64,
    reset_at: Instant,
    pub(crate) transfers: u64,
    /// Transfers and requests that stood still.
    pub(crate) stalls: u64,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new() -> Self {
        Self { requests: 0, window: 0, reset_at: Instant::now(), transfers: 0, stalls: 0 }
    }
}

pub(super) fn step(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    if state.steps == 0 {
        state.leak.requests = 0;
        state.leak.window = WINDOW_BYTES_FIRST;
        // Enough for all that will come back.
        wire.window_update(0, (1 << 31) - 1 - WINDOW_BYTES_FIRST as u32);
    }
    if state.leak.requests >= REQUESTS {
        state.leak.requests = 0;
        transfer(wire, state)?;
        return Ok(Duration::ZERO);
    }
    let block = hpack::request(Method::Post, PATH);
    // Flow control counts the padding and its length too.
    let padded = [&[255], [b'p'; 100].as_slice(), &[0; 255]].concat();
    for _ in 0..REQUESTS_AT_ONCE {
        let stream = wire.open(END_HEADERS, &block);
        state.leak.requests += 1;
        if state.leak.reset_at.elapsed() >= RESET_INTERVAL {
            state.leak.reset_at = Instant::now();
            wire.frame(DATA, PADDED, stream, &padded);
            wire.reset(stream);
        } else {
            wire.frame(DATA, PADDED | END_STREAM, stream, &padded);
            state.streams.push(stream);
        }
        state.leak.window -= padded.len() as i64;
    }
    wait(wire, state, |wire, state| {
        let ended = std::mem::take(&mut wire.seen.ended);
        state.streams.retain(|stream| !ended.contains(stream));
        wire.seen.data_bytes.clear();
        state.streams.is_empty() && state.leak.window > WINDOW_BYTES_FIRST / 2
    })?;
    wire.seen.stream_credit.clear();
    Ok(Duration::ZERO)
}

/// Sends a large body and waits until it has come back.
fn transfer(wire: &mut Wire, state: &mut State) -> Result<(), Closed> {
    let stream = wire.open(END_HEADERS, &hpack::request(Method::Post, PATH));
    let mut window = wire.seen.initial_window.unwrap_or(WINDOW_BYTES_FIRST);
    let mut left = TRANSFER_BYTES;
    let chunk = [b'l'; FRAME_BYTES_MAX];
    while left > 0 {
        wait(wire, state, |wire, state| {
            window += wire.seen.stream_credit.remove(&stream).unwrap_or_default();
            window > 0 && state.leak.window > 0
        })?;
        let allowed = u64::try_from(window.min(state.leak.window)).unwrap_or_default();
        let length = allowed.min(left).min(FRAME_BYTES_MAX as u64);
        left -= length;
        window -= length as i64;
        state.leak.window -= length as i64;
        let flags = if left == 0 { END_STREAM } else { 0 };
        wire.frame(DATA, flags, stream, chunk.get(..length as usize).unwrap_or_default());
    }
    wait(wire, state, |wire, _| wire.seen.ended.contains(&stream))?;
    let returned = wire.seen.data_bytes.remove(&stream).unwrap_or_default();
    // The other side's window is used up by what it sends, too.
    let refill = u32::try_from(returned).unwrap_or_default();
    wire.window_update(0, refill.max(1));
    if returned == TRANSFER_BYTES {
        state.leak.transfers += 1;
    } else {
        state.leak.stalls += 1;
    }
    Ok(())
}

/// Reads until `is_done`. Too long without that counts as a stall and gives the connection up.
fn wait(
    wire: &mut Wire,
    state: &mut State,
    mut is_done: impl FnMut(&mut Wire, &mut State) -> bool,
) -> Result<(), Closed> {
    let deadline = Instant::now() + STALL_TIME;
    loop {
        wire.flush(state.end, true)?;
        state.leak.window += std::mem::take(&mut wire.seen.connection_credit);
        if is_done(wire, state) {
            return Ok(());
        }
        if Instant::now() >= state.end || wire.seen.goaway.is_some() {
            return Err(Closed);
        }
        if Instant::now() >= deadline {
            state.leak.stalls += 1;
            return Err(Closed);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
