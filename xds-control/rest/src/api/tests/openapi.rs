use std::collections::BTreeSet;

use super::*;

fn description() -> Value {
    serde_json::from_str(include_str!("../../openapi.json")).unwrap()
}

/// Holds an answer against the description: its status, its form, and every field of it. All tests of the API do.
pub(super) fn check(method: &str, target: &str, answer: &Answer) {
    let description = description();
    let path = target.split('?').next().unwrap();
    let fits = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(part, text)| part.starts_with('{') || part == text)
    };
    let item = description["paths"].as_object().unwrap().iter().find(|(template, _)| fits(template));
    let operation = item.and_then(|(_, item)| item.get(method.to_lowercase().replace("head", "get")));
    let Some(operation) = operation else {
        assert!(matches!(answer.status.as_u16(), 401 | 403 | 404 | 405), "{method} {target}: {answer:?}");
        return;
    };
    let response = resolved(&description, &operation["responses"][answer.status.as_str()]);
    assert!(response.is_object(), "{method} {target}: not described: {answer:?}");
    if answer.body.is_empty() {
        return;
    }
    let form = answer.headers["content-type"].to_str().unwrap().split(';').next().unwrap();
    let schema = &response["content"][form]["schema"];
    assert!(schema.is_object(), "{method} {target}: not described: {answer:?}");
    if form.ends_with("json") {
        let wrong = mismatch(&description, schema, &answer.json());
        assert_eq!(wrong, None, "{method} {target}: {answer:?}");
    }
}

fn resolved<'d>(description: &'d Value, part: &'d Value) -> &'d Value {
    part["$ref"].as_str().map_or(part, |target| description.pointer(&target[1..]).unwrap())
}

/// What of a value a schema does not allow, as far as types, fields and listed words go.
fn mismatch(description: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = resolved(description, schema);
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        other => other == "null" && value.is_null(),
    };
    let right = match &schema["type"] {
        Value::Array(types) => types.iter().any(is),
        name => is(name),
    };
    let listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    if !right || !listed || schema.get("const").is_some_and(|only| only != value) {
        return Some(format!("{value} is none of {schema}"));
    }
    let inside = |schema: &Value, value: &Value| mismatch(description, schema, value);
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| inside(&schema["items"], item));
    }
    let fields = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) =
        required.map(|name| name.as_str().unwrap()).find(|name| !fields.contains_key(*name))
    {
        return Some(format!("{missing} is missing in {value}"));
    }
    fields.iter().find_map(|(name, value)| {
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) | (None, schema @ Value::Object(_)) => inside(schema, value),
            (None, Value::Null) if schema["properties"].is_null() => None,
            _ => Some(format!("{name} is not described")),
        }
    })
}

#[test]
fn what_is_not_as_described_is_noticed() {
    let description = description();
    let schema = json!({"$ref": "#/components/schemas/Programmed"});
    let wrong = |value: Value| mismatch(&description, &schema, &value).is_some();
    assert!(!wrong(json!({"acknowledged": 1, "proxies": 2, "rejected": []})));
    assert!(wrong(json!({"acknowledged": 1, "proxies": 2})));
    assert!(wrong(json!({"acknowledged": 1, "proxies": "2", "rejected": []})));
    assert!(wrong(json!({"acknowledged": 1, "proxies": 2, "rejected": [], "more": 1})));
    assert!(wrong(json!({"acknowledged": 1, "proxies": 2, "rejected": [{"node": 1}]})));
}

#[test]
fn limits_are_those_of_the_code() {
    let description = description();
    let at = |pointer: &str| {
        let found = description.pointer(&format!("/components/schemas/{pointer}"));
        usize::try_from(found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer}"))).unwrap()
    };
    assert_eq!(at("Name/maxLength"), document::NAME_LEN_MAX);
    assert_eq!(at("Labels/maxProperties"), document::LABELS_MAX);
    assert_eq!(at("Sandbox/properties/spec/properties/forks/maxItems"), document::FORKS_MAX);
    assert_eq!(at("Fork/properties/fork/maxLength"), document::FORK_LEN_MAX);
    assert_eq!(at("Ports/maxProperties"), document::PORTS_MAX);
    assert_eq!(at("Ports/additionalProperties/maxItems"), document::ENDPOINTS_MAX);
    let members = "RouteGroup/properties/spec/properties/sandboxes/properties/names/maxItems";
    assert_eq!(at(members), document::MEMBERS_MAX);
    let said = description["info"]["description"].as_str().unwrap();
    for part in
        [format!("{REQUESTS_MAX} requests"), format!("{WAITS_MAX} wait"), format!("{WATCHES_MAX} watch")]
    {
        assert!(said.contains(&part), "{part}");
    }
}

#[tokio::test]
async fn parameters_that_are_described_are_known_and_no_others_are() {
    let service = Service::new();
    service.put_sandbox("alice").await;
    let description = description();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let described = operation["parameters"].as_array().into_iter().flatten();
            let described = described.map(|parameter| resolved(&description, parameter));
            let described: Vec<&str> = described
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let is_known = async |name: &str| {
                let target =
                    format!("{}?{name}=%21", path.replace("{name}", "alice").replace(['{', '}'], ""));
                let answer = service.send(&method.to_uppercase(), &target, &[], "").await;
                !String::from_utf8_lossy(&answer.body).contains("unknown parameter")
            };
            for name in &described {
                assert!(is_known(name).await, "{method} {path}: {name}");
            }
            // Two take any, as what they are compatible with does, or as files do.
            if !path.starts_with("/api/") && path != "/openapi.json" {
                for name in ["nonsense", "limit", "wait", "dryRun", "watch"] {
                    assert_eq!(is_known(name).await, described.contains(&name), "{method} {path}: {name}");
                }
            }
        }
    }
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
