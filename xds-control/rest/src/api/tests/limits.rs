use axum::body::Bytes;
use futures_util::StreamExt as _;

use super::*;

/// What the service begins to answer; nothing of the body is read.
async fn begin(service: &Service, target: &str) -> Response {
    let request = Request::get(target).body(Body::empty()).unwrap();
    service.router.clone().oneshot(request).await.unwrap()
}

/// Takes all room for requests by answers that nobody reads.
async fn fill(service: &Service) -> Vec<Response> {
    let mut unread = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let response = begin(service, "/v1/sandboxes").await;
        assert_eq!(response.status(), 200);
        unread.push(response);
    }
    unread
}

#[tokio::test]
async fn an_answer_takes_room_until_its_last_byte_is_given_back() {
    let service = Service::new();
    let mut unread = fill(&service).await;
    service.get("/v1/status").await.problem(503);
    let body = to_bytes(unread.pop().unwrap().into_body(), usize::MAX).await.unwrap();
    drop(body);
    assert_eq!(service.get("/v1/status").await.status, 200);
    // Handed on is not yet sent: the connection may hold it.
    let mut handed_on = Vec::new();
    for response in unread.drain(..) {
        handed_on.push(response.into_body().into_data_stream().collect::<Vec<_>>().await);
    }
    let _last = begin(&service, "/v1/sandboxes").await;
    service.get("/v1/status").await.problem(503);
    drop(handed_on);
    assert_eq!(service.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn room_is_found_by_what_serves_a_request_and_not_by_how_it_is_written() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let _unread = fill(&service).await;
    for target in [
        "/v1/status?watch",
        "/v1/status?wait=programmed",
        "/v1/sandboxes/alice?watch=true",
        "/v1/sandboxes/alice?wait",
        "/v1/sandboxes/alice?wait=else",
        "/v1/sandboxes?wait=programmed",
        "/v1/sandboxes?watch=false",
        "/v1/sandboxes?watch",
        "/openapi.json?watch=true",
        "/nothing?watch=true",
    ] {
        assert_eq!(begin(&service, target).await.status(), 503, "{target}");
    }
    for target in [
        "/v1/sandboxes?watch=true",
        "/v1/sandboxes?w%61tch=true",
        "/v1/sandboxes/alice?wait=programmed&timeout=1ms",
        "/v1/sandboxes/alice?w%61it=programmed&timeout=1ms",
    ] {
        assert_eq!(begin(&service, target).await.status(), 200, "{target}");
    }
}

#[tokio::test]
async fn a_long_answer_is_the_same_in_pieces() {
    let service = Service::new();
    for number in 0..300 {
        service.put_sandbox(&format!("s{number:03}")).await;
    }
    let response = begin(&service, "/v1/sandboxes?limit=500").await;
    let length = axum::body::HttpBody::size_hint(response.body()).exact().unwrap();
    let pieces: Vec<_> = response.into_body().into_data_stream().collect().await;
    let pieces: Vec<Bytes> = pieces.into_iter().map(Result::unwrap).collect();
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 64 * 1024), "{}", pieces.len());
    let whole = pieces.concat();
    assert_eq!(whole.len() as u64, length);
    let list: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 300);
}
