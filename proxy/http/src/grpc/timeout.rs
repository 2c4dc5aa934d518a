//! `grpc-timeout` (PROTOCOL-HTTP2.md, "Requests"): how long a client waits for the end of a response.

use std::time::Duration;

use crate::{Head, Name};

/// More digits than these are malformed.
const DIGITS_MAX: usize = 8;
const COUNT_MAX: u64 = 99_999_999;

/// The units from fine to coarse, with their nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// How long the client waits, from when it sent the request. `None` when it does not say, or says it in a way that is
/// malformed: servers differ in what they make of that, so it is theirs to judge.
pub fn timeout(head: &Head) -> Option<Duration> {
    let (unit, digits) = head.value(Name::GrpcTimeout)?.split_last()?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    // The largest is some 11,000 years, more than 64 bits have nanoseconds for.
    let nanos = u128::from(count) * u128::from(*nanos);
    Some(Duration::from_nanos_u128(nanos))
}

/// Says how long the client still waits, in the place of what the request said before: in the finest unit that has room
/// for it, rounded down, so that the upstream gives up no later than the client. Nothing left is the shortest there is,
/// for some servers take zero for malformed.
pub fn set_timeout(head: &mut Head, left: Duration) {
    let nanos = left.as_nanos().max(1);
    let count = |nanos_per_unit: u64| nanos / u128::from(nanos_per_unit);
    let fits = |unit: &&(u8, u64)| count(unit.1) <= u128::from(COUNT_MAX);
    let (unit, nanos_per_unit) = UNITS.iter().find(fits).copied().unwrap_or((b'H', 3_600_000_000_000));
    let count = u64::try_from(count(nanos_per_unit)).unwrap_or(COUNT_MAX).min(COUNT_MAX);

    let mut digits = itoa::Buffer::new();
    let digits = digits.format(count).as_bytes();
    let mut value = [0; DIGITS_MAX + 1];
    for (place, byte) in value.iter_mut().zip(digits.iter().chain([&unit])) {
        *place = *byte;
    }
    let value = value.get(..=digits.len()).unwrap_or_default();
    let set = head.set_only(Name::GrpcTimeout, "grpc-timeout", value);
    debug_assert!(set.is_ok(), "{value:?} is no field value");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(timeouts: &[&str]) -> Head {
        let mut head = Head::default();
        head.append(b"a", b"1").unwrap();
        for timeout in timeouts {
            head.append(b"Grpc-Timeout", timeout.as_bytes()).unwrap();
        }
        head.append(b"b", b"2").unwrap();
        head
    }

    fn lines(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_unit_is_read() {
        for (value, expected) in [
            ("7n", Duration::from_nanos(7)),
            ("7u", Duration::from_micros(7)),
            ("7m", Duration::from_millis(7)),
            ("7S", Duration::from_secs(7)),
            ("7M", Duration::from_secs(7 * 60)),
            ("7H", Duration::from_secs(7 * 3600)),
            ("0m", Duration::ZERO),
            ("00000010S", Duration::from_secs(10)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout(&head(&[value])), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_timeout() {
        for value in [
            "",
            "1",
            "n",
            "S",
            "1s",
            "1h",
            "1 S",
            "-1S",
            "+1S",
            "1.5S",
            "123456789n",
            "1SS",
            "0x1S",
            "\u{661}S",
        ] {
            assert_eq!(timeout(&head(&[value])), None, "{value}");
        }
        assert_eq!(timeout(&Head::default()), None);
    }

    #[test]
    fn the_first_of_several_counts_and_stays_alone_once_it_is_set() {
        let mut head = head(&["2S", "5S"]);
        assert_eq!(timeout(&head), Some(Duration::from_secs(2)));
        set_timeout(&mut head, Duration::from_millis(1999));
        assert_eq!(lines(&head), "a: 1\r\ngrpc-timeout: 1999000u\r\nb: 2\r\n");
        set_timeout(&mut head, Duration::from_nanos(1));
        assert_eq!(lines(&head), "a: 1\r\ngrpc-timeout: 1n\r\nb: 2\r\n");
    }

    #[test]
    fn it_is_appended_where_there_is_none() {
        let mut head = head(&[]);
        set_timeout(&mut head, Duration::from_secs(3));
        assert_eq!(lines(&head), "a: 1\r\nb: 2\r\ngrpc-timeout: 3000000u\r\n");
    }

    #[test]
    fn the_unit_leaves_room_for_eight_digits() {
        let second = Duration::from_secs(1);
        for (left, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (second * 100 - Duration::from_nanos(1), "99999999u"),
            (second * 100, "100000m"),
            (second * 100_000, "100000S"),
            (second * 100_000_000, "1666666M"),
            (second * 60 * 100_000_000, "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut head = head(&["1S"]);
            set_timeout(&mut head, left);
            let value = head.value(Name::GrpcTimeout).unwrap();
            assert_eq!(value, expected.as_bytes());
            assert!(timeout(&head).unwrap() <= left.max(Duration::from_nanos(1)));
        }
    }
}
