//! gRPC over HTTP/2 by hand, as far as it pays: responses whose messages are already framed.
//!
//! The library's encoder keeps its buffer for as long as the stream lives, as large as the largest message it has sent;
//! with one stream per proxy that would be most of the memory of the service. Here a message is freed when it is
//! written.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http_body::Frame;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
    codegen::http::{
        HeaderMap, HeaderValue, Request, Response,
        header::{CONTENT_TYPE, HeaderName},
    },
    metadata::GRPC_CONTENT_TYPE,
};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Reads messages with a buffer that is small while nothing arrives.
#[derive(Debug)]
pub(crate) struct SmallDecoder<M>(std::marker::PhantomData<fn() -> M>);

/// Framed messages, then the status as trailers.
struct Messages<S> {
    stream: Option<Pin<Box<S>>>,
}

impl<M> SmallDecoder<M> {
    pub(crate) fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<M: prost::Message + Default> Decoder for SmallDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(source)
            .map(Some)
            .map_err(|error| Status::invalid_argument(format!("a message cannot be read: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(512, 512)
    }
}

/// Refuses what is not a gRPC request or is compressed, which nothing here is.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Status> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if !header(CONTENT_TYPE).is_some_and(|value| value.starts_with("application/grpc")) {
        return Err(Status::invalid_argument("not a gRPC request; allowed: content-type application/grpc"));
    }
    match header(GRPC_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(other) => {
            let text = format!("messages compressed with {other} are not read; allowed: identity");
            let mut status = Status::unimplemented(text);
            if let Ok(identity) = "identity".parse() {
                status.metadata_mut().insert("grpc-accept-encoding", identity);
            }
            Err(status)
        }
    }
}

/// How long the client waits at most. One that cannot be read counts as none.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// A response whose headers go out at once and whose messages come when they come.
pub(crate) fn respond(stream: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(Body::new(Messages { stream: Some(Box::pin(stream)) }));
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

impl<S: Stream<Item = Result<Bytes, Status>>> http_body::Body for Messages<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let status = match std::task::ready!(stream.as_mut().poll_next(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        this.stream = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(timeout: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, timeout.parse().expect("a header's value"));
        headers
    }

    #[test]
    fn a_deadline_is_read_in_every_unit_and_nothing_else_is() {
        assert_eq!(timeout(&headers("2H")), Some(Duration::from_secs(7200)));
        assert_eq!(timeout(&headers("3M")), Some(Duration::from_secs(180)));
        assert_eq!(timeout(&headers("10S")), Some(Duration::from_secs(10)));
        assert_eq!(timeout(&headers("99999999m")), Some(Duration::from_millis(99_999_999)));
        assert_eq!(timeout(&headers("5u")), Some(Duration::from_micros(5)));
        assert_eq!(timeout(&headers("5n")), Some(Duration::from_nanos(5)));
        for wrong in ["", "S", "5", "5X", "-5S", "999999999S", "5 S"] {
            assert_eq!(timeout(&headers(wrong)), None, "{wrong:?}");
        }
    }
}
