//! What must hold for the gRPC codecs of `spurline-http`, whatever the bytes.
//!
//! Each function takes arbitrary bytes and panics when a promise is broken. Base64, timeouts and percent-encoding are
//! judged by plain readers that are said here once more.

use std::time::Duration;

use spurline_http::{
    Error, Head, Name,
    grpc::{self, Coding, Kind, Status, TextDecoder},
};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The first byte says what of gRPC-web the rest is: text from a client, data to be sent, fields, or a message.
pub fn grpc_web(data: &[u8]) {
    let [choice, piece, rest @ ..] = data else { return };
    let piece = usize::from(*piece) + 1;
    match choice % 5 {
        0 => text_is_read(rest, piece),
        1 => data_reads_back(rest, piece),
        2 => trailers_read_back(rest),
        3 => heads_are_translated(rest, piece),
        _ => message_reads_back(&String::from_utf8_lossy(rest)),
    }
}

/// The first twelve bytes are a duration to be written, the rest is a value from a client.
pub fn grpc_timeout(data: &[u8]) {
    let Some((left, value)) = data.split_first_chunk::<12>() else { return };
    let mut head = Head::default();
    if head.append(b"grpc-timeout", value).is_ok() {
        assert_eq!(grpc::timeout(&head), timeout(value), "{}", value.escape_ascii());
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = *left;
    let nanos = u32::from_be_bytes([n0, n1, n2, n3]) % 1_000_000_000;
    let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    // Few of all numbers are small.
    let left = Duration::new(seconds >> (nanos % 64), nanos);
    grpc::set_timeout(&mut head, left);
    let written = head.values(Name::GrpcTimeout).collect::<Vec<_>>();
    let &[written] = written.as_slice() else { panic!("{written:?} are not one") };
    assert!(written.len() <= 9);
    let read = timeout(written).expect("what is written is well-formed");
    assert!(read <= left.max(Duration::from_nanos(1)), "{read:?} is later than {left:?}");
    let lost = left.saturating_sub(read);
    assert!(written == b"99999999H" || lost <= left / 100_000, "{lost:?} of {left:?} is lost");
}

fn timeout(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || digits.starts_with('+') {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "n" => Duration::from_nanos(count),
        "u" => Duration::from_micros(count),
        "m" => Duration::from_millis(count),
        "S" => Duration::from_secs(count),
        "M" => Duration::from_secs(count * 60),
        "H" => Duration::from_secs(count * 3600),
        _ => return None,
    })
}

/// Reads base64 that arrives in pieces of that size.
fn read(text: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
    let (mut decoder, mut out) = (TextDecoder::default(), Vec::new());
    for (count, piece) in text.chunks(piece).enumerate() {
        let before = out.len();
        decoder.decode(piece, &mut out)?;
        assert!(out.len() - before <= piece.len().div_ceil(4) * 3, "piece {count} grew");
    }
    decoder.finish().map(|()| out)
}

fn text_is_read(text: &[u8], piece: usize) {
    let expected = plain_decoded(text).ok_or(Error::Base64);
    assert_eq!(read(text, piece), expected, "{}", text.escape_ascii());
    assert_eq!(read(text, usize::MAX), expected, "{}", text.escape_ascii());
}

fn data_reads_back(data: &[u8], piece: usize) {
    let mut text = Vec::new();
    for piece in data.chunks(piece) {
        grpc::encode_text(piece, &mut text);
    }
    assert_eq!(plain_decoded(&text).as_deref(), Some(data));
    for piece in [1, 3, 5, piece, usize::MAX] {
        assert_eq!(read(&text, piece).as_deref(), Ok(data));
    }
}

/// Group by group, each of which must be what its bytes are written as.
fn plain_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for group in text.chunks(4) {
        let letters = group.strip_suffix(b"==").or_else(|| group.strip_suffix(b"=")).unwrap_or(group);
        let mut bits = Vec::new();
        for letter in letters {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            bits.extend((0..6).rev().map(|bit| value >> bit & 1));
        }
        let bytes = bits.chunks_exact(8);
        if group.len() != 4 || letters.len() < 2 || bytes.remainder().contains(&1) {
            return None;
        }
        out.extend(bytes.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)));
    }
    Some(out)
}

/// Fields, each with an octet for the length of its name and one for that of its value.
fn fields(mut data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    while let [name, value, rest @ ..] = data {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(*name % 16)));
        let (value, rest) = rest.split_at(rest.len().min(usize::from(*value)));
        fields.push((name.to_vec(), value.to_vec()));
        data = rest;
    }
    fields
}

fn trailers_read_back(data: &[u8]) {
    let mut trailers = Head::default();
    let mut kept = Vec::new();
    for (name, value) in fields(data) {
        if trailers.append(&name, &value).is_ok() {
            kept.push((name.to_ascii_lowercase(), value));
        }
    }
    let mut out = Vec::new();
    grpc::trailers_frame(Some(&trailers), &mut out);
    let (&[flag, l0, l1, l2, l3], lines) = out.split_first_chunk().expect("it has a head");
    assert_eq!(flag, 0x80);
    assert_eq!(u32::from_be_bytes([l0, l1, l2, l3]) as usize, lines.len());
    if !kept.iter().any(|(name, _)| name == b"grpc-status") {
        kept.push((b"grpc-status".to_vec(), b"2".to_vec()));
        kept.push((b"grpc-message".to_vec(), b"the response ended without a status".to_vec()));
    }
    let expected = kept.iter().flat_map(|(name, value)| [name, b": ".as_slice(), value, b"\r\n"].concat());
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

/// A head of the data's own values under names that matter.
fn heads_are_translated(data: &[u8], choice: usize) {
    const TYPES: [&[u8]; 4] =
        [b"application/grpc", b"application/grpc-web", b"application/grpc-web-text", b""];
    let mut head = Head::default();
    for (at, (_, value)) in fields(data).into_iter().enumerate() {
        let name = [b"content-type".as_slice(), b"accept", b"te", b"content-length"][(choice + at) % 4];
        let _ = head.append(name, &[TYPES[(choice / 4 + at) % 4], &value].concat());
    }
    let kind = Kind::of(&head);
    let content_type = head.value(Name::ContentType).map(<[u8]>::to_vec);
    let translated = grpc::to_grpc(&mut head);
    assert_eq!(translated.map(|web| Kind::Web(web.request)), kind.filter(|kind| *kind != Kind::Grpc));
    let Some(web) = translated else {
        assert_eq!(head.value(Name::ContentType), content_type.as_deref());
        return;
    };
    assert_eq!(Kind::of(&head), Some(Kind::Grpc));
    assert!(head.value(Name::Te).is_some());
    assert!(web.request == Coding::Binary || head.value(Name::ContentLength).is_none());
    assert!(grpc::to_web(&mut head, web.request));
    assert_eq!(head.value(Name::ContentLength), None);
    let again = head.values(Name::ContentType).collect::<Vec<_>>();
    let &[again] = again.as_slice() else { panic!("{again:?} are not one") };
    assert!(content_type.is_some_and(|before| before.eq_ignore_ascii_case(again)));
}

fn message_reads_back(message: &str) {
    let mut head = Head::default();
    grpc::append_status(&mut head, Status::Internal, message);
    let pairs: Vec<(&[u8], &[u8])> = head.pairs().collect();
    assert_eq!(pairs.first(), Some(&(&b"grpc-status"[..], &b"13"[..])));
    let written = pairs.get(1).map_or(&b""[..], |(_, message)| message);
    assert!(written.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let mut read = Vec::new();
    let mut rest = written;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at(2);
            let digits = std::str::from_utf8(digits).expect("it is a number");
            read.push(u8::from_str_radix(digits, 16).expect("it is a number"));
            rest = after;
        } else {
            read.push(*byte);
        }
    }
    assert_eq!(read, message.as_bytes());
}
