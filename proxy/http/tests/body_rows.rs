//! Hostile and odd bodies. Each row is what arrives behind a head, and what is read of it; it is the same however the
//! bytes are split. The letters are sections: A framing, C routing keys, D trailers, F responses.

use spurline_http::{
    BodyEvent, Error, Framing, Head, Limits,
    h1::{BodyDecoder, encode_chunk, encode_last_chunk},
};

/// What is read: the body, its trailer section as it is sent on, and how many bytes are left for the next message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Body {
    content: String,
    trailers: String,
    left: usize,
}

/// Reads a body that arrives in two parts. An end of the input in its middle is [`Error::Truncated`].
fn read(framing: Framing, bytes: &[u8], split: usize) -> Result<Body, Error> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut trailers, mut body, mut content) = (Head::default(), Body::default(), Vec::new());
    let (mut start, mut end) = (0, split);
    loop {
        let input = bytes.get(start..end).unwrap_or_default();
        let (consumed, event) = decoder.decode(input, &Limits::default(), &mut trailers)?;
        start += consumed;
        match event {
            BodyEvent::Data(range) => content.extend_from_slice(input.get(range).unwrap_or_default()),
            BodyEvent::NeedMore if end < bytes.len() => end = bytes.len(),
            BodyEvent::NeedMore => break decoder.finish()?,
            BodyEvent::End => break,
            BodyEvent::Trailers => {
                let mut out = Vec::new();
                encode_last_chunk(Some(&trailers), &mut out);
                body.trailers = out.escape_ascii().to_string();
                break;
            }
        }
    }
    assert!(decoder.is_done());
    Ok(Body { content: content.escape_ascii().to_string(), left: bytes.len() - start, ..body })
}

#[track_caller]
fn hold(id: &str, framing: Framing, bytes: impl AsRef<[u8]>, expected: &Result<Body, Error>) {
    let bytes = bytes.as_ref();
    for split in (0..=bytes.len()).step_by(bytes.len() / 1000 + 1) {
        let shown = bytes.get(..100).unwrap_or(bytes).escape_ascii();
        assert_eq!(&read(framing, bytes, split), expected, "{id} at {split}: {shown}");
    }
}

/// A body of this content, with nothing behind it.
fn whole(content: impl Into<String>) -> Result<Body, Error> {
    left(content, 0)
}

fn left(content: impl Into<String>, left: usize) -> Result<Body, Error> {
    Ok(Body { content: content.into(), left, ..Body::default() })
}

const LAST: &str = "0\r\n\r\n";

#[test]
fn a_chunk_size_is_hexadecimal_digits_and_nothing_else() {
    for size in ["5", "05", "000000000000005"] {
        hold("A14", Framing::Chunked, format!("{size}\r\nhello\r\n{LAST}"), &whole("hello"));
    }
    for size in ["a", "A", "0a"] {
        hold("A14 hex", Framing::Chunked, format!("{size}\r\n0123456789\r\n{LAST}"), &whole("0123456789"));
    }
    for size in [
        "0x5",
        "+5",
        "-1",
        "-5",
        " 5",
        "5 ",
        "5\t",
        "5_0",
        "",
        "g",
        "5g",
        "５",
        "\0",
        "5\0",
        ";",
        ";ext",
        "5 ;a",
        "\r\n",
        "FFFFFFFFFFFFFFFFF",
        "FFFFFFFFFFFFFFFF",
        "8000000000000000",
        "0000000000000005",
    ] {
        hold("A14", Framing::Chunked, format!("{size}\r\nhello\r\n{LAST}"), &Err(Error::Chunk));
    }
    hold("A14 large", Framing::Chunked, "fffffffffffffff\r\nhello", &Err(Error::Truncated));
    for zeros in ["0", "00", "000000000000000"] {
        hold("A14 last", Framing::Chunked, format!("{zeros}\r\n\r\n"), &whole(""));
    }
}

#[test]
fn a_chunk_extension_is_dropped_or_refused() {
    for extension in [";a", ";", ";a=b", ";a=\"b;c\"", "; a = b", ";\t", ";é", ";;", ";a=\"\\\""] {
        hold(
            "A15",
            Framing::Chunked,
            format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n"),
            &whole("hello"),
        );
    }
    for line in [
        "5;\n",
        "5;a\n",
        "5;a\r\r\n",
        "5;a\0b\r\n",
        "5\r\r;x\r\n",
        "5\r;x\r\n",
        "5\n",
        "5;a\rb\r\n",
        "5;\x7f\r\n",
        "5;\x0b\r\n",
        "5\r\r\n",
        "5\r\0",
    ] {
        hold("A15", Framing::Chunked, format!("{line}hello\r\n{LAST}"), &Err(Error::Chunk));
    }
    let max = Limits::default().chunk_extension_bytes_max;
    let extended = |bytes: usize| format!("5;{}\r\nhello\r\n{LAST}", "a".repeat(bytes));
    hold("A16 longest", Framing::Chunked, extended(max), &whole("hello"));
    hold("A16 one over", Framing::Chunked, extended(max + 1), &Err(Error::ChunkExtensions));
    hold("A16 16 KiB", Framing::Chunked, extended(16 * 1024 + 1), &Err(Error::ChunkExtensions));
    let many = |chunks: usize| format!("{}{LAST}", "1;aa\r\nx\r\n".repeat(chunks));
    hold("A16 in all", Framing::Chunked, many(max / 2), &whole("x".repeat(max / 2)));
    hold("A16 in all, over", Framing::Chunked, many(max / 2 + 1), &Err(Error::ChunkExtensions));
}

#[test]
fn a_million_chunks_of_one_byte_are_read_in_one_pass() {
    let bytes = ["1\r\nx\r\n".repeat(1_000_000), LAST.to_owned()].concat();
    assert_eq!(read(Framing::Chunked, bytes.as_bytes(), bytes.len()), whole("x".repeat(1_000_000)));
}

#[test]
fn chunk_data_is_as_long_as_it_says_and_ends_in_crlf() {
    for bytes in ["5\r\nhell\r\n", "5\r\nhello!\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n"] {
        hold("A17", Framing::Chunked, format!("{bytes}{LAST}"), &Err(Error::Chunk));
    }
    for bytes in
        ["5\r\nhello\r0", "5\r\nhello\r\r\n", "5\r\nhello\n", "5\r\nhello\r\n\r\n", "5\r\nhello\r\n\n"]
    {
        hold("A17", Framing::Chunked, bytes, &Err(Error::Chunk));
    }
}

#[test]
fn a_body_that_ends_too_early_is_no_complete_body() {
    for bytes in ["", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n0"] {
        hold("A18", Framing::Chunked, bytes, &Err(Error::Truncated));
    }
    for bytes in ["0\r\n", "0\r\n\r", "0\r\nX: 1\r\n", "0\r\nX: 1\r\n\r", "0\r\nX", "0;a"] {
        hold("A18", Framing::Chunked, bytes, &Err(Error::Truncated));
    }
    hold("A21", Framing::Length(5), "hell", &Err(Error::Truncated));
    hold("A21 nothing", Framing::Length(5), "", &Err(Error::Truncated));
    hold("F10", Framing::Length(u64::MAX), "hello", &Err(Error::Truncated));
}

#[test]
fn a_body_ends_where_its_length_says() {
    hold("A07", Framing::Length(5), "hello", &whole("hello"));
    hold("A07 zero", Framing::Length(0), "", &whole(""));
    hold("A07 zero", Framing::Length(0), "GET /", &left("", 5));
    hold("A20", Framing::None, "GET /", &left("", 5));
    hold("F07", Framing::Length(5), "helloHTTP/1.1", &left("hello", 8));
    hold("F10 to the end", Framing::Close, "5\r\nhello", &whole("5\\r\\nhello"));
    let next = "GET /next HTTP/1.1\r\n\r\n";
    hold("A19", Framing::Chunked, format!("5\r\nhello\r\n{LAST}{next}"), &left("hello", next.len()));
}

#[test]
fn trailers_that_speak_for_the_head_are_dropped() {
    let with = |lines: &str| format!("5\r\nhello\r\n0\r\n{lines}\r\n");
    let body = |trailers: &str| {
        let trailers = format!("0\r\n{trailers}\r\n").escape_default().to_string();
        Ok(Body { content: "hello".to_owned(), trailers, left: 0 })
    };
    let kept = "grpc-status: 0\r\nX-A: b\r\n";
    hold("D06", Framing::Chunked, with(kept), &body(kept));
    for name in [
        "content-length",
        "Transfer-Encoding",
        "HOST",
        "connection",
        "authorization",
        "cookie",
        "set-cookie",
        "content-type",
        "content-encoding",
        "content-range",
        "cache-control",
        "expect",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "max-forwards",
        "range",
        "te",
        "trailer",
        "upgrade",
        "x-forwarded-for",
    ] {
        let lines = format!("a: 1\r\n{name}: 5\r\nb: 2\r\n");
        hold("D06", Framing::Chunked, with(&lines), &body("a: 1\r\nb: 2\r\n"));
    }
    for name in ["baggage", "Tracestate", "traceparent"] {
        hold("C07", Framing::Chunked, with(&format!("{name}: sd-routing-key=a\r\n")), &body(""));
    }
}

#[test]
fn a_malformed_or_large_trailer_section_is_refused() {
    let with = |lines: &str| format!("0\r\n{lines}\r\n");
    for lines in [
        "X\r\n",
        ": x\r\n",
        "X : 1\r\n",
        " X: 1\r\n",
        "X: 1\r\n y\r\n",
        "X: 1\n",
        "X: a\rb\r\n",
        "X: \0\r\n",
        "\n",
        "\rx",
        "content_length: 5\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        hold("D06", Framing::Chunked, with(lines), &Err(Error::Trailer));
    }
    let Limits { trailer_bytes_max, trailer_fields_max, .. } = Limits::default();
    let most = read(Framing::Chunked, with(&"X: 1\r\n".repeat(trailer_fields_max)).as_bytes(), 0);
    assert!(most.is_ok());
    for count in [trailer_fields_max + 1, 10_000] {
        let large = Err(Error::TrailersTooLarge);
        hold("D06 many", Framing::Chunked, with(&"X: 1\r\n".repeat(count)), &large);
    }
    let long = |bytes: usize| with(&format!("X: {}\r\n", "a".repeat(bytes - "X: \r\n\r\n".len())));
    assert!(read(Framing::Chunked, long(trailer_bytes_max).as_bytes(), 0).is_ok());
    for bytes in [trailer_bytes_max + 1, 1 << 20] {
        hold("D06 long", Framing::Chunked, long(bytes), &Err(Error::TrailersTooLarge));
    }
}

#[test]
fn what_is_written_in_chunks_is_their_plainest_form() {
    let mut out = Vec::new();
    for size in [1, 0, 15, 16, 255, 256, 4096] {
        out.clear();
        encode_chunk(&vec![b'x'; size], &mut out);
        let expected =
            if size == 0 { String::new() } else { format!("{size:x}\r\n{}\r\n", "x".repeat(size)) };
        assert_eq!(out.escape_ascii().to_string(), expected.escape_default().to_string());
    }
    out.clear();
    encode_last_chunk(None, &mut out);
    assert_eq!(out, LAST.as_bytes());
}
