//! The other side: the `h2` crate.

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::io::DuplexStream;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use crate::message::{Fields, Message};

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
    let send = async {
        if !ends {
            send(stream, &message, &mut rng).await;
        }
    };
    let receive = async {
        let (parts, body) = response.await.expect("there is a response").into_parts();
        let mut came = receive(body).await;
        came.status = parts.status.as_u16();
        came.fields = fields(&parts.headers);
        came
    };
    let ((), came) = tokio::join!(send, receive);
    came.assert_is(Message::response(number), &format!("response {number}"));
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
    let receive = async {
        let mut came = receive(body).await;
        came.fields = fields(&parts.headers);
        came.assert_is(Message::request(number), &format!("request {number}"));
    };
    let is_early = rng.bool();
    let message = Message::response(number);
    let mut response = Response::new(());
    *response.status_mut() = message.status.try_into().unwrap();
    *response.headers_mut() = header_map(&message.fields, &mut rng);
    let ends = message.body.is_empty() && message.trailers.is_empty();
    let send_response = async || {
        let stream = respond.send_response(response, ends).expect("it can be sent");
        if !ends {
            send(stream, &message, &mut rng).await;
        }
    };
    if is_early {
        tokio::join!(receive, send_response());
    } else {
        receive.await;
        send_response().await;
    }
}

/// Sends a body in pieces, with the trailers behind.
async fn send(mut stream: h2::SendStream<Bytes>, message: &Message, rng: &mut Rng) {
    let mut rest = Bytes::copy_from_slice(&message.body);
    let has_trailers = !message.trailers.is_empty();
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len().min(rng.usize(1..50_000)));
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.expect("the stream is open").expect("there is room");
        let piece = rest.split_to(room.min(rest.len()));
        stream.send_data(piece, rest.is_empty() && !has_trailers).expect("the stream is open");
    }
    if has_trailers {
        stream.send_trailers(header_map(&message.trailers, rng)).expect("the stream is open");
    }
}

/// Body and trailers.
async fn receive(mut body: h2::RecvStream) -> Message {
    let mut came = Message::default();
    while let Some(data) = body.data().await {
        let data = data.expect("the body is whole");
        came.body.extend(&data);
        body.flow_control().release_capacity(data.len()).expect("it was taken");
    }
    let trailers = body.trailers().await.expect("the body is whole");
    came.trailers = trailers.map(|trailers| fields(&trailers)).unwrap_or_default();
    came
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
