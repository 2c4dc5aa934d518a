//! The other side: the `h2` crate.

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::io::DuplexStream;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use crate::message::{Fate, Fields, Message};

/// Asks for all of these at the same time, as far as the server lets it.
pub(crate) async fn client(
    io: DuplexStream,
    mut rng: Rng,
    numbers: impl Iterator<Item = u64>,
    streams_max: usize,
) {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(rng.choice([1_000, 65_535, 1 << 20]).unwrap())
        .initial_connection_window_size(rng.choice([65_535, 1 << 22]).unwrap())
        .max_frame_size(rng.u32(16_384..1 << 20))
        .header_table_size(rng.choice([0, 100, 4096, 65_536]).unwrap())
        .initial_max_send_streams(streams_max.min(100))
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .expect("it is HTTP/2");
    let connection = tokio::spawn(connection);
    let requests = numbers.map(|number| ask(client.clone(), number, rng.fork()));
    join_all(requests).await;
    drop(client);
    connection.await.unwrap().expect("a server that errs in nothing");
}

async fn ask(client: h2::client::SendRequest<Bytes>, number: u64, mut rng: Rng) {
    let message = Message::request(number);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://a.test:80{}", Message::path(number)).parse().unwrap();
    *request.headers_mut() = header_map(&message.fields, &mut rng);
    let ends = message.body.is_empty() && message.trailers.is_empty();
    let mut client = client.ready().await.expect("there will be room");
    let (response, stream) = client.send_request(request, ends).expect("it can be sent");
    let fate = Fate::of(number);
    let send = async { if ends { Ok(()) } else { send(stream, &message, fate.of_client(), &mut rng).await } };
    let receive = async {
        let (parts, body) = response.await?.into_parts();
        let mut came = receive(body).await?;
        came.status = parts.status.as_u16();
        came.fields = fields(&parts.headers);
        Ok(came)
    };
    match tokio::join!(send, receive) {
        (Ok(()), Ok(came)) => came.assert_is(Message::response(number), &format!("response {number}")),
        (sent, received) => assert_reset(fate, sent.err().or_else(|| received.err())),
    }
}

/// Serves whatever it is asked, until the client leaves.
pub(crate) async fn server(io: DuplexStream, mut rng: Rng) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(rng.choice([1_000, 65_535, 1 << 20]).unwrap())
        .initial_connection_window_size(rng.choice([65_535, 1 << 22]).unwrap())
        .max_frame_size(rng.u32(16_384..1 << 20))
        .max_concurrent_streams(rng.u32(1..=50))
        .handshake::<_, Bytes>(io)
        .await
        .expect("it is HTTP/2");
    let mut answers = Vec::new();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.expect("a client that errs in nothing");
        answers.push(tokio::spawn(answer(request, respond, rng.fork())));
    }
    for answer in answers {
        answer.await.unwrap();
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    mut rng: Rng,
) {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let number = Message::number(path);
    assert_eq!(parts.method, Method::POST);
    assert_eq!(parts.uri.authority().unwrap().as_str(), "a.test:80");
    let fate = Fate::of(number);
    let receive = async {
        match receive(body).await {
            Ok(mut came) => {
                came.fields = fields(&parts.headers);
                came.assert_is(Message::request(number), &format!("request {number}"));
            }
            Err(error) => assert_reset(fate, Some(error)),
        }
    };
    let is_early = rng.bool();
    let message = Message::response(number);
    let mut response = Response::new(());
    *response.status_mut() = message.status.try_into().unwrap();
    *response.headers_mut() = header_map(&message.fields, &mut rng);
    let ends = message.body.is_empty() && message.trailers.is_empty();
    let send_response = async || {
        let sent = match respond.send_response(response, ends) {
            Ok(stream) if !ends => send(stream, &message, fate.of_server(), &mut rng).await,
            sent => sent.map(drop),
        };
        if let Err(error) = sent {
            assert_reset(fate, Some(error));
        }
    };
    if is_early {
        tokio::join!(receive, send_response());
    } else {
        receive.await;
        send_response().await;
    }
}

/// What does not arrive is what somebody gave up.
#[track_caller]
fn assert_reset(fate: Fate, error: Option<h2::Error>) {
    assert!(fate != Fate::Whole, "{error:?}");
    let error = error.expect("there is a reason");
    assert!(!error.is_go_away() && !error.is_io(), "{fate:?}: {error:?}");
}

/// Sends a body in pieces, with the trailers behind, or resets the stream after so many bytes.
async fn send(
    mut stream: h2::SendStream<Bytes>,
    message: &Message,
    patience: Option<usize>,
    rng: &mut Rng,
) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(&message.body);
    let has_trailers = !message.trailers.is_empty();
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len().min(rng.usize(1..50_000)));
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        // There is none once the stream is reset.
        let Some(room) = room.transpose()? else { break };
        let piece = rest.split_to(room.min(rest.len()));
        stream.send_data(piece, rest.is_empty() && !has_trailers)?;
        if patience.is_some_and(|bytes| bytes < message.body.len() - rest.len()) {
            stream.send_reset(h2::Reason::CANCEL);
            return Err(h2::Reason::CANCEL.into());
        }
    }
    if has_trailers {
        stream.send_trailers(header_map(&message.trailers, rng))?;
    }
    Ok(())
}

/// Body and trailers.
async fn receive(mut body: h2::RecvStream) -> Result<Message, h2::Error> {
    let mut came = Message::default();
    while let Some(data) = body.data().await {
        let data = data?;
        came.body.extend(&data);
        // On a stream that is reset there is nothing to give back.
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await?;
    came.trailers = trailers.map(|trailers| fields(&trailers)).unwrap_or_default();
    Ok(came)
}

fn header_map(fields: &Fields, rng: &mut Rng) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let mut value = HeaderValue::from_bytes(value).unwrap();
        value.set_sensitive(rng.u8(..5) == 0);
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    map
}

fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
