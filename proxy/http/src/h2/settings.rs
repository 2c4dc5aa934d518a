use crate::{
    Limits,
    h2::{
        Rate, Role, StreamId, Violation,
        flow::{WINDOW_BYTES_INITIAL, WINDOW_BYTES_MAX},
        frame::{self, Kind, PAYLOAD_BYTES_MAX},
    },
};

/// What we announce to the peer, and what a connection may cost before it is closed. Every number applies to one
/// connection. Exceeding one of the rates is a [`Flood`](super::Flood).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of every head and trailer section; `head_bytes_max` is announced as `SETTINGS_MAX_HEADER_LIST_SIZE`.
    pub limits: Limits,
    /// Streams that are open at the same time: as a server those that the client may open, as a client those that we
    /// open at most, whatever the server would take.
    pub streams_max: u32,
    /// Streams over the life of a connection. A server then goes away gracefully; a client opens no more.
    pub streams_total_max: u32,
    /// Bytes that the peer may send on a stream before we have passed them on. At least 1.
    pub stream_window_bytes: u32,
    /// The same over all streams of the connection. At least 65,535, which cannot be taken back (RFC 9113 6.9.2).
    pub connection_window_bytes: u32,
    /// Whether a server takes extended CONNECT, such as WebSocket (RFC 8441).
    pub connect_protocol: bool,
    /// Bytes that may wait to be written before [`Connection::send_data`](super::Connection::send_data) takes no
    /// more. At least one frame of data is let in.
    pub output_bytes_max: usize,
    /// Bytes of answers to what the peer sent (acknowledgements, resets) that may wait to be written.
    pub answer_bytes_max: usize,
    /// `CONTINUATION` frames of one header block.
    pub continuations_max: u32,
    /// Interim responses before a final one.
    pub interims_max: u8,
    /// Streams that a client resets within a second. Every stream that ends in order lets it reset another.
    pub resets: Rate,
    /// Streams that a server has to reset for what the client did on them.
    pub forced_resets: Rate,
    /// Frames of data without data that do not end a stream.
    pub empty_frames: Rate,
    pub settings_frames: Rate,
    /// `PING` frames. Every stream that is opened, and every head and frame of data that is sent, lets the peer send one
    /// more: gRPC measures bandwidth with them, and Go sends one when it cancels a request.
    pub pings: Rate,
    /// `WINDOW_UPDATE` frames. Every frame of data that is sent lets the peer send more of them.
    pub window_updates: Rate,
    /// Frames that have no effect, see [`Flood::Ignored`](super::Flood::Ignored). Every stream that is opened lets the
    /// peer send two more, for older clients set its priority.
    pub ignored_frames: Rate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            streams_max: 100,
            streams_total_max: 1 << 30,
            stream_window_bytes: 16 * 1024,
            connection_window_bytes: 1024 * 1024,
            connect_protocol: true,
            output_bytes_max: 4 * (frame::HEADER_BYTES + PAYLOAD_BYTES_MAX),
            answer_bytes_max: 16 * 1024,
            continuations_max: 8,
            interims_max: 8,
            resets: Rate { burst: 500, per_second: 100 },
            forced_resets: Rate { burst: 200, per_second: 20 },
            empty_frames: Rate { burst: 100, per_second: 10 },
            settings_frames: Rate { burst: 20, per_second: 10 },
            pings: Rate { burst: 100, per_second: 10 },
            window_updates: Rate { burst: 1000, per_second: 100 },
            ignored_frames: Rate { burst: 400, per_second: 50 },
        }
    }
}

impl Settings {
    /// Writes what differs from the values that hold if nothing is said (RFC 9113 section 6.5.2). The size of the
    /// compression table and of frames are left at those.
    pub(super) fn write(&self, role: Role, out: &mut Vec<u8>) {
        let head_bytes = u32::try_from(self.limits.head_bytes_max).unwrap_or(u32::MAX);
        let announced = match role {
            Role::Client => [Some((ENABLE_PUSH, 0)), None],
            Role::Server => [
                Some((MAX_CONCURRENT_STREAMS, self.streams_max)),
                self.connect_protocol.then_some((ENABLE_CONNECT_PROTOCOL, 1)),
            ],
        };
        let both = [
            Some((INITIAL_WINDOW_SIZE, self.stream_window_bytes.clamp(1, WINDOW_BYTES_MAX))),
            Some((MAX_HEADER_LIST_SIZE, head_bytes)),
        ];
        let start = out.len();
        frame::write_control(Kind::Settings, 0, StreamId::CONNECTION, &[], out);
        for (id, value) in announced.into_iter().chain(both).flatten() {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        let length = out.len() - start - frame::HEADER_BYTES;
        frame::patch_length(out, start, length);
    }
}

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// What the peer has announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerSettings {
    /// Streams that we may open.
    pub(super) streams_max: u32,
    /// The window of a stream that is opened.
    pub(super) window_bytes: u32,
    /// Bytes of the payload of a frame that we send.
    pub(super) payload_bytes_max: usize,
    pub(super) connect_protocol: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        // The number of streams has no limit until one is said; 100 is the least that should be announced (RFC 9113
        // section 6.5.2), so none of them is refused.
        Self {
            streams_max: 100,
            window_bytes: WINDOW_BYTES_INITIAL,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            connect_protocol: false,
        }
    }
}

impl PeerSettings {
    /// Applies the payload of a `SETTINGS` frame of a peer whose role is `peer`, in its order (RFC 9113 section
    /// 6.5.3). Every size of the compression table is told to `resize_table`, for the least of them counts too (RFC
    /// 7541 section 4.2).
    ///
    /// # Errors
    /// A length that is no multiple of six, or a value out of its range.
    pub(super) fn apply(
        &mut self,
        payload: &[u8],
        peer: Role,
        mut resize_table: impl FnMut(u32),
    ) -> Result<(), Violation> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Violation::FrameSize);
        }
        for [i1, i2, v1, v2, v3, v4] in settings {
            let value = u32::from_be_bytes([*v1, *v2, *v3, *v4]);
            match u16::from_be_bytes([*i1, *i2]) {
                HEADER_TABLE_SIZE => resize_table(value),
                ENABLE_PUSH if value > 1 || (value == 1 && peer == Role::Server) => {
                    return Err(Violation::Setting);
                }
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE if value > WINDOW_BYTES_MAX => return Err(Violation::InitialWindow),
                INITIAL_WINDOW_SIZE => self.window_bytes = value,
                MAX_FRAME_SIZE => self.payload_bytes_max = payload_bytes(value)?,
                ENABLE_CONNECT_PROTOCOL => match value {
                    0 if !self.connect_protocol => {}
                    1 => self.connect_protocol = true,
                    _ => return Err(Violation::Setting),
                },
                // The rest is advisory or unknown.
                _ => {}
            }
        }
        Ok(())
    }
}

fn payload_bytes(value: u32) -> Result<usize, Violation> {
    const ANNOUNCED_MAX: usize = 0xff_ffff;
    match usize::try_from(value) {
        Ok(bytes) if (PAYLOAD_BYTES_MAX..=ANNOUNCED_MAX).contains(&bytes) => Ok(bytes.min(PAYLOAD_BYTES_MAX)),
        _ => Err(Violation::Setting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(settings: &[(u16, u32)]) -> Vec<u8> {
        let bytes = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
        settings.iter().flat_map(bytes).collect()
    }

    fn apply(settings: &[(u16, u32)], peer: Role) -> Result<PeerSettings, Violation> {
        let mut applied = PeerSettings::default();
        applied.apply(&payload(settings), peer, |_| {}).map(|()| applied)
    }

    #[test]
    fn values_out_of_their_range_are_refused() {
        for (id, value, violation) in [
            (2, 2, Violation::Setting),
            (4, 0x8000_0000, Violation::InitialWindow),
            (5, 16_383, Violation::Setting),
            (5, 0x100_0000, Violation::Setting),
            (8, 2, Violation::Setting),
        ] {
            assert_eq!(apply(&[(id, value)], Role::Client), Err(violation), "{id} {value}");
        }
        assert_eq!(apply(&[(2, 1)], Role::Server), Err(Violation::Setting));
        assert_eq!(apply(&[(2, 1)], Role::Client), Ok(PeerSettings::default()));
        assert_eq!(apply(&[(8, 1), (8, 0)], Role::Server), Err(Violation::Setting));
        let mut settings = PeerSettings::default();
        assert_eq!(settings.apply(&[0; 7], Role::Client, |_| {}), Err(Violation::FrameSize));
    }

    #[test]
    fn the_last_value_holds_and_unknown_settings_are_ignored() {
        let settings = apply(&[(4, 1), (3, 7), (0xffff, 9), (4, 2), (5, 0xff_ffff)], Role::Server).unwrap();
        assert_eq!(settings.window_bytes, 2);
        assert_eq!(settings.streams_max, 7);
        assert_eq!(settings.payload_bytes_max, PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn every_table_size_is_told_in_order() {
        let mut sizes = Vec::new();
        let bytes = payload(&[(1, 4096), (1, 0), (1, 100)]);
        PeerSettings::default().apply(&bytes, Role::Client, |size| sizes.push(size)).unwrap();
        assert_eq!(sizes, [4096, 0, 100]);
    }

    #[test]
    fn ours_read_as_they_were_written() {
        for (role, push) in [(Role::Client, true), (Role::Server, false)] {
            let mut out = Vec::new();
            Settings::default().write(role, &mut out);
            let header = frame::FrameHeader::read(&out).unwrap();
            assert_eq!(header.kind, Kind::Settings);
            assert_eq!(header.length as usize, out.len() - frame::HEADER_BYTES);
            assert_eq!(out[frame::HEADER_BYTES..].chunks(6).any(|chunk| chunk[..2] == [0, 2]), push);
            let mut read = PeerSettings::default();
            read.apply(&out[frame::HEADER_BYTES..], role, |_| {}).unwrap();
            assert_eq!(read.window_bytes, Settings::default().stream_window_bytes);
            assert_eq!(read.connect_protocol, role == Role::Server);
        }
    }
}
