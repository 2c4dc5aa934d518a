//! One line of the access log: its fields, their order, and how bytes and times are written.

use std::{
    fmt,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer, ser::SerializeSeq as _};

/// What one request did. Absent fields are written as `null`, so every line has the same fields.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AccessEntry<'a> {
    /// When the request head began to arrive; written as RFC 3339 in UTC with milliseconds.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// Name of the listener.
    pub listener: &'a str,
    /// The downstream peer.
    pub peer: Option<SocketAddr>,
    /// Method as received.
    #[serde(serialize_with = "bytes")]
    pub method: &'a [u8],
    /// Target as received; the query is left out. Bytes other than visible ASCII are written as `\xNN`.
    #[serde(serialize_with = "path")]
    pub target: &'a [u8],
    /// Authority as received, escaped like the target.
    #[serde(serialize_with = "bytes")]
    pub authority: &'a [u8],
    /// `http1`, `http2`, `tls`, `tcp`.
    pub protocol: &'a str,
    /// The version of TLS that ended here, `1.2` or `1.3`.
    pub tls: Option<&'a str>,
    /// The name that the client asked for in its TLS handshake.
    pub server_name: Option<&'a str>,
    /// The final status sent downstream, absent when none was sent.
    pub status: Option<u16>,
    /// Bytes read from downstream for this request, head and framing included.
    pub bytes_in: u64,
    /// Bytes written to downstream for this request, head and framing included.
    pub bytes_out: u64,
    /// From the first byte of the request head to the last byte of the response.
    pub duration_us: u64,
    /// The workload the request was for.
    pub workload: Option<&'a str>,
    /// The routing key.
    pub key: Option<&'a str>,
    /// The carrier the key was found in.
    pub carrier: Option<&'a str>,
    /// `baseline`, `override`, `reject` or `local`.
    pub selection: &'a str,
    /// Why the proxy answered itself or fell back.
    pub reason: Option<&'a str>,
    /// The upstream endpoint of the last try.
    pub upstream: Option<SocketAddr>,
    /// How often the request was sent again.
    pub retries: u32,
    /// What else was notable.
    pub flags: Flags,
}

/// A notable property of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// The request was strict.
    Strict,
    /// The request asked for an explanation.
    Explain,
    /// Two carriers held different keys.
    KeyConflict,
    /// A carrier held something that is not a key.
    KeyMalformed,
    /// Untrusted carriers were removed.
    KeyStripped,
    /// The baggage had no room for the key.
    BaggageFull,
    /// The upstream connection was a kept one.
    Reused,
    /// The client left before its response was complete.
    DownstreamAbort,
    /// The upstream cut its response off.
    UpstreamReset,
    /// The connection became a tunnel.
    Tunnel,
    /// The connection was draining.
    Draining,
}

/// A set of [`Flag`]s, written as an array of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flag {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Strict, "strict"),
        (Self::Explain, "explain"),
        (Self::KeyConflict, "key-conflict"),
        (Self::KeyMalformed, "key-malformed"),
        (Self::KeyStripped, "key-stripped"),
        (Self::BaggageFull, "baggage-full"),
        (Self::Reused, "reused"),
        (Self::DownstreamAbort, "downstream-abort"),
        (Self::UpstreamReset, "upstream-reset"),
        (Self::Tunnel, "tunnel"),
        (Self::Draining, "draining"),
    ];
}

// === impl Flags ===

impl Flags {
    /// Adds a flag.
    pub const fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u8;
    }

    /// Whether a flag is in the set.
    #[must_use]
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(None)?;
        for (flag, name) in Flag::ALL {
            if self.contains(flag) {
                names.serialize_element(name)?;
            }
        }
        names.end()
    }
}

// === impl AccessEntry ===

impl Default for AccessEntry<'_> {
    /// Nothing known yet, at the epoch.
    fn default() -> Self {
        Self {
            time: UNIX_EPOCH,
            listener: "",
            peer: None,
            method: b"",
            target: b"",
            authority: b"",
            protocol: "",
            tls: None,
            server_name: None,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_us: 0,
            workload: None,
            key: None,
            carrier: None,
            selection: "",
            reason: None,
            upstream: None,
            retries: 0,
            flags: Flags::default(),
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Rfc3339(*time))
}

fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(bytes))
}

fn path<S: Serializer>(target: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(target.split(|byte| *byte == b'?').next().unwrap_or_default()))
}

/// Visible ASCII as it is, `\` doubled, every other byte as `\xNN`: the bytes can be had back exactly.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunk_by(|a, b| is_plain(*a) == is_plain(*b)) {
            match std::str::from_utf8(chunk) {
                Ok(text) if chunk.first().is_some_and(|byte| is_plain(*byte)) => f.write_str(text)?,
                _ => chunk.iter().try_for_each(|byte| match byte {
                    b'\\' => f.write_str("\\\\"),
                    _ => write!(f, "\\x{byte:02x}"),
                })?,
            }
        }
        Ok(())
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

/// RFC 3339 in UTC with milliseconds. Times before 1970 are written as the epoch.
struct Rfc3339(SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // The Gregorian calendar repeats every 400 years of 146,097 days. Counting days from 1 March makes the leap
        // day the last day of its year, so year and month follow by division.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let millis = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_entry_has_its_fields_in_their_fixed_order() {
        let mut flags = Flags::default();
        flags.insert(Flag::Strict);
        flags.insert(Flag::Reused);
        let entry = AccessEntry {
            time: UNIX_EPOCH + Duration::from_millis(1_709_210_096_007),
            listener: "cart",
            peer: Some(([10, 0, 0, 1], 5000).into()),
            method: b"GET",
            target: b"/a\"b\\\xff?token=secret",
            authority: b"cart:8080",
            protocol: "http1",
            tls: Some("1.3"),
            server_name: Some("cart.shop"),
            status: Some(200),
            bytes_in: 10,
            bytes_out: 20,
            duration_us: 30,
            workload: Some("shop/Deployment/cart"),
            key: Some("k1"),
            carrier: Some("baggage"),
            selection: "override",
            reason: None,
            upstream: Some(([10, 0, 0, 2], 8080).into()),
            retries: 1,
            flags,
        };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            concat!(
                r#"{"time":"2024-02-29T12:34:56.007Z","listener":"cart","peer":"10.0.0.1:5000","method":"GET","#,
                r#""target":"/a\"b\\\\\\xff","authority":"cart:8080","protocol":"http1","tls":"1.3","server_name":"cart.shop","status":200,"#,
                r#""bytes_in":10,"bytes_out":20,"duration_us":30,"workload":"shop/Deployment/cart","key":"k1","#,
                r#""carrier":"baggage","selection":"override","reason":null,"upstream":"10.0.0.2:8080","#,
                r#""retries":1,"flags":["strict","reused"]}"#
            )
        );
    }

    #[test]
    fn no_byte_of_a_target_can_break_a_line_and_every_byte_can_be_had_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Escaped(&all).to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        let (mut back, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, tail @ ..] = rest {
            let (byte, tail) = match (first, tail) {
                (b'\\', [b'x', high, low, tail @ ..]) => {
                    let digits = format!("{}{}", *high as char, *low as char);
                    (u8::from_str_radix(&digits, 16).unwrap(), tail)
                }
                (b'\\', [second, tail @ ..]) => (*second, tail),
                _ => (*first, tail),
            };
            back.push(byte);
            rest = tail;
        }
        assert_eq!(back, all);
    }

    #[test]
    fn times_are_calendar_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
