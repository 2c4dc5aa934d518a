use axum::body::BodyDataStream;
use futures_util::StreamExt as _;

use super::*;

struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Service {
    async fn watch(&self, query: &str, last_event_id: Option<&str>) -> Events {
        let mut request = Request::get(format!("/v1/sandboxes?watch=true{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

impl Events {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
                };
                let found = (field("event: "), field("id: "), field("data: "));
                self.text = rest.to_owned();
                if let (name, id, data) = found
                    && !name.is_empty()
                {
                    return Some(Event { name, id, data: serde_json::from_str(&data).unwrap() });
                }
                continue;
            }
            let piece =
                tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&piece?.unwrap()).unwrap());
        }
    }

    async fn said(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        (event.name, event.data["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }

    async fn until_synced(&mut self) -> (Vec<(String, String)>, Event) {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("an event");
            if event.name == "synced" {
                return (events, event);
            }
            events.push((event.name, event.data["metadata"]["name"].as_str().unwrap().to_owned()));
        }
    }
}

fn said(name: &str, of: &str) -> (String, String) {
    (name.to_owned(), of.to_owned())
}

#[tokio::test]
async fn a_watch_begins_with_everything_and_follows() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    service.put_sandbox("bob").await;
    let mut watch = service.watch("", None).await;
    let (there, synced) = watch.until_synced().await;
    assert_eq!(there, [said("put", "alice"), said("put", "bob")]);
    assert_eq!(synced.data["resumed"], false);
    service.put_sandbox("carol").await;
    let event = watch.next().await.unwrap();
    assert_eq!((event.name.as_str(), event.id.is_empty()), ("put", false));
    assert_eq!(event.data["status"]["accepted"], true);
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await;
    assert_eq!(watch.said().await, said("delete", "alice"));
    service.apply_file(Kind::Sandbox, &sandbox("of-file"));
    assert_eq!(watch.said().await, said("put", "of-file"), "files are watched as well");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_begins_anew_when_it_cannot() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let mut watch = service.watch("", None).await;
    let (_, synced) = watch.until_synced().await;
    drop(watch);
    service.put_sandbox("bob").await;
    service.put_sandbox("gone").await;
    service.send("DELETE", "/v1/sandboxes/gone", &[], "").await;
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await;
    let (missed, resumed) = service.watch("", Some(&synced.id)).await.until_synced().await;
    assert_eq!(missed, [said("put", "bob"), said("delete", "gone"), said("delete", "alice")]);
    assert_eq!(resumed.data["resumed"], true);
    for id in ["", "0", "nonsense", "1-1", "ffffffffffffffff-ffffffffffffffff", "99999999999"] {
        let (all, synced) = service.watch("", Some(id)).await.until_synced().await;
        assert_eq!((all, &synced.data["resumed"]), (vec![said("put", "bob")], &json!(false)), "{id}");
    }
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_and_cut() {
    let service = Service::new();
    let mut watch = service.watch("", None).await;
    watch.until_synced().await;
    for number in 0..9_000 {
        let mut document = sandbox("alice");
        document["metadata"]["labels"]["n"] = json!(number.to_string());
        service.put("/v1/sandboxes/alice", &document).await;
    }
    let event = watch.next().await.unwrap();
    assert_eq!(event.name, "cut");
    assert!(watch.next().await.is_none());
    assert!(service.metrics().contains("spurline_control_rest_watchers_cut_total 1"));
}

#[tokio::test]
async fn a_selector_sees_documents_come_and_go_by_their_labels() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let mut watch = service.watch("&labelSelector=team%3Dcheckout", None).await;
    assert_eq!(watch.until_synced().await.0, [said("put", "alice")]);
    let mut moved = sandbox("alice");
    moved["metadata"]["labels"]["team"] = json!("search");
    service.put("/v1/sandboxes/alice", &moved).await;
    assert_eq!(watch.said().await, said("delete", "alice"));
    service.put_sandbox("alice").await;
    assert_eq!(watch.said().await, said("put", "alice"));
}

#[tokio::test]
async fn watches_end_when_the_service_does_and_there_are_only_so_many() {
    let service = Service::new();
    let mut watches = Vec::new();
    for _ in 0..WATCHES_MAX {
        watches.push(service.watch("", None).await);
    }
    service.get("/v1/sandboxes?watch=true").await.problem(503);
    service.send("GET", "/v1/sandboxes?watch=true", &[("accept", "application/json")], "").await.problem(406);
    let mut last = watches.pop().unwrap();
    last.until_synced().await;
    drop(watches);
    service.hub.stop();
    assert_eq!(last.next().await.unwrap().name, "cut");
    assert!(last.next().await.is_none());
    drop(last);
    assert!(service.metrics().contains("spurline_control_rest_watchers 0"), "{}", service.metrics());
}
