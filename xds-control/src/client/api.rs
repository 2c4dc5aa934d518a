//! The REST API as the commands use it.

use std::{fs, sync::Arc, time::Duration};

use clap::ArgMatches;
use serde_json::Value;
use spurline_core::document::{Id, Kind};
use ureq::{
    Agent, Body, RequestBuilder,
    http::{Response, header::ETAG},
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
    unversioned::resolver::DefaultResolver,
};

use super::{files::Named, name, unix::UnixConnector};
use crate::outcome::Failure;

/// For the whole of a request, beyond what the service was asked to wait. The service gives its disk 30 s.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The longest answer that is read: a page of a list.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A control service.
pub(super) struct Api {
    agent: Agent,
    /// Scheme and authority.
    base: String,
    /// As it was typed.
    server: String,
    token: Option<String>,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    etag: Option<String>,
}

// === impl Api ===

impl Api {
    pub(super) fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let server = text("server").unwrap_or_default().trim_end_matches('/').to_owned();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            // A token is for the service only, and most of them are on this machine.
            .proxy(None)
            .user_agent(concat!("spurline-control/", env!("CARGO_PKG_VERSION")));
        let (agent, base) = if let Some(path) = server.strip_prefix("unix:") {
            let connector = UnixConnector::new(path.into());
            let agent = Agent::with_parts(config.build(), connector, DefaultResolver::default());
            (agent, "http://localhost".to_owned())
        } else if server.starts_with("https://") {
            let tls = tls_config(text("ca-file"), (text("cert-file"), text("key-file")))?;
            (config.tls_config(tls).build().new_agent(), server.clone())
        } else if server.starts_with("http://") {
            (config.build().new_agent(), server.clone())
        } else {
            let what = "allowed: http://host:port, https://host:port or unix:/path";
            return Err(Failure::usage(format_args!("--server={server}: {what}")));
        };
        let token = text("token-file").map(token).transpose()?;
        Ok(Self { agent, base, server, token })
    }

    pub(super) fn get(&self, id: &Id) -> Result<Answer, Failure> {
        self.ask(&path(id))
    }

    /// Waits on the service's side, at most for as long as it allows.
    pub(super) fn wait(&self, id: &Id, timeout: Duration) -> Result<Answer, Failure> {
        let request = self.agent.get(format!("{}{}{}", self.base, path(id), query_of(timeout)));
        self.answer(self.waiting(request, timeout).call())
    }

    /// A page of a list; `query` begins with a question mark.
    pub(super) fn list(&self, kind: Kind, query: &str) -> Result<Answer, Failure> {
        self.ask(&format!("{}{query}", collection(kind)))
    }

    pub(super) fn put(&self, id: &Id, document: &Value, query: &str) -> Result<Answer, Failure> {
        let request = self.agent.put(format!("{}{}{query}", self.base, path(id)));
        self.answer(self.signed(request).send_json(document))
    }

    /// Waits likewise until every proxy has forgotten it, if told to.
    pub(super) fn delete(&self, id: &Id, wait: Option<Duration>) -> Result<Answer, Failure> {
        let query = wait.map(query_of).unwrap_or_default();
        let request = self.agent.delete(format!("{}{}{query}", self.base, path(id)));
        self.answer(self.waiting(request, wait.unwrap_or_default()).call())
    }

    pub(super) fn heartbeat(&self, id: &Id) -> Result<Answer, Failure> {
        let request = self.agent.post(format!("{}{}/heartbeat", self.base, path(id)));
        self.answer(self.signed(request).send_empty())
    }

    fn ask(&self, target: &str) -> Result<Answer, Failure> {
        let request = self.agent.get(format!("{}{target}", self.base));
        self.answer(self.signed(request).call())
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", token),
            None => request,
        }
    }

    /// A request that the service was asked to answer after `wait` at the latest.
    fn waiting<B>(&self, request: RequestBuilder<B>, wait: Duration) -> RequestBuilder<B> {
        self.signed(request).config().timeout_global(Some(wait + TIMEOUT)).build()
    }

    fn answer(&self, called: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
        let failed = |error| match error {
            ureq::Error::Io(error) => Failure::failed(format_args!("{}: {error}", self.server)),
            ureq::Error::Protocol(error) => {
                Failure::failed(format_args!("{}: no HTTP: {error}; does it want https?", self.server))
            }
            error => Failure::failed(format_args!("{}: {error}", self.server)),
        };
        let mut response = called.map_err(failed)?;
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let text =
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(failed)?;
        // What is no JSON comes from something else than the service; the status says enough.
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status: response.status().as_u16(), body, etag })
    }
}

fn query_of(wait: Duration) -> String {
    format!("?wait=programmed&timeout={}ms", wait.as_millis())
}

fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Sandbox => "/v1/sandboxes",
        Kind::RouteGroup => "/v1/routegroups",
        Kind::Workload => "/v1/workloads",
    }
}

fn path(id: &Id) -> String {
    let name: Vec<String> = id.name.split('/').map(escape).collect();
    format!("{}/{}", collection(id.kind), name.join("/"))
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

fn token(path: &str) -> Result<String, Failure> {
    let token = contents("--token-file", path)?;
    let token = String::from_utf8(token).unwrap_or_default();
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format_args!(
            "--token-file={path}: no token in it; allowed: one, on one line"
        )));
    }
    Ok(format!("Bearer {token}"))
}

fn tls_config(ca: Option<&str>, identity: (Option<&str>, Option<&str>)) -> Result<TlsConfig, Failure> {
    let Some(ca) = ca else {
        return Err(Failure::usage("--ca-file is needed for https: whose certificate to accept"));
    };
    let client = match identity {
        (Some(cert), Some(key)) => Some(client_cert(cert, key)?),
        (None, None) => None,
        _ => return Err(Failure::usage("--cert-file and --key-file: one without the other")),
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates("--ca-file", ca)?))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

fn client_cert(cert: &str, key: &str) -> Result<ClientCert, Failure> {
    let chain = certificates("--cert-file", cert)?;
    let key = PrivateKey::from_pem(&contents("--key-file", key)?)
        .map_err(|_| Failure::usage(format_args!("--key-file={key}: no private key in it; allowed: PEM")))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn certificates(flag: &str, path: &str) -> Result<Vec<Certificate<'static>>, Failure> {
    let pem = contents(flag, path)?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match found.is_empty() {
        true => Err(Failure::usage(format_args!("{flag}={path}: no certificate in it; allowed: PEM"))),
        false => Ok(found),
    }
}

fn contents(flag: &str, path: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::usage(format_args!("{flag}={path}: {error}")))
}

// === impl Answer ===

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether two answers are about the same document in the same version, or at least with the same contents: an
    /// answer to a dry run has no version.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(this), Some(other)) => this == other,
            _ => ["spec", "metadata"].iter().all(|part| self.body.get(part) == other.body.get(part)),
        }
    }

    /// Why it was refused, for people.
    pub(super) fn problem(&self, id: &Id) -> Failure {
        Failure::failed(format_args!("{}: {}", name(id), self.lines(|_| None)))
    }

    /// The same, with the lines of the file that the document came from.
    pub(super) fn problem_in(&self, document: &Named) -> Failure {
        let lines = self.lines(|pointer| Some(document.place_of(pointer)));
        Failure::failed(format_args!("{}: {lines}", name(&document.id)))
    }

    /// The problem (RFC 9457) and, a line each, the faults of the document.
    fn lines(&self, place_of: impl Fn(&str) -> Option<String>) -> String {
        let text = |value: &Value, member: &str| {
            value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let title = text(&self.body, "title");
        let mut lines = vec![match text(&self.body, "detail") {
            detail if detail.is_empty() => format!("HTTP status {} {title}", self.status),
            detail => format!("{} {title}: {detail}", self.status),
        }];
        for fault in self.body.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let pointer = text(fault, "pointer");
            let place = place_of(&pointer).map_or_else(String::new, |place| format!("{place}: "));
            let pointer = if pointer.is_empty() { "the document" } else { &pointer };
            let (what, allowed) = (text(fault, "detail"), text(fault, "allowed"));
            lines.push(format!("{place}{pointer}: {what}; allowed: {allowed}"));
        }
        lines.join("\n")
    }
}
