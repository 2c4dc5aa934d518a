//! Settings of HTTP/2.

use super::values::Values;
use crate::{
    config::{Http2, Rate},
    defs::Id,
};

pub(super) fn http2(values: &mut Values<'_>) -> Http2 {
    let http2 = Http2 {
        is_on: values.switch(Id::Http2),
        streams_max: values.count(Id::Http2StreamsMax),
        upstream_streams_max: values.count(Id::Http2UpstreamStreamsMax),
        stream_window_bytes: values.count(Id::Http2StreamWindowBytes),
        stream_window_bytes_max: values.count(Id::Http2StreamWindowBytesMax),
        windows_growth_bytes: values.count(Id::Http2WindowsGrowthBytes),
        connection_window_bytes: values.count(Id::Http2ConnectionWindowBytes),
        output_bytes_max: values.size(Id::Http2OutputBytesMax),
        answer_bytes_max: values.size(Id::Http2AnswerBytesMax),
        continuations_max: values.count(Id::Http2ContinuationsMax),
        resets: rate(values, Id::Http2ResetsBurst, Id::Http2ResetsPerSecond),
        forced_resets: rate(values, Id::Http2ForcedResetsBurst, Id::Http2ForcedResetsPerSecond),
        empty_frames: rate(values, Id::Http2EmptyFramesBurst, Id::Http2EmptyFramesPerSecond),
        settings_frames: rate(values, Id::Http2SettingsFramesBurst, Id::Http2SettingsFramesPerSecond),
        pings: rate(values, Id::Http2PingsBurst, Id::Http2PingsPerSecond),
        window_updates: rate(values, Id::Http2WindowUpdatesBurst, Id::Http2WindowUpdatesPerSecond),
        ignored_frames: rate(values, Id::Http2IgnoredFramesBurst, Id::Http2IgnoredFramesPerSecond),
        flood_pause: values.span(Id::Http2FloodPause),
        ping_interval: values.timeout(Id::Http2PingInterval),
        ping_timeout: values.span(Id::Http2PingTimeout),
        settings_timeout: values.span(Id::Http2SettingsTimeout),
    };
    if http2.stream_window_bytes > http2.connection_window_bytes {
        let reason = "larger than http2_connection_window_bytes, which holds all streams";
        values.problem(Id::Http2StreamWindowBytes, reason);
    }
    http2
}

fn rate(values: &mut Values<'_>, burst: Id, per_second: Id) -> Rate {
    Rate { burst: values.count(burst), per_second: values.count(per_second) }
}
