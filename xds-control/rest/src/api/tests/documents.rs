use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn every_fault_of_a_document_comes_with_its_place_and_what_is_allowed() {
    let service = Service::new();
    let wrong = json!({"metadata": {"name": "alice"}, "spec": {"routingKey": "no key", "forks": [{"workload": "cart"}]}});
    let problem = service.put("/v1/sandboxes/alice", &wrong).await.problem(400);
    let errors = problem["errors"].as_array().unwrap();
    assert!(errors.len() >= 2, "{problem}");
    for error in errors {
        assert!(error["pointer"].as_str().unwrap().starts_with("/spec/"), "{error}");
        assert!(
            !error["detail"].as_str().unwrap().is_empty() && !error["allowed"].as_str().unwrap().is_empty()
        );
    }
}

#[tokio::test]
async fn what_is_not_json_or_another_document_is_refused() {
    let service = Service::new();
    let json = [("content-type", "application/json")];
    for body in ["", "{", "[]", "null", "\u{0}"] {
        service.send("PUT", "/v1/sandboxes/alice", &json, body).await.problem(400);
    }
    let other = service.put("/v1/sandboxes/alice", &sandbox("bob")).await.problem(400);
    assert_eq!(other["errors"][0]["pointer"], "/metadata/name");
    let text = sandbox("alice").to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = service.send("PUT", "/v1/sandboxes/alice", &[("content-type", kind)], &text).await;
        let detail = answer.problem(415)["detail"].to_string();
        let sent = kind.split(';').next().unwrap();
        assert!(detail.contains(sent) && detail.contains("allowed: application/json"), "{detail}");
    }
    let coded = [("content-type", "application/json"), ("content-encoding", "gzip")];
    service.send("PUT", "/v1/sandboxes/alice", &coded, &text).await.problem(415);
    let charset = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(service.send("PUT", "/v1/sandboxes/alice", &charset, &text).await.status, 201);
    service
        .send("GET", "/v1/sandboxes/alice", &[("accept", "text/html, application/json;q=0")], "")
        .await
        .problem(406);
    assert_eq!(
        service.send("GET", "/v1/sandboxes/alice", &[("accept", "text/html, */*;q=0.1")], "").await.status,
        200
    );
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused_wherever_it_is() {
    let service = Service::new();
    for (body, name) in [
        (r#"{"spec": {"forks": []}, "spec": {"forks": []}}"#, "spec"),
        (r#"{"spec": {"forks": [{"workload": "a/B/c", "ports": {"80": [], "80": []}}]}}"#, "80"),
        (r#"{"spec": {"forks": []}, "status": {"a": [{"b": 1.5, "b": -1, "c": true}]}}"#, "b"),
    ] {
        let problem = service.send("PUT", "/v1/sandboxes/alice", &[], body).await.problem(400);
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{name:?} stands twice")), "{detail}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_in_the_way_and_what_is_allowed() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let text = sandbox("alice").to_string();
    let refused = async |method: &str, target: &str, field: (&str, &str), status| {
        let answer = service.send(method, target, &[field], &text).await;
        answer.problem(status)["detail"].as_str().unwrap().to_owned()
    };
    let one = "/v1/sandboxes/alice";
    let exists = refused("PUT", one, ("if-none-match", "*"), 412).await;
    assert!(exists.contains("Sandbox alice exists"), "{exists}");
    let unquoted = refused("PUT", one, ("if-match", "0000000000000001"), 400).await;
    assert!(unquoted.contains("quotes included"), "{unquoted}");
    let method = refused("POST", one, ("accept", "*/*"), 405).await;
    assert_eq!(method, "POST is not served here; allowed: GET, HEAD, PUT, DELETE");
    let path = refused("GET", "/v1/sandboxes/%ff", ("accept", "*/*"), 400).await;
    assert!(path.contains("allowed: UTF-8"), "{path}");
    let slash = refused("GET", "/v1/sandboxes/", ("accept", "*/*"), 404).await;
    assert!(slash.contains("there are /v1/sandboxes, "), "{slash}");
}

#[tokio::test]
async fn the_path_names_the_document_and_the_body_need_not() {
    let service = Service::new();
    let ports = json!({"8080": ["127.0.0.1:9102"]});
    for (target, spec) in [
        ("/v1/sandboxes/alice", json!({"forks": [{"workload": "shop/Deployment/cart", "ports": ports}]})),
        ("/v1/routegroups/team", json!({"sandboxes": {"names": ["alice"]}})),
        ("/v1/workloads/shop/Deployment/cart", json!({"ports": ports})),
    ] {
        let name = target.splitn(4, '/').nth(3).unwrap();
        let bare = service.put(target, &json!({"spec": spec})).await;
        assert_eq!(bare.status, 201, "{bare:?}");
        assert_eq!(bare.json()["metadata"]["name"], name);
        for metadata in [json!(null), json!({}), json!({"name": null}), json!({"name": name})] {
            let again = service.put(target, &json!({"metadata": metadata, "spec": spec})).await;
            assert_eq!((again.status.as_u16(), again.etag()), (200, bare.etag()), "{metadata}");
        }
        let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        assert_eq!(service.put(target, &labelled).await.json()["metadata"]["labels"]["a"], "b");
        let other = json!({"metadata": {"name": "other"}, "spec": {"nonsense": 1}});
        let problem = service.put(target, &other).await.problem(400);
        let errors = problem["errors"].as_array().unwrap();
        let of_name = errors.iter().find(|error| {
            let text = error["detail"].as_str().unwrap();
            error["pointer"] == "/metadata/name" && text.contains("not the name in the path")
        });
        assert!(of_name.unwrap()["allowed"].as_str().unwrap().contains(name), "{problem}");
        assert!(
            errors.iter().any(|error| error["pointer"] == "/spec/nonsense"),
            "with all others: {problem}"
        );
    }
    let unnamed = service.put("/v1/sandboxes/No_Name", &json!({"spec": {"forks": []}})).await.problem(400);
    assert_eq!(unnamed["errors"][0]["pointer"], "/metadata/name");
}

#[tokio::test]
async fn a_document_that_is_too_long_is_refused_announced_or_not() {
    let service = Service::new();
    let long = format!("\"{}\"", "x".repeat(1024 * 1024));
    service.send("PUT", "/v1/sandboxes/alice", &[], &long).await.problem(413);
    let chunks = futures_util::stream::iter([(); 3].map(|()| Ok::<_, std::io::Error>(long.clone())));
    let request = Request::put("/v1/sandboxes/alice").body(Body::from_stream(chunks)).unwrap();
    service.call(request).await.problem(413);
}

#[tokio::test]
async fn parameters_that_are_not_understood_are_refused() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    for target in [
        "/v1/sandboxes/alice?nonsense=1",
        "/v1/sandboxes/alice?wait=forever",
        "/v1/sandboxes/alice?wait=programmed&timeout=1h",
        "/v1/sandboxes/alice?timeout=1s",
        "/v1/sandboxes/alice?wait=programmed&wait=programmed",
        "/v1/sandboxes?limit=0",
        "/v1/sandboxes?limit=501",
        "/v1/sandboxes?labelSelector=%3D",
        "/v1/sandboxes?watch=yes",
        "/v1/status?pretty",
    ] {
        let problem = service.get(target).await.problem(400);
        assert!(problem["errors"][0]["allowed"].as_str().is_some(), "{target}: {problem}");
    }
    service.get("/v1/sandboxes/%ff").await.problem(400);
    service.get("/v1/sandboxes/").await.problem(404);
}

#[tokio::test]
async fn a_write_says_what_became_of_it_and_a_read_the_same() {
    let service = Service::new();
    let created = service.put_sandbox("alice").await;
    assert_eq!(
        (created.status.as_u16(), created.headers["location"].to_str().unwrap()),
        (201, "/v1/sandboxes/alice")
    );
    let (etag, status) = (created.etag(), created.json()["status"].clone());
    assert_eq!(status["accepted"], true);
    assert_eq!(status["origin"], "Store");
    assert_eq!(status["programmed"], json!({"acknowledged": 0, "proxies": 0, "rejected": []}));
    assert_eq!(status["createdAt"], "2027-01-15T08:00:00.000Z");
    let again = service.put_sandbox("alice").await;
    assert_eq!((again.status.as_u16(), again.etag()), (200, etag.clone()), "nothing changed");
    let read = service.get("/v1/sandboxes/alice").await;
    assert_eq!(read.etag(), etag);
    let mut document = read.json();
    document["metadata"]["labels"]["seen"] = json!("yes");
    let written = service.put("/v1/sandboxes/alice", &document).await;
    assert_eq!(written.status, 200, "what was read can be written: {written:?}");
    assert_ne!(written.etag(), etag);
    let condition = [("if-none-match", written.etag())];
    let condition: Vec<(&str, &str)> =
        condition.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(service.send("GET", "/v1/sandboxes/alice", &condition, "").await.status, 304);
    service.send("GET", "/v1/sandboxes/alice", &[("if-match", &etag)], "").await.problem(412);
}

#[tokio::test]
async fn of_two_who_read_the_same_one_writes() {
    let service = Service::new();
    let etag = service.put_sandbox("alice").await.etag();
    let put = async |value: &str| {
        let mut document = sandbox("alice");
        document["metadata"]["labels"]["by"] = json!(value);
        service.send("PUT", "/v1/sandboxes/alice", &[("if-match", &etag)], &document.to_string()).await
    };
    let (first, second) = tokio::join!(put("first"), put("second"));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let refused = if first.status == 412 { first } else { second };
    assert_eq!(refused.etag(), service.get("/v1/sandboxes/alice").await.etag(), "the current one is told");
    service.send("DELETE", "/v1/sandboxes/alice", &[("if-match", &etag)], "").await.problem(412);
    assert_eq!(service.send("DELETE", "/v1/sandboxes/alice", &[("if-match", "*")], "").await.status, 204);
    service.send("DELETE", "/v1/sandboxes/alice", &[("if-match", "*")], "").await.problem(412);
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await.problem(404);
}

#[tokio::test]
async fn a_version_is_never_given_out_twice() {
    let service = Service::new();
    let first = service.put_sandbox("alice").await.etag();
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await;
    let second = service.put_sandbox("alice").await.etag();
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_dry_run_says_who_has_the_key_and_changes_nothing() {
    let service = Service::new();
    let mut document = sandbox("alice");
    document["spec"]["routingKey"] = json!("k");
    let dry = service.put("/v1/sandboxes/alice?dryRun=true", &document).await.ok();
    assert_eq!((&dry["status"]["routingKey"], &dry["status"]["accepted"]), (&json!("k"), &json!(true)));
    service.get("/v1/sandboxes/alice").await.problem(404);
    let mut bob = sandbox("bob");
    bob["spec"]["routingKey"] = json!("k");
    service.put("/v1/sandboxes/bob", &bob).await;
    service.pass(Duration::from_millis(1));
    let dry = service.put("/v1/sandboxes/alice?dryRun=true", &document).await.ok();
    assert_eq!(dry["status"]["accepted"], false);
    assert_eq!(dry["status"]["conflicts"][0]["with"]["name"], "bob");
    assert_eq!(service.send("DELETE", "/v1/sandboxes/bob?dryRun=true", &[], "").await.status, 204);
    assert_eq!(service.get("/v1/sandboxes/bob").await.status, 200);
}

#[tokio::test]
async fn what_a_file_says_is_changed_there() {
    let service = Service::new();
    service.apply_file(Kind::Sandbox, &sandbox("alice"));
    let read = service.get("/v1/sandboxes/alice").await;
    assert!(!read.etag().is_empty());
    assert_eq!(read.json()["status"]["origin"], "File");
    let problem = service.put_sandbox("alice").await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("alice.yaml"), "{problem}");
    service.send("DELETE", "/v1/sandboxes/alice", &[], "").await.problem(409);
    service.send("POST", "/v1/sandboxes/alice/heartbeat", &[], "").await.problem(409);
}

#[tokio::test]
async fn times_to_live_end_documents_and_heartbeats_keep_them() {
    let service = Service::new();
    let with_ttl = |name: &str, ttl: Value| {
        let mut document = sandbox(name);
        document["spec"]["ttl"] = ttl;
        document
    };
    let brief = with_ttl("brief", json!({"after": "1h"}));
    let answer = service.put("/v1/sandboxes/brief", &brief).await.ok();
    assert_eq!(answer["status"]["expiresAt"], "2027-01-15T09:00:00.000Z");
    let idle = service.put("/v1/sandboxes/idle", &with_ttl("idle", json!({"idle": "1h"}))).await.etag();
    service.pass(Duration::from_secs(40 * 60));
    let beat = service.send("POST", "/v1/sandboxes/idle/heartbeat", &[], "").await.ok();
    assert_eq!(beat["expiresAt"], "2027-01-15T09:40:00.000Z");
    assert_eq!(service.get("/v1/sandboxes/idle").await.etag(), idle, "a heartbeat is no change");
    service.put("/v1/sandboxes/brief", &brief).await;
    service.pass(Duration::from_secs(30 * 60));
    eventually("brief ends", async || (service.get("/v1/sandboxes/brief").await.status == 404).then_some(()))
        .await;
    assert_eq!(service.get("/v1/sandboxes/idle").await.status, 200);
    service.pass(Duration::from_secs(60 * 60));
    eventually("idle ends", async || (service.get("/v1/sandboxes/idle").await.status == 404).then_some(()))
        .await;
    service.put("/v1/sandboxes/old", &with_ttl("old", json!({"after": "2h"}))).await;
    service.pass(Duration::from_secs(90 * 60));
    let problem =
        service.put("/v1/sandboxes/old", &with_ttl("old", json!({"after": "1h"}))).await.problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/spec/ttl/after");
}

#[tokio::test]
async fn lists_come_in_pages_and_lose_nothing() {
    let service = Service::new();
    for number in 0..25 {
        let mut document = sandbox(&format!("s{number:02}"));
        document["metadata"]["labels"]["even"] = json!((number % 2 == 0).to_string());
        service.put(&format!("/v1/sandboxes/s{number:02}"), &document).await.ok();
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/v1/sandboxes?limit=7{after}")).await.ok();
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, (0..25).map(|number| format!("s{number:02}")).collect::<Vec<_>>());
    let even = service.get("/v1/sandboxes?labelSelector=even%3Dtrue,team").await.ok();
    assert_eq!(even["items"].as_array().unwrap().len(), 13);
    assert_eq!(even["items"][0]["status"]["accepted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_over_when_every_proxy_has_it_and_says_who_does_not() {
    let service = Service::new();
    let started = Instant::now();
    let answer = service.put("/v1/sandboxes/none?wait=programmed&timeout=60s", &sandbox("none")).await;
    assert_eq!(answer.status, 201, "nobody needs it");
    let mut proxy = service.hub.open_stream();
    proxy.subscribe(ResourceType::Override, &Pattern::All);
    let missing = service.put("/v1/sandboxes/alice?wait=programmed&timeout=100ms", &sandbox("alice")).await;
    assert_eq!(missing.status, 202);
    assert_eq!(missing.json()["status"]["programmed"]["proxies"], 1);
    let waiting = service.get("/v1/sandboxes/alice?wait=programmed&timeout=60s");
    let acknowledge = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let revision = service.hub.catalog(spurline_core::catalog::Catalog::revision);
        proxy.acknowledged(ResourceType::Override, revision);
    };
    let (answer, ()) = tokio::join!(waiting, acknowledge);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"]["programmed"]["acknowledged"], 1);
    let deleted = service.send("DELETE", "/v1/sandboxes/alice?wait=programmed&timeout=100ms", &[], "").await;
    assert_eq!(deleted.status, 202);
    assert_eq!(deleted.json()["status"]["programmed"]["acknowledged"], 0);
    assert!(started.elapsed() < Duration::from_secs(60));
}
