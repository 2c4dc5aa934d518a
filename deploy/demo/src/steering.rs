//! Single requests, one of each sort, and a table of who answered them.

use anyhow::Result;

use crate::client::{Answer, Connection, Field};
use crate::screen::{Cell, Screen, Style};
use crate::service::Version;
use crate::shop::{KEY, Map};
use crate::steady::cart_of;

const BAGGAGE: &str = "user=7,sd-routing-key=k3v6m2x7q4ab";
const EXPLAIN: Field<'static> = ("x-spurline-explain", "1");

/// A request to show.
struct Case {
    title: &'static str,
    fields: Vec<Field<'static>>,
    expected: Expected,
}

/// Who has to answer it.
enum Expected {
    /// The shop, with this copy of `cart`.
    Cart(Version),
    /// The gateway, with this `x-spurline-reason`.
    Refusal(&'static str),
}

fn cases() -> Vec<Case> {
    let unknown = ("sd-routing-key", "nobody-has-this");
    vec![
        Case { title: "no key", fields: vec![], expected: Expected::Cart(Version::Baseline) },
        Case {
            title: "key in baggage",
            fields: vec![("baggage", BAGGAGE)],
            expected: Expected::Cart(Version::Fork),
        },
        Case {
            title: "key in sd-routing-key",
            fields: vec![("sd-routing-key", KEY)],
            expected: Expected::Cart(Version::Fork),
        },
        Case { title: "unknown key", fields: vec![unknown], expected: Expected::Cart(Version::Baseline) },
        Case {
            title: "unknown key, strict",
            fields: vec![unknown, ("x-spurline-strict", "1")],
            expected: Expected::Refusal("unknown-routing-key"),
        },
        Case {
            title: "known key, strict",
            fields: vec![("sd-routing-key", KEY), ("x-spurline-strict", "1")],
            expected: Expected::Cart(Version::Fork),
        },
    ]
}

/// Sends one request of each sort and prints who answered. Returns whether all answers are as expected.
pub(crate) async fn run(map: &Map, screen: Screen) -> Result<bool> {
    screen.heading("Where each request goes");
    let mut gateway = Connection::new(map.gateway.listen);
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for case in cases() {
        let answer = gateway.get("/orders/1", &case.fields).await;
        let judged =
            answer.as_ref().map_err(|error| format!("{error:#}")).and_then(|answer| case.judge(answer));
        if let Err(complaint) = &judged {
            complaints.push(format!("{}: {complaint}", case.title));
        }
        rows.push(row(case.title, answer.as_ref().ok(), judged.is_ok()));
    }
    screen.table(&["request", "gateway", "frontend", "cart", "inventory", "status", ""], &rows);
    for complaint in &complaints {
        screen.verdict(false, complaint);
    }
    Ok(explain(map, screen).await? && complaints.is_empty())
}

fn row(title: &str, answer: Option<&Answer>, right: bool) -> Vec<Cell> {
    let mut cells = vec![Cell::plain(title)];
    let reason = answer.and_then(|answer| answer.header("x-spurline-reason"));
    cells.push(
        reason.map_or_else(|| Cell::plain("forwards"), |reason| Cell::plain(format!("refuses: {reason}"))),
    );
    let hops =
        answer.and_then(|answer| answer.reply().ok()).map(|reply| reply.answered_by).unwrap_or_default();
    for service in ["frontend", "cart", "inventory"] {
        let version = hops.iter().find(|hop| hop.service == service).map(|hop| hop.version);
        cells.push(match version {
            Some(Version::Baseline) => Cell::plain("baseline"),
            Some(Version::Fork) => Cell::new("fork @alice", Style::Fork),
            None => Cell::new("-", Style::Dim),
        });
    }
    cells.push(Cell::plain(
        answer.map_or_else(|| "none".to_owned(), |answer| answer.status.as_u16().to_string()),
    ));
    cells.push(Cell::mark(right));
    cells
}

/// Asks the gateway and cart's proxy to name their decision about the same request.
async fn explain(map: &Map, screen: Screen) -> Result<bool> {
    screen.heading("Why (x-spurline-explain: 1)");
    let mut held = true;
    for (proxy, decision) in [(&map.gateway, "baseline=not-forked"), (&map.cart.proxy, "override=cart@alice")]
    {
        let answer = Connection::new(proxy.listen).get("/orders/1", &[("baggage", BAGGAGE), EXPLAIN]).await?;
        let explained = answer.header("x-spurline-explain").unwrap_or("nothing");
        let right = explained.split(';').any(|part| part.trim() == decision);
        screen.verdict(right, &format!("{} says: {explained}", proxy.name));
        held &= right;
    }
    Ok(held)
}

// === impl Case ===

impl Case {
    fn judge(&self, answer: &Answer) -> Result<(), String> {
        match self.expected {
            Expected::Cart(expected) => {
                let reply = answer.reply().map_err(|error| format!("{error:#}"))?;
                let cart = cart_of(&reply, "/orders/1").map_err(|error| format!("{error:#}"))?;
                let text = || format!("the {} of cart answered, not the {}", cart.label(), expected.label());
                if cart == expected { Ok(()) } else { Err(text()) }
            }
            Expected::Refusal(expected) => match answer.header("x-spurline-reason") {
                Some(reason) if reason == expected && !answer.status.is_success() => Ok(()),
                reason => Err(format!("status {}, reason {reason:?}, not a refusal", answer.status.as_u16())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baggage_of_the_cases_holds_the_key() {
        assert!(BAGGAGE.ends_with(&format!("sd-routing-key={KEY}")));
    }
}
