//! A small client of the REST API, and documents for it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::RawClient;
use crate::wire::Response;

/// A client that opens a connection for each request.
#[derive(Debug, Clone)]
pub struct Rest {
    address: SocketAddr,
}

impl Rest {
    /// For the service at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request with extra field lines (each with its CRLF); panics when there is no answer.
    pub fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        self.try_send(method, target, fields, body)
            .unwrap_or_else(|| panic!("no answer to {method} {target} by {}", self.address))
    }

    /// One request, `None` when it is not answered.
    pub fn try_send(&self, method: &str, target: &str, fields: &str, body: &str) -> Option<Response> {
        let mut client = RawClient::try_connect(self.address).ok()?.read_timeout(Duration::from_secs(65));
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{kind}", self.address);
        client.try_send(format!("{head}{fields}Content-Length: {}\r\n\r\n{body}", body.len())).ok()?;
        client.response_to(method).ok()
    }

    /// Reads a target; panics unless it is there.
    pub fn get(&self, target: &str) -> Value {
        let answer = self.send("GET", target, "", "");
        assert_eq!(answer.status, 200, "GET {target}: {}", answer.text());
        json_of(&answer)
    }

    /// Puts a document; panics unless it is taken. Returns it as answered.
    pub fn put(&self, document: &Document) -> Value {
        self.put_with(document, "")
    }

    /// Puts a document with a query; panics unless it is taken.
    pub fn put_with(&self, document: &Document, query: &str) -> Value {
        let target = format!("{}{query}", document.target());
        let answer = self.send("PUT", &target, "", &document.text());
        assert!(matches!(answer.status, 200 | 201), "PUT {target}: {} {}", answer.status, answer.text());
        json_of(&answer)
    }

    /// Puts a document and waits until every proxy that needs it has it.
    pub fn put_programmed(&self, document: &Document) -> Value {
        let answer = self.put_with(document, "?wait=programmed&timeout=20s");
        let programmed = &answer["status"]["programmed"];
        assert_eq!(programmed["acknowledged"], programmed["proxies"], "not programmed: {answer}");
        answer
    }

    /// Deletes a document; panics unless it was there.
    pub fn delete(&self, document: &Document) {
        self.delete_with(document, "");
    }

    /// Deletes a document and waits until no proxy has it.
    pub fn delete_programmed(&self, document: &Document) {
        self.delete_with(document, "?wait=programmed&timeout=20s");
    }

    fn delete_with(&self, document: &Document, query: &str) {
        let target = format!("{}{query}", document.target());
        let answer = self.send("DELETE", &target, "", "");
        assert!(matches!(answer.status, 200 | 204), "DELETE {target}: {} {}", answer.status, answer.text());
    }

    /// The names of all sandboxes, over all pages.
    pub fn sandboxes(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(|last| format!("&after={last}")).unwrap_or_default();
            let page = self.get(&format!("/v1/sandboxes?limit=500{after}"));
            let items = page["items"].as_array().expect("a list of items").clone();
            if items.is_empty() {
                return names;
            }
            names
                .extend(items.iter().map(|one| one["metadata"]["name"].as_str().expect("a name").to_owned()));
        }
    }
}

/// The content of an answer as JSON.
pub fn json_of(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("no JSON ({error}) with {}: {}", answer.status, answer.text()))
}

/// A document as the REST API takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    collection: &'static str,
    name: String,
    value: Value,
}

impl Document {
    /// A sandbox without forks.
    pub fn sandbox(name: &str) -> Self {
        let value = json!({ "metadata": { "name": name }, "spec": { "forks": [] } });
        Self { collection: "sandboxes", name: name.to_owned(), value }
    }

    /// A route group of named sandboxes.
    pub fn group(name: &str, members: &[&str]) -> Self {
        let value = json!({ "metadata": { "name": name }, "spec": { "sandboxes": { "names": members } } });
        Self { collection: "routegroups", name: name.to_owned(), value }
    }

    /// A workload's baseline on port 8080.
    pub fn workload(name: &str, endpoints: &[SocketAddr]) -> Self {
        let value =
            json!({ "metadata": { "name": name }, "spec": { "ports": { "8080": texts(endpoints) } } });
        Self { collection: "workloads", name: name.to_owned(), value }
    }

    /// Its routing key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.spec("routingKey", key.into())
    }

    /// One more fork, on port 8080 of `workload`.
    #[must_use]
    pub fn fork(mut self, workload: &str, fork: &str, endpoints: &[SocketAddr]) -> Self {
        let fork = json!({ "workload": workload, "fork": fork, "ports": { "8080": texts(endpoints) } });
        self.value["spec"]["forks"].as_array_mut().expect("a sandbox").push(fork);
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.value["metadata"]["labels"][name] = value.into();
        self
    }

    /// Any part of the specification.
    #[must_use]
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.value["spec"][field] = value;
        self
    }

    /// Its path in the API.
    pub fn target(&self) -> String {
        format!("/v1/{}/{}", self.collection, self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// As JSON with its kind, for a file.
    pub fn file(&self) -> String {
        let kind = match self.collection {
            "sandboxes" => "Sandbox",
            "routegroups" => "RouteGroup",
            _ => "Workload",
        };
        let mut value = self.value.clone();
        value["kind"] = kind.into();
        value.to_string()
    }

    /// As text.
    pub fn text(&self) -> String {
        self.value.to_string()
    }
}

fn texts(endpoints: &[SocketAddr]) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}
