//! The messages that are measured, as bytes of HTTP/1: what services send each other, not what is short.

use anyhow::{Context, Result};
use spurline_http::{
    Head, Limits, Method, Name, h1,
    h2::{Decoder, Encoder, Scheme, Section},
};
use spurline_route::{CarrierConfig, Extractor, Request, RoutingKey};

/// What a service sends another, with the fields of HTTP clients and tracers. `fields` are more lines, each with its end.
pub(crate) fn request(fields: &str) -> String {
    numbered_request(7, fields)
}

/// The same with what differs from request to request.
pub(crate) fn numbered_request(number: usize, fields: &str) -> String {
    format!(
        "GET /api/v2/carts/{:08x}?expand=items,prices HTTP/1.1\r\n\
         host: cart.shop.svc.cluster.local:8080\r\n\
         user-agent: checkout/3.14.2 (linux; amd64)\r\n\
         accept: application/json\r\n\
         accept-encoding: gzip, deflate\r\n\
         authorization: Bearer 5f0b7e1c9a3d4e2f8b6a7c9d0e1f2a3b4c5d6e7f\r\n\
         x-request-id: 8d3c7b1e-52f4-4c0a-9b6d-{number:012x}\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016x}-01\r\n\
         {fields}\r\n",
        number * 2_654_435 % 0xffff_ffff
    )
}

/// A `baggage` field without the routing key.
pub(crate) const BAGGAGE: &str = "baggage: userId=alice,serverNode=DF%2028,isProduction=false\r\n";
/// A `baggage` field with it.
pub(crate) const KEYED_BAGGAGE: &str =
    "baggage: userId=alice,serverNode=DF%2028,isProduction=false,sd-routing-key=k3v9q2x7w5m1\r\n";
/// The custom header that the default configuration reads.
pub(crate) const KEY_HEADER: &str = "sd-routing-key: k3v9q2x7w5m1\r\n";
pub(crate) const KEY: &str = "k3v9q2x7w5m1";

/// What a server answers.
pub(crate) fn numbered_response(number: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n\
         content-type: application/json; charset=utf-8\r\n\
         content-length: {}\r\n\
         cache-control: no-cache, private\r\n\
         date: Tue, 04 Aug 2026 10:11:12 GMT\r\n\
         etag: W/\"{number:x}-5f0b7e1c\"\r\n\
         server: cart/1.9.0\r\n\
         vary: accept-encoding\r\n\
         x-request-id: 8d3c7b1e-52f4-4c0a-9b6d-{number:012x}\r\n\r\n",
        1000 + number
    )
}

/// A call of gRPC.
pub(crate) fn numbered_call(number: usize) -> String {
    format!(
        "POST /shop.cart.v2.CartService/GetCart HTTP/1.1\r\n\
         host: cart.shop.svc.cluster.local:8080\r\n\
         content-type: application/grpc\r\n\
         te: trailers\r\n\
         grpc-accept-encoding: gzip\r\n\
         grpc-timeout: {}u\r\n\
         user-agent: grpc-go/1.74.2\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016x}-01\r\n\
         {KEYED_BAGGAGE}\r\n",
        990_000 + number
    )
}

/// The head that answers a call.
pub(crate) const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-accept-encoding: gzip\r\n\r\n";

/// What ends the answer to a call.
pub(crate) fn trailers() -> Result<Head> {
    let mut head = Head::default();
    head.append(b"grpc-status", b"0")?;
    head.append(b"grpc-message", b"")?;
    Ok(head)
}

/// The head of a request of HTTP/1.
pub(crate) fn request_head(text: &str) -> Result<Head> {
    let mut head = Head::default();
    h1::read_request(text.as_bytes(), &Limits::default(), &mut head)?.context("not a whole request head")?;
    Ok(head)
}

/// The head of a response of HTTP/1 to a GET.
pub(crate) fn response_head(text: &str) -> Result<Head> {
    let mut head = Head::default();
    h1::read_response(text.as_bytes(), Method(b"GET"), &Limits::default(), &mut head)?
        .context("not a whole response head")?;
    Ok(head)
}

/// The head as it arrives by HTTP/2, where names are known from its tables.
pub(crate) fn over_http2(head: &Head, section: Section) -> Result<Head> {
    let (mut block, mut received) = (Vec::new(), Head::default());
    encode(&mut Encoder::new(), head, section, &mut block);
    Decoder::default().decode(&block, section, &Limits::default(), &mut received)?;
    Ok(received)
}

pub(crate) fn encode(encoder: &mut Encoder, head: &Head, section: Section, block: &mut Vec<u8>) {
    match section {
        Section::Request => encoder.encode_request(head, Scheme::Http, block),
        Section::Response => encoder.encode_response(head, block),
        Section::Trailers => encoder.encode_trailers(head, block),
    }
}

/// The default carriers; `own_key` is that of the fork that sends, if one does.
pub(crate) fn extractor(own_key: Option<RoutingKey>) -> Result<Extractor> {
    Ok(Extractor::new(CarrierConfig { own_key, ..CarrierConfig::default() })?)
}

/// The view of a head in which carriers are read.
pub(crate) fn view(head: &Head) -> Request<'_, impl Iterator<Item = (&[u8], &[u8])> + Clone> {
    Request { fields: head.pairs(), authority: head.value(Name::Host), target: head.target() }
}
