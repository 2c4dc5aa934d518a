//! Server-sent events as they come (WHATWG HTML, section 9.2).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::client::{End, RawClient};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its type.
    pub event: String,
    /// Its id, if it has one.
    pub id: String,
    /// Its data as JSON; null when it is none.
    pub data: Value,
}

/// An open watch.
#[derive(Debug)]
pub struct Watch {
    client: RawClient,
    text: String,
}

impl Watch {
    /// Begins to watch `target` with extra field lines; the head of what refuses it otherwise.
    pub fn open(address: SocketAddr, target: &str, fields: &str) -> Result<Self, String> {
        let mut client = RawClient::connect(address);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{fields}\r\n"
        ));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let byte = client.read_exact(1).map_err(|end| format!("{end:?} after {head:?}"))?;
            head.push(char::from(byte[0]));
        }
        let is_watch = head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("text/event-stream");
        if is_watch { Ok(Self { client, text: String::new() }) } else { Err(head) }
    }

    /// The next event; panics when none comes in time.
    pub fn event(&mut self) -> Event {
        self.try_event().unwrap_or_else(|end| panic!("no event: {end:?} after {:?}", self.text))
    }

    /// The next event, or how the watch ended.
    pub fn try_event(&mut self) -> Result<Event, End> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                // A comment keeps the connection alive and says nothing.
                if let Some(event) = event {
                    return Ok(event);
                }
                continue;
            }
            let chunk = self.chunk()?;
            self.text.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
        }
    }

    /// The events until `synced`, and that it came.
    pub fn until_synced(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.event();
            if event.event == "synced" {
                return events;
            }
            events.push(event);
        }
    }

    /// Replaces the time an event may take.
    #[must_use]
    pub fn patience(self, timeout: Duration) -> Self {
        Self { client: self.client.read_timeout(timeout), text: self.text }
    }

    fn chunk(&mut self) -> Result<Vec<u8>, End> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.client.read_exact(1)?);
        }
        let size = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
        let mut chunk = self.client.read_exact(size + 2)?;
        chunk.truncate(size);
        if size == 0 { Err(End::Fin) } else { Ok(chunk) }
    }
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let values: Vec<_> = lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let event = field("event")?;
    let data = field("data").and_then(|data| serde_json::from_str(&data).ok()).unwrap_or_default();
    Some(Event { event, id: field("id").unwrap_or_default(), data })
}
