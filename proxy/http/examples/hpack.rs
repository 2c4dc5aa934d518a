//! What header compression costs in steady state: nanoseconds to decode and to encode a block. Run it optimised:
//! `cargo run --release -p spurline-http --example hpack`.

#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use spurline_http::{
    Head, Limits,
    h2::{Decoder, Encoder, Scheme, Section},
};

/// Blocks of each round; the fastest round counts, for what disturbs only adds.
const BLOCKS: u32 = 1_600;
const ROUNDS: u32 = 300;

/// A message as the blocks that a peer sends of it, one after another; what changes each time is different in each.
struct Message {
    name: &'static str,
    section: Section,
    blocks: Vec<Vec<u8>>,
}

const REQUEST: &[(&str, &str)] = &[
    (":authority", "cart.shop.svc.cluster.local:8080"),
    (":path", "/v1/carts/8d1f/items?limit=20"),
    ("user-agent", "checkout/2.14 (linux; amd64) okhttp/4.12.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "512"),
    ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjaGVja291dCJ9.c2lnbmF0dXJl"),
    ("baggage", "sd-routing-key=pr-1234,tenant=acme"),
];
const GRPC_REQUEST: &[(&str, &str)] = &[
    (":authority", "cart.shop.svc.cluster.local:8080"),
    (":path", "/shop.Cart/Get"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.72.0"),
    ("te", "trailers"),
    ("grpc-timeout", "4999989u"),
    ("baggage", "sd-routing-key=pr-1234"),
];
const GRPC_RESPONSE: &[(&str, &str)] = &[("content-type", "application/grpc")];
const GRPC_TRAILERS: &[(&str, &str)] = &[("grpc-status", "0"), ("grpc-message", "")];

/// `REQUEST` with a trace as a client sends it that uses the Huffman code throughout and keeps path, trace and
/// authorization out of its table: the first block of a connection, and a later one.
const HUFFMAN_REQUEST: [&str; 2] = [
    "8386419720ec4ae89cf5ae8ee45c945a8496c5e8390745c780f03f149563b85820ec4a187a40cac1925a51fe506a4c98 \
     040f10884d83216b1d85a93fa7001600e575c6c2f85c248d33248f34d3c58c41091e03217c8b46e8e4723742e3e2032c \
     b215801f7aa024e52753da9604b85a53faa0d55be7ed41d3238d7f6a1face94d6c34b844b83f538b1d75d0620d263d4c \
     7441ea50839bd9ab5f961d75d0620d263d4c7441eafb50938ec415305a99567b5c826c221f08b2ba51d85b142facb3c7 \
     8886d46cb9387bc81d26cafae5f597dc9cb21b51b2f41e2e3d0627c325ecafae41515474e1049f996840858c734c398b \
     99448b587b526aa65ba97d415d8b044cb5f492d43a9300c9497f",
    "8386c4149563b85820ec4a187a40cac1925a51fe506a4c98040f10884d83216b1d85a93fa7001600e575c6c2f85c248d \
     33248f34d3c58c41091e03217e45a37472391ba171f101965912c00fc3c2c1c0bf1f08b2ba51d85b142facb3c78886d4 \
     6cb9387bc81d26cafae5f597dc9cb21b51b2f41e2e3d0627c325ecafae41515474e1049f9968be",
];

fn main() {
    let huffman = Message {
        name: "request, 12 fields, Huffman",
        section: Section::Request,
        blocks: HUFFMAN_REQUEST.iter().map(|hex| octets(hex)).collect(),
    };
    report(&huffman);
    report(&spoken("request, 12 fields", Section::Request, &requests(REQUEST, Traced::Yes)));
    let response = read(&[&[0x88], &literals(GRPC_RESPONSE)[..]].concat(), Section::Response);
    let trailers = read(&literals(GRPC_TRAILERS), Section::Trailers);
    let exchange: f64 = [
        spoken("gRPC request", Section::Request, &requests(GRPC_REQUEST, Traced::No)),
        spoken("gRPC response", Section::Response, &[response]),
        spoken("gRPC trailers", Section::Trailers, &[trailers]),
    ]
    .iter()
    .map(report)
    .sum();
    println!("{:28} {:>8} {:>8} {exchange:>8.0} ns", "gRPC exchange", "", "");
}

/// Whether each request has a trace of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traced {
    No,
    Yes,
}

/// Times both directions of one message, once the tables know what repeats, and prints them.
fn report(message: &Message) -> f64 {
    let Message { name, section, blocks } = message;
    let mut decoder = Decoder::default();
    let mut head = Head::default();
    let heads: Vec<Head> = blocks
        .iter()
        .map(|block| {
            decode(&mut decoder, block, *section, &mut head);
            head.clone()
        })
        .collect();
    let steady = blocks.get(blocks.len() / 2..).unwrap_or_default();
    let decoding = fastest(steady, |block| decode(&mut decoder, block, *section, &mut head));
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    let encoding = fastest(&heads, |head| {
        out.clear();
        encode(&mut encoder, black_box(head), *section, &mut out);
        black_box(&out);
    });
    let both = decoding + encoding;
    let (arriving, leaving) = (blocks.last().map_or(0, Vec::len), out.len());
    println!(
        "{name:28} {decoding:>5.0} ns {encoding:>5.0} ns {both:>8.0} ns   {arriving} bytes in, {leaving} out"
    );
    both
}

fn fastest<T>(items: &[T], mut handle: impl FnMut(&T)) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        items.iter().cycle().take(BLOCKS as usize).for_each(&mut handle);
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / f64::from(BLOCKS)
}

fn decode(decoder: &mut Decoder, block: &[u8], section: Section, head: &mut Head) {
    let read = decoder.decode(black_box(block), section, &Limits::default(), head);
    assert!(read.is_ok(), "{read:?}");
    black_box(&head);
}

fn encode(encoder: &mut Encoder, head: &Head, section: Section, out: &mut Vec<u8>) {
    match section {
        Section::Request => encoder.encode_request(head, Scheme::Http, out),
        Section::Response => encoder.encode_response(head, out),
        Section::Trailers => encoder.encode_trailers(head, out),
    }
}

/// A message as our own encoder sends it.
fn spoken(name: &'static str, section: Section, heads: &[Head]) -> Message {
    const TIMES: usize = 8;
    let mut encoder = Encoder::new();
    let spoken = heads.iter().cycle().take(heads.len() * TIMES).map(|head| {
        let mut out = Vec::new();
        encode(&mut encoder, head, section, &mut out);
        out
    });
    Message { name, section, blocks: spoken.collect() }
}

fn requests(fields: &[(&str, &str)], traced: Traced) -> Vec<Head> {
    let request = |at: u64| {
        let mut block = [&[0x83, 0x86], &literals(fields)[..]].concat();
        if traced == Traced::Yes {
            let id = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let parent = format!("00-{id:016x}{:016x}-{:016x}-01", id.rotate_left(17), id.rotate_left(31));
            block.extend(literals(&[("traceparent", &parent)]));
        }
        read(&block, Section::Request)
    };
    (0..16).map(request).collect()
}

fn read(block: &[u8], section: Section) -> Head {
    let mut head = Head::default();
    decode(&mut Decoder::default(), block, section, &mut head);
    head
}

/// A block of literals that are not indexed; every string is shorter than 127 bytes.
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | *digit as u8)).collect()
}
