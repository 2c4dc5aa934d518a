//! Header compression, on connections that have long been in use and on new ones.
//!
//! Heads come from HTTP/2, as on the way from one such connection to another, and differ in what differs in life:
//! identifiers, times and lengths.

use std::hint::black_box;

use anyhow::{Result, ensure};
use spurline_http::{
    Head, Limits,
    h2::{Decoder, Encoder, Section},
};

use crate::{
    Case, Operation,
    messages::{self, KEYED_BAGGAGE},
    rotation::Rotation,
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "hpack/encode-request", prepare: || encoding(&requests()?) },
    Case { name: "hpack/encode-response", prepare: || encoding(&responses()?) },
    Case { name: "hpack/encode-grpc-request", prepare: || encoding(&calls()?) },
    Case { name: "hpack/encode-grpc-response", prepare: || encoding(&answers()?) },
    Case { name: "hpack/encode-request-first", prepare: first_encoding },
    Case { name: "hpack/decode-request", prepare: || decoding(&requests()?) },
    Case { name: "hpack/decode-response", prepare: || decoding(&responses()?) },
    Case { name: "hpack/decode-grpc-request", prepare: || decoding(&calls()?) },
    Case { name: "hpack/decode-grpc-response", prepare: || decoding(&answers()?) },
    Case { name: "hpack/decode-request-first", prepare: first_decoding },
];

/// More than an encoder remembers of values that it has seen once; and a prime, so that each encoder gets every one.
const MESSAGES: usize = 127;
/// Where an entry of a table is found depends on the random seed of its encoder; what so many cost together hardly.
const ENCODERS: usize = 16;

/// The sections of one message, in the order in which they are sent.
type Message = Vec<(Section, Head)>;

fn requests() -> Result<Vec<Message>> {
    let texts = (0..MESSAGES).map(|number| messages::numbered_request(number, KEYED_BAGGAGE));
    texts.map(|text| message(Section::Request, &messages::request_head(&text)?)).collect()
}

fn responses() -> Result<Vec<Message>> {
    let texts = (0..MESSAGES).map(messages::numbered_response);
    texts.map(|text| message(Section::Response, &messages::response_head(&text)?)).collect()
}

fn calls() -> Result<Vec<Message>> {
    let texts = (0..MESSAGES).map(messages::numbered_call);
    texts.map(|text| message(Section::Request, &messages::request_head(&text)?)).collect()
}

fn answers() -> Result<Vec<Message>> {
    let mut answer = message(Section::Response, &messages::response_head(messages::ANSWER)?)?;
    answer.push((Section::Trailers, messages::over_http2(&messages::trailers()?, Section::Trailers)?));
    Ok(vec![answer; MESSAGES])
}

fn message(section: Section, head: &Head) -> Result<Message> {
    Ok(vec![(section, messages::over_http2(head, section)?)])
}

fn encode(encoder: &mut Encoder, message: &Message, block: &mut Vec<u8>) {
    for (section, head) in message {
        messages::encode(encoder, head, *section, block);
    }
}

fn encoding(messages: &[Message]) -> Result<Operation> {
    let mut block = Vec::new();
    let mut connections = Vec::with_capacity(ENCODERS);
    for _ in 0..ENCODERS {
        let mut encoder = Encoder::new();
        for message in messages.iter().chain(messages) {
            block.clear();
            encode(&mut encoder, message, &mut block);
        }
        connections.push(encoder);
    }
    let (mut messages, mut at) = (Rotation::new(messages.to_vec()), 0);
    Ok(Box::new(move || {
        at = (at + 1) % ENCODERS;
        let (Some(message), Some(encoder)) = (messages.turn(), connections.get_mut(at)) else { return };
        block.clear();
        encode(encoder, black_box(message), &mut block);
        black_box(&block);
    }))
}

/// The first request of a connection, with the making and dropping of the encoder.
fn first_encoding() -> Result<Operation> {
    let (mut messages, mut block) = (Rotation::new(requests()?), Vec::new());
    Ok(Box::new(move || {
        let Some(message) = messages.turn() else { return };
        block.clear();
        encode(&mut Encoder::new(), black_box(message), &mut block);
        black_box(&block);
    }))
}

/// The blocks of each message from one encoder, the third time that it is given all of them.
fn blocks(encoder: &mut Encoder, messages: &[Message]) -> Vec<Vec<(Section, Vec<u8>)>> {
    let encode = |(section, head): &(Section, Head)| {
        let mut block = Vec::new();
        messages::encode(encoder, head, *section, &mut block);
        (*section, block)
    };
    let mut encode = encode;
    messages.iter().map(|message| message.iter().map(&mut encode).collect()).collect()
}

fn decoding(messages: &[Message]) -> Result<Operation> {
    let (limits, mut head) = (Limits::default(), Head::default());
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::default());
    for _ in 0..2 {
        for (section, block) in blocks(&mut encoder, messages).iter().flatten() {
            decoder.decode(block, *section, &limits, &mut head)?;
        }
    }
    let round = blocks(&mut encoder, messages);
    ensure!(round == blocks(&mut encoder, messages), "the connection does not come to rest");
    let mut round = Rotation::new(round);
    Ok(Box::new(move || {
        for (section, block) in round.turn().into_iter().flatten() {
            let decoded = decoder.decode(black_box(block), *section, &limits, &mut head);
            debug_assert!(decoded.is_ok());
        }
        black_box(&head);
    }))
}

/// The first request of a connection, with the making and dropping of the decoder.
fn first_decoding() -> Result<Operation> {
    let (limits, mut head) = (Limits::default(), Head::default());
    let requests = requests()?;
    let firsts: Vec<_> = requests.chunks(1).flat_map(|first| blocks(&mut Encoder::new(), first)).collect();
    let mut firsts = Rotation::new(firsts);
    Ok(Box::new(move || {
        let mut decoder = Decoder::default();
        for (section, block) in firsts.turn().into_iter().flatten() {
            let decoded = decoder.decode(black_box(block), *section, &limits, &mut head);
            debug_assert!(decoded.is_ok());
        }
        black_box(&head);
    }))
}
