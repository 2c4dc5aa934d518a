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
    let baseline = json!({
        "metadata": {"name": "shop/Deployment/cart"}, "spec": {"ports": {"8080": [], "9090": ["127.0.0.1:1"]}}
    });
    assert_eq!(service.put("/v1/workloads/shop/Deployment/cart", &baseline).await.status, 201);
    let wanted = json!({"routingRules": [{
        "routingKey": "k",
        "baseline": {"kind": "Deployment", "namespace": "shop", "name": "cart"},
        "destinationSandbox": {"name": "alice"},
        "mappings": [
            {"workloadPort": 8080, "destinations": [{"host": "127.0.0.1", "port": 9102}, {"host": "::1", "port": 9103}]},
            {"workloadPort": 9090, "destinations": [{"host": "127.0.0.1", "port": 9104}]},
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
