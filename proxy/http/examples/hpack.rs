//! What header compression costs in steady state: nanoseconds per block, and per exchange. Run it optimised:
//! `cargo run --release -p spurline-http --example hpack`.

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

/// A block's head and what it is.
struct Message {
    name: &'static str,
    section: Section,
    /// Its variants: what a caller sends one after another, with what changes each time.
    heads: Vec<Head>,
}

const REQUEST: &[(&str, &str)] = &[
    ("user-agent", "checkout/2.14 (linux; amd64) okhttp/4.12.0"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "512"),
    ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjaGVja291dCJ9.c2lnbmF0dXJl"),
    ("baggage", "sd-routing-key=pr-1234,tenant=acme"),
    ("x-forwarded-for", "10.12.4.77"),
];
const GRPC_REQUEST: &[(&str, &str)] = &[
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.72.0"),
    ("te", "trailers"),
    ("grpc-timeout", "4999989u"),
    ("baggage", "sd-routing-key=pr-1234"),
];
const GRPC_RESPONSE: &[(&str, &str)] = &[("content-type", "application/grpc")];
const GRPC_TRAILERS: &[(&str, &str)] = &[("grpc-status", "0"), ("grpc-message", "")];

fn main() {
    let request = requests("/v1/carts/8d1f/items?limit=20", REQUEST, true);
    let exchange = [
        Message {
            name: "gRPC request",
            section: Section::Request,
            heads: requests("/shop.Cart/Get", GRPC_REQUEST, false),
        },
        Message { name: "gRPC response", section: Section::Response, heads: vec![response(GRPC_RESPONSE)] },
        Message { name: "gRPC trailers", section: Section::Trailers, heads: vec![trailers(GRPC_TRAILERS)] },
    ];
    report(&Message { name: "request of 12 fields", section: Section::Request, heads: request });
    let total: f64 = exchange.iter().map(report).sum();
    println!("{:24} {:>8} {:>8} {total:>8.0} ns", "gRPC exchange", "", "");
}

/// Times decoding and encoding of one message and prints both.
fn report(message: &Message) -> f64 {
    let mut sender = Encoder::new();
    let blocks: Vec<Vec<u8>> = (0..4)
        .flat_map(|_| {
            message.heads.iter().map(|head| encoded(&mut sender, head, message.section)).collect::<Vec<_>>()
        })
        .collect();
    let bytes = blocks.last().map_or(0, Vec::len);
    let steady = &blocks[blocks.len() - message.heads.len()..];
    let mut decoder = Decoder::new(4096);
    let mut head = Head::default();
    for block in &blocks {
        decode(&mut decoder, block, message.section, &mut head);
    }
    let decoding = fastest(|at| decode(&mut decoder, &steady[at % steady.len()], message.section, &mut head));
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    let encoding = fastest(|at| {
        out.clear();
        encode(&mut encoder, &message.heads[at % message.heads.len()], message.section, &mut out);
        black_box(&out);
    });
    println!(
        "{:24} {decoding:>5.0} ns {encoding:>5.0} ns {:>8.0} ns   {bytes} bytes",
        message.name,
        decoding + encoding
    );
    decoding + encoding
}

fn fastest(mut block: impl FnMut(usize)) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..BLOCKS).for_each(|at| block(at as usize));
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / f64::from(BLOCKS)
}

fn decode(decoder: &mut Decoder, block: &[u8], section: Section, head: &mut Head) {
    let read = decoder.decode(black_box(block), section, &Limits::default(), head);
    assert!(read.is_ok(), "{read:?}");
    black_box(&head);
}

fn encoded(encoder: &mut Encoder, head: &Head, section: Section) -> Vec<u8> {
    let mut out = Vec::new();
    encode(encoder, head, section, &mut out);
    out
}

fn encode(encoder: &mut Encoder, head: &Head, section: Section, out: &mut Vec<u8>) {
    match section {
        Section::Request => encoder.encode_request(head, Scheme::Http, out),
        Section::Response => encoder.encode_response(head, out),
        Section::Trailers => encoder.encode_trailers(head, out),
    }
}

/// Requests as they come from HPACK, each with a trace of its own.
fn requests(path: &str, fields: &[(&str, &str)], traced: bool) -> Vec<Head> {
    (0..16_u64)
        .map(|at| {
            let mut block = vec![0x83, 0x86];
            literal(&mut block, ":authority", "cart.shop.svc.cluster.local:8080");
            literal(&mut block, ":path", path);
            if traced {
                let id = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let parent =
                    format!("00-{id:016x}{:016x}-{:016x}-01", id.rotate_left(17), id.rotate_left(31));
                literal(&mut block, "traceparent", &parent);
            }
            fields.iter().for_each(|(name, value)| literal(&mut block, name, value));
            head(&block, Section::Request)
        })
        .collect()
}

fn response(fields: &[(&str, &str)]) -> Head {
    let mut block = vec![0x88];
    fields.iter().for_each(|(name, value)| literal(&mut block, name, value));
    head(&block, Section::Response)
}

fn trailers(fields: &[(&str, &str)]) -> Head {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| literal(&mut block, name, value));
    head(&block, Section::Trailers)
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for string in [name, value] {
        block.push(u8::try_from(string.len()).unwrap_or(0));
        block.extend_from_slice(string.as_bytes());
    }
}

fn head(block: &[u8], section: Section) -> Head {
    let mut head = Head::default();
    decode(&mut Decoder::new(4096), block, section, &mut head);
    head
}
