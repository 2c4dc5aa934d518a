use std::collections::BTreeSet;

use super::*;

fn description() -> Value {
    serde_json::from_str(include_str!("../../openapi.json")).unwrap()
}

#[test]
fn every_route_is_described_with_its_methods_and_nothing_else_is() {
    let described: BTreeSet<(String, String)> = description()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(move |method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = ROUTES
        .iter()
        .flat_map(|route| route.allow.split(", ").map(|method| (route.path.to_owned(), method.to_owned())))
        .filter(|(_, method)| method != "HEAD")
        .collect();
    assert_eq!(described, served);
}

#[tokio::test]
async fn every_method_of_every_route_is_served_and_others_are_not() {
    let service = Service::new();
    for route in &ROUTES {
        let target = route.path.replace(['{', '}'], "");
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            let answer = service.send(method, &target, &[], "").await;
            if route.allow.split(", ").any(|allowed| allowed == method) {
                assert_ne!(answer.status, 405, "{method} {target}");
            } else {
                assert_eq!(answer.status, 405, "{method} {target}");
                assert_eq!(answer.headers["allow"], route.allow);
            }
        }
    }
}

#[test]
fn references_lead_somewhere() {
    let description = description();
    let text = description.to_string();
    let mut count = 0;
    for target in text.split(r##""$ref":"#"##).skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(description.pointer(target).is_some(), "{target}");
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[tokio::test]
async fn its_examples_are_accepted_and_served_as_json() {
    let service = Service::new();
    let served = service.get("/openapi.json").await;
    assert_eq!(served.headers["content-type"], "application/json");
    let description = served.ok();
    let mut count = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let Some(example) = item.pointer("/put/requestBody/content/application~1json/example") else {
            continue;
        };
        let collection: Vec<&str> = path.split('/').take(3).collect();
        let target = format!("{}/{}", collection.join("/"), example["metadata"]["name"].as_str().unwrap());
        let answer = service.put(&target, example).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn statuses_that_are_answered_are_described() {
    let service = Service::new();
    let description = description();
    let one = &description["paths"]["/v1/sandboxes/{name}"];
    let answers = [
        ("put", service.put("/v1/sandboxes/alice", &json!({})).await),
        ("put", service.put_sandbox("alice").await),
        ("put", service.put_sandbox("alice").await),
        (
            "put",
            service
                .send("PUT", "/v1/sandboxes/alice", &[("if-none-match", "*")], &sandbox("alice").to_string())
                .await,
        ),
        ("get", service.get("/v1/sandboxes/alice").await),
        ("get", service.get("/v1/sandboxes/nobody").await),
        ("delete", service.send("DELETE", "/v1/sandboxes/nobody", &[], "").await),
        ("delete", service.send("DELETE", "/v1/sandboxes/alice", &[], "").await),
    ];
    for (method, answer) in answers {
        let responses = &one[method]["responses"];
        assert!(!responses[answer.status.as_str()].is_null(), "{method}: {answer:?}");
    }
}
