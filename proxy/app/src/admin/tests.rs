use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use spurline_telemetry::log::{self, LogFormat, LogGuard};

use super::*;

/// A running server and what it was given.
struct Fixture {
    admin: Admin,
    readiness: Readiness,
    drains: Arc<AtomicU32>,
}

/// The log belongs to the process, so all tests share one.
fn level() -> LevelHandle {
    static LOG: OnceLock<(LevelHandle, LogGuard)> = OnceLock::new();
    LOG.get_or_init(|| log::init("warn", LogFormat::Text, Registry::new(0, "test").0.shared()).unwrap())
        .0
        .clone()
}

impl Fixture {
    fn new() -> Self {
        let (registry, _) = Registry::new(1, "test");
        let (readiness, drains) = (Readiness::default(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&drains);
        let state = AdminState {
            registry: Arc::new(registry),
            table: Arc::new(ArcSwap::from_pointee(RouteTable::empty())),
            config_dump: r#"{"workers":2}"#.into(),
            control: None,
            level: level(),
            drain: Box::new(move || _ = counted.fetch_add(1, Ordering::Relaxed)),
            readiness: readiness.clone(),
        };
        Self { admin: Admin::start((Ipv4Addr::LOCALHOST, 0).into(), state).unwrap(), readiness, drains }
    }

    /// Sends bytes and reads until the server closes.
    fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.admin.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Status and body of one request with additional header lines.
    fn send(&self, line: &str, fields: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let response = self.exchange(&format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
        ));
        let status = response.split(' ').nth(1).unwrap().parse().unwrap();
        (status, response.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.send(&format!("GET {target}"), "", "")
    }
}

#[test]
fn every_page_of_the_index_answers() {
    let fixture = Fixture::new();
    let (status, index) = fixture.get("/");
    assert_eq!(status, 200);
    for page in ["/healthz", "/readyz", "/metrics", "/config_dump", "/routes", "/control", "/log_level"] {
        assert!(index.contains(page));
        assert_eq!(fixture.get(page).0, 200, "{page}");
    }
    assert_eq!(fixture.get("/config_dump").1, r#"{"workers":2}"#);
    assert_eq!(fixture.get("/control").1, r#"{"enabled":false}"#);
    assert!(fixture.get("/metrics").1.ends_with("# EOF\n"));
    assert_eq!(fixture.get("/routes?limit=5").1, r#"{"generation":0,"total":0,"overrides":[]}"#);
}

#[test]
fn readiness_lists_what_is_awaited() {
    let fixture = Fixture::new();
    let guard = fixture.readiness.guard("routes");
    assert_eq!(fixture.get("/readyz"), (503, r#"{"awaiting":["routes"],"ready":false}"#.into()));
    assert_eq!(fixture.get("/healthz").0, 200);
    drop(guard);
    assert_eq!(fixture.get("/readyz"), (200, r#"{"ready":true}"#.into()));
}

#[test]
fn a_drain_is_started_by_post_only_and_ends_readiness() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/drain").0, 405);
    assert_eq!(fixture.drains.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.send("POST /drain", "", ""), (202, r#"{"draining":true}"#.into()));
    assert_eq!(fixture.drains.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.get("/readyz").0, 503);
}

#[test]
fn the_log_level_is_read_and_changed_and_a_wrong_one_refused() {
    let fixture = Fixture::new();
    assert_eq!(fixture.send("PUT /log_level", "", "error\n"), (200, r#"{"level":"error"}"#.into()));
    assert_eq!(fixture.get("/log_level").1, r#"{"level":"error"}"#);
    let (status, body) = fixture.send("PUT /log_level", "", "loud");
    assert_eq!(status, 400);
    assert!(body.starts_with(r#"{"error":"#), "{body}");
    assert_eq!(fixture.get("/log_level").1, r#"{"level":"error"}"#);
}

#[test]
fn what_is_not_served_is_refused_in_json() {
    let fixture = Fixture::new();
    let (status, body) = fixture.get("/nonsense");
    assert_eq!(status, 404);
    assert!(body.starts_with(r#"{"error":"no such page","pages":["/healthz""#), "{body}");
    let response = fixture.exchange("DELETE /log_level HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert!(response.to_ascii_lowercase().contains("\r\nallow: get,head,put\r\n"), "{response}");
    assert_eq!(fixture.get("/routes?limit=many").0, 400);
    assert_eq!(fixture.get("/routes?nonsense=1").0, 400);
    assert_eq!(fixture.get("/routes?limit=0").0, 400);
}

#[test]
fn a_large_body_is_not_read() {
    let fixture = Fixture::new();
    assert_eq!(fixture.send("PUT /log_level", "", &"x".repeat(BODY_BYTES_MAX + 1)).0, 413);
}

#[test]
fn a_web_page_neither_reads_nor_changes_anything() {
    let fixture = Fixture::new();
    let response = fixture.exchange("GET /routes HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    let origin = "origin: http://localhost:8000\r\n";
    assert_eq!(fixture.send("POST /drain", origin, "").0, 403);
    assert_eq!(fixture.drains.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.send("GET /healthz", origin, "").0, 200);
}

#[test]
fn a_bound_port_is_an_error_at_start() {
    let fixture = Fixture::new();
    let (registry, _) = Registry::new(0, "test");
    let state = AdminState {
        registry: Arc::new(registry),
        table: Arc::new(ArcSwap::from_pointee(RouteTable::empty())),
        config_dump: String::new(),
        control: None,
        level: level(),
        drain: Box::new(|| ()),
        readiness: Readiness::default(),
    };
    let error = Admin::start(fixture.admin.addr(), state).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn more_clients_than_places_wait_and_are_served() {
    let fixture = Fixture::new();
    let idle: Vec<_> =
        (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(fixture.admin.addr()).unwrap()).collect();
    let mut late = TcpStream::connect(fixture.admin.addr()).unwrap();
    late.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(late.read(&mut [0; 1]).is_err(), "served although every place was taken");
    drop(idle);
    late.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut response = String::new();
    late.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}
