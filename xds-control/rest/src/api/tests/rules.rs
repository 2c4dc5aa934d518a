use super::*;

const RULES: &str = "/api/v1/workloads/routing-rules";

#[tokio::test]
async fn rules_have_the_form_that_existing_clients_read() {
    let service = Service::new();
    let mut document = sandbox("alice");
    document["spec"]["routingKey"] = json!("k");
    document["spec"]["forks"][0]["ports"] =
        json!({"8080": ["127.0.0.1:9102", "[::1]:9103"], "*": ["127.0.0.1:9104"]});
    service.put("/v1/sandboxes/alice", &document).await.ok();
    let wanted = json!({"routingRules": [{
        "routingKey": "k",
        "baseline": {"kind": "Deployment", "namespace": "shop", "name": "cart"},
        "destinationSandbox": {"name": "alice"},
        "mappings": [
            {"workloadPort": 8080, "destinations": [{"host": "127.0.0.1", "port": 9102}, {"host": "::1", "port": 9103}]},
            {"workloadPort": 0, "destinations": [{"host": "127.0.0.1", "port": 9104}]},
        ],
    }]});
    assert_eq!(service.get(RULES).await.ok(), wanted);
}

#[tokio::test]
async fn every_parameter_filters_empty_ones_do_not_and_unknown_ones_are_ignored() {
    let service = Service::new();
    for (name, key) in [("alice", "ka"), ("bob", "kb")] {
        let mut document = sandbox(name);
        document["spec"]["routingKey"] = json!(key);
        service.put(&format!("/v1/sandboxes/{name}"), &document).await.ok();
    }
    let found = async |query: &str| {
        let rules = service.get(&format!("{RULES}?{query}")).await.ok();
        rules["routingRules"].as_array().unwrap().len()
    };
    assert_eq!(found("").await, 2);
    assert_eq!(found("routingKey=ka").await, 1);
    assert_eq!(found("routingKey=&baselineKind=").await, 2);
    assert_eq!(found("destinationSandboxName=bob").await, 1);
    assert_eq!(found("baselineNamespace=shop&baselineKind=Deployment&baselineName=cart").await, 2);
    assert_eq!(found("baselineNamespace=other").await, 0);
    assert_eq!(found("routingKey=no%20key").await, 0);
    assert_eq!(found("someday=maybe").await, 2);
}

#[tokio::test]
async fn nothing_that_goes_wrong_can_be_taken_for_the_news_that_there_are_no_rules() {
    let service = Service::new();
    service.hub.expect_source("directory");
    let loading = service.get(RULES).await;
    assert_eq!((loading.status.as_u16(), loading.text()), (503, "still loading: directory\n"));
    assert_eq!(loading.headers["retry-after"], "1");
    service.hub.set_source_ready("directory");
    assert_eq!(service.get(RULES).await.ok(), json!({"routingRules": []}));
    let twice = service.get(&format!("{RULES}?routingKey=a&routingKey=b")).await;
    assert_eq!(twice.status, 400);
    assert!(serde_json::from_slice::<Value>(&twice.body).is_err(), "{}", twice.text());
}

#[tokio::test]
async fn more_rules_than_one_piece_holds_come_once_each() {
    let service = Service::new();
    for number in 0..20 {
        let forks: Vec<Value> = (0..500)
            .map(|fork| json!({"workload": format!("shop/Deployment/w{fork}"), "ports": {"80": ["127.0.0.1:1"]}}))
            .collect();
        let document = json!({"metadata": {"name": format!("s{number}")}, "spec": {"forks": forks}});
        service.put(&format!("/v1/sandboxes/s{number}"), &document).await.ok();
    }
    let rules = service.get(RULES).await.ok();
    let rules = rules["routingRules"].as_array().unwrap();
    let distinct: std::collections::BTreeSet<String> = rules.iter().map(ToString::to_string).collect();
    assert_eq!((rules.len(), distinct.len()), (10_000, 10_000));
}
