//! Put, get, list, delete; conditions and dry runs.

use super::*;

#[test]
fn what_was_put_is_got_changed_and_deleted() {
    let control = TestControl::start();
    let rest = control.rest();
    let answer = rest.send("PUT", "/v1/sandboxes/alice", "", &cart("alice").key("k3v9m2x7q4ab").text());
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(json_of(&answer)["status"]["routingKey"], "k3v9m2x7q4ab");
    assert_eq!(json_of(&answer)["status"]["accepted"], true);
    let got = rest.get("/v1/sandboxes/alice");
    assert_eq!(got["metadata"]["name"], "alice");
    assert_eq!(got["spec"]["forks"][0]["workload"], CART);
    assert_eq!(got["spec"]["forks"][0]["ports"]["8080"], json!(["127.0.0.1:9102"]));
    let created = got["status"]["createdAt"].clone();
    let changed = cart("alice").label("team", "checkout");
    assert_eq!(status_of(&rest, "PUT", &changed.target(), "", &changed.text()), 200);
    let got = rest.get("/v1/sandboxes/alice");
    assert_eq!(got["metadata"]["labels"]["team"], "checkout");
    assert_eq!(got["status"]["createdAt"], created, "a change does not make it younger");
    rest.delete(&changed);
    assert_eq!(status_of(&rest, "GET", "/v1/sandboxes/alice", "", ""), 404);
    assert_eq!(status_of(&rest, "DELETE", "/v1/sandboxes/alice", "", ""), 404);
}

#[test]
fn a_key_that_nobody_named_follows_from_the_name_and_is_safe_in_dns() {
    let control = TestControl::start();
    let rest = control.rest();
    let key =
        |document: &Document| rest.put(document)["status"]["routingKey"].as_str().expect("a key").to_owned();
    let alice = key(&cart("alice"));
    assert_eq!(alice.len(), 12);
    assert!(alice.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)), "{alice}");
    assert_eq!(key(&cart("alice").label("a", "b")), alice);
    assert_ne!(key(&cart("bob")), alice);
    assert_ne!(key(&Document::group("alice", &["alice"])), alice, "kinds do not share their keys");
}

#[test]
fn read_modify_write_works_with_what_was_read() {
    let control = TestControl::start();
    let rest = control.rest();
    for document in
        [cart("alice"), Document::group("team", &["alice"]), Document::workload(CART, &[free_address()])]
    {
        rest.put(&document);
        let mut read = rest.get(&document.target());
        read["metadata"]["labels"]["seen"] = "yes".into();
        let answer = rest.send("PUT", &document.target(), "", &read.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(rest.get(&document.target())["metadata"]["labels"]["seen"], "yes");
    }
}

#[test]
fn a_change_is_refused_when_the_document_is_not_the_one_that_was_read() {
    let control = TestControl::start();
    let rest = control.rest();
    let alice = cart("alice");
    let put = |fields: &str, document: &Document| {
        status_of(&rest, "PUT", &document.target(), fields, &document.text())
    };
    assert_eq!(put("If-Match: \"never\"\r\n", &alice), 412);
    assert_eq!(put("If-Match: *\r\n", &alice), 412);
    assert_eq!(put("If-None-Match: *\r\n", &alice), 201);
    assert_eq!(put("If-None-Match: *\r\n", &alice), 412);
    let first = tag(&rest, &alice);
    assert!(first.starts_with('"') && first.ends_with('"'), "a strong validator: {first}");
    assert_eq!(put(&format!("If-Match: {first}\r\n"), &alice.clone().label("n", "2")), 200);
    let second = tag(&rest, &alice);
    assert_ne!(first, second);
    assert_eq!(put(&format!("If-Match: {first}\r\n"), &alice.clone().label("n", "3")), 412);
    assert_eq!(put(&format!("If-Match: {first}, {second}\r\n"), &alice.clone().label("n", "4")), 200);
    let delete = |tag: &str| status_of(&rest, "DELETE", &alice.target(), &format!("If-Match: {tag}\r\n"), "");
    assert_eq!(delete(&second), 412);
    assert!(matches!(delete(&tag(&rest, &alice)), 200 | 204));
}

#[test]
fn of_many_writers_that_read_the_same_one_wins_each_time() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("alice"));
    for _ in 0..5 {
        let seen = tag(&rest, &cart("alice"));
        let results: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|number| {
                    let (rest, seen) = (&rest, &seen);
                    scope.spawn(move || {
                        let document = cart("alice").label("by", &format!("w{number}-{}", fastrand::u32(..)));
                        let condition = format!("If-Match: {seen}\r\n");
                        status_of(rest, "PUT", &document.target(), &condition, &document.text())
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        assert_eq!(results.iter().filter(|status| **status == 200).count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|status| **status == 412).count(), 7, "{results:?}");
    }
}

#[test]
fn what_is_not_modified_is_not_sent_again() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("alice"));
    let fields = format!("If-None-Match: {}\r\n", tag(&rest, &cart("alice")));
    let answer = rest.send("GET", "/v1/sandboxes/alice", &fields, "");
    assert!(matches!(answer.status, 200 | 304), "{}", answer.status);
}

#[test]
fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let control = TestControl::start();
    let rest = control.rest();
    let answer = rest.send("PUT", "/v1/sandboxes/alice?dryRun=true", "", &cart("alice").key("k").text());
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    assert_eq!(json_of(&answer)["status"]["routingKey"], "k");
    assert_eq!(status_of(&rest, "GET", "/v1/sandboxes/alice", "", ""), 404);
    rest.put(&cart("bob").key("k"));
    let answer = rest.send("PUT", "/v1/sandboxes/alice?dryRun=true", "", &cart("alice").key("k").text());
    assert_eq!(json_of(&answer)["status"]["accepted"], false, "the key is bob's: {}", answer.text());
    let answer = rest.send("PUT", "/v1/sandboxes/alice?dryRun=true", "", r#"{"spec": {"nonsense": 1}}"#);
    assert_eq!(answer.status, 400);
    assert!(matches!(status_of(&rest, "DELETE", "/v1/sandboxes/bob?dryRun=true", "", ""), 200 | 204));
    rest.get("/v1/sandboxes/bob");
    assert_eq!(status_of(&rest, "PUT", "/v1/sandboxes/alice?dryRun=perhaps", "", &cart("alice").text()), 400);
}

#[test]
fn lists_come_in_pages_and_by_label_and_lose_nothing() {
    let control = TestControl::start();
    let rest = control.rest();
    for number in 0..25 {
        let team = if number % 5 == 0 { "five" } else { "other" };
        rest.put(&cart(&format!("s{number:02}")).label("team", team));
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = rest.get(&format!("/v1/sandboxes?limit=7{after}"));
        let items = page["items"].as_array().expect("items").clone();
        assert!(items.len() <= 7);
        let Some(last) = items.last() else { break };
        after = format!("&after={}", last["metadata"]["name"].as_str().expect("a name"));
        names.extend(items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()));
    }
    let wanted: Vec<_> = (0..25).map(|number| format!("s{number:02}")).collect();
    assert_eq!(names, wanted);
    let page = rest.get("/v1/sandboxes?labelSelector=team%3Dfive");
    assert_eq!(page["items"].as_array().expect("items").len(), 5, "{page}");
    for wrong in ["limit=0", "limit=x", "nonsense=1", "labelSelector=%3D"] {
        let answer = rest.send("GET", &format!("/v1/sandboxes?{wrong}"), "", "");
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
}

#[test]
fn a_group_forks_what_its_members_fork_and_names_its_conflicts() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&cart("alice"));
    rest.put(&cart("bob"));
    let group = rest.put(&Document::group("team", &["alice", "bob", "nobody"]).key("team"));
    assert_eq!(group["status"]["routingKey"], "team");
    let status = group["status"].to_string();
    assert!(
        status.contains("bob") && status.contains(CART),
        "the conflict names member and workload: {status}"
    );
    let rules = rest.get("/api/v1/workloads/routing-rules?routingKey=team");
    let text = rules.to_string();
    assert!(text.contains("alice") && !text.contains("bob"), "the oldest counts: {text}");
    rest.put(&Document::group("team", &["alice", "bob"]).key("team").spec("conflict", json!("Newest")));
    let text = rest.get("/api/v1/workloads/routing-rules?routingKey=team").to_string();
    assert!(text.contains("bob") && !text.contains("alice"), "the newest counts: {text}");
    rest.put(&Document::group("team", &["alice", "bob"]).key("team").spec("conflict", json!("Reject")));
    rest.delete(&cart("bob"));
    let text = rest.get("/api/v1/workloads/routing-rules?routingKey=team").to_string();
    assert!(text.contains("alice"), "without a second there is no conflict: {text}");
}

#[test]
fn of_two_that_want_one_key_the_older_has_it_until_it_goes() {
    let control = TestControl::start();
    let rest = control.rest();
    assert_eq!(rest.put(&cart("zoe").key("k"))["status"]["accepted"], true);
    let later = rest.put(&cart("alice").key("k"));
    assert_eq!(later["status"]["accepted"], false);
    assert!(later["status"]["conflicts"].to_string().contains("zoe"), "{later}");
    // A change of the older one does not make it younger.
    assert_eq!(rest.put(&cart("zoe").key("k").label("n", "2"))["status"]["accepted"], true);
    rest.delete(&cart("zoe"));
    assert_eq!(rest.get("/v1/sandboxes/alice")["status"]["accepted"], true);
}

#[test]
fn everything_is_there_after_a_restart() {
    let control = TestControl::start();
    let rest = control.rest();
    for number in 0..30 {
        rest.put(&cart(&format!("s{number}")));
    }
    rest.put(&Document::group("team", &["s1", "s2"]));
    rest.put(&Document::workload(CART, &[free_address()]));
    rest.delete(&cart("s7"));
    let before: Vec<Value> =
        ["/v1/sandboxes?limit=100", "/v1/routegroups", "/v1/workloads"].map(|list| rest.get(list)).into();
    let tags = tag(&rest, &cart("s3"));
    let control = control.restarted();
    let rest = control.rest();
    let after: Vec<Value> =
        ["/v1/sandboxes?limit=100", "/v1/routegroups", "/v1/workloads"].map(|list| rest.get(list)).into();
    assert_eq!(before, after);
    assert_eq!(tags, tag(&rest, &cart("s3")));
    let (status, description) = control.stop();
    assert!(status.success(), "{status}");
    let control = description.start();
    assert_eq!(control.rest().sandboxes().len(), 29);
}
