//! The load of a client that speaks HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Directory, Got, Load, Plan, judge};
use crate::h2::{Client, Finish, Manners, fields};
use crate::ledger::{Outcome, Sent};
use crate::wire::frame;
use crate::wire::hpack::Pair;

/// How many requests are begun before the first answer is waited for.
const AT_ONCE: usize = 8;
/// A connection that goes away again and again is a fault of who lets it.
const TRIES_MAX: usize = 20;

/// One client and its log.
pub(super) struct Talk<'a> {
    pub(super) load: &'a Load,
    pub(super) number: usize,
    pub(super) resets_percent: u8,
    pub(super) random: fastrand::Rng,
    pub(super) log: Vec<Sent>,
}

impl Talk<'_> {
    pub(super) fn run(mut self, requests: usize, directory: &Directory, stop: &AtomicBool) -> Vec<Sent> {
        let mut connection: Option<Client> = None;
        for first in (0..requests).step_by(AT_ONCE) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let last = requests.min(first + AT_ONCE);
            let mut plans: Vec<Plan> = (first..last)
                .map(|sequence| self.load.plan(&mut self.random, self.number, sequence))
                .collect();
            for _ in 0..TRIES_MAX {
                let began = Instant::now();
                let mut client = match connection.take() {
                    Some(client) if client.goaways().is_empty() && client.is_open() => client,
                    _ => match directory.connect(&mut self.random, connect) {
                        Ok(client) => client,
                        Err(error) => {
                            let why = error.to_string();
                            let lost = |plan: Plan| plan.sent(began, Outcome::Unconnected(why.clone()));
                            self.log.extend(plans.drain(..).map(lost));
                            break;
                        }
                    },
                };
                let closes = plans.iter().any(|plan| plan.closes);
                self.give_up(&mut client, first);
                plans = exchange(&mut client, plans, began, &mut self.log);
                connection = Some(client).filter(|_| !closes);
                if plans.is_empty() {
                    break;
                }
            }
            self.log.extend(plans.into_iter().map(|plan| plan.sent(Instant::now(), Outcome::Cut)));
        }
        self.log
    }

    /// Begins requests and gives them up at once, or in the middle of others.
    fn give_up(&mut self, client: &mut Client, first: usize) {
        for more in 0..AT_ONCE {
            if self.random.u8(0..100) >= self.resets_percent {
                continue;
            }
            // Numbers beyond those of the requests that are waited for.
            let sequence = self.load.requests + first + more;
            let mut plan = self.load.plan(&mut self.random, self.number, sequence);
            let began = Instant::now();
            plan.method = if plan.body.is_some() { "PUT" } else { "GET" };
            let stream = client.open(&head(&plan), plan.body.is_none());
            if let Some((body, _)) = &plan.body
                && self.random.bool()
            {
                client.data(stream, body, true);
            }
            if self.random.bool() {
                client.ping();
            }
            client.reset(stream, frame::CANCEL);
            self.log.push(plan.sent(began, Outcome::GivenUp));
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<Client> {
    Client::try_with(address, &[], Manners::default())
}

fn head(plan: &Plan) -> Vec<Pair> {
    let path = format!("/ledger/{}", plan.id);
    let pseudo =
        [(":method", plan.method), (":scheme", "http"), (":authority", "shop.test"), (":path", &path)];
    let more = plan.fields.iter().map(|(name, value)| (*name, value.as_str()));
    let length = match &plan.body {
        Some((body, None)) => Some(body.len().to_string()),
        _ => None,
    };
    let length = length.iter().map(|length| ("content-length", length.as_str()));
    fields(&pseudo.into_iter().chain(more).chain(length).collect::<Vec<_>>())
}

/// Sends plans at once and logs what comes of them; gives back those that the peer says it has not begun.
fn exchange(client: &mut Client, plans: Vec<Plan>, began: Instant, log: &mut Vec<Sent>) -> Vec<Plan> {
    let streams: Vec<u32> = plans
        .iter()
        .map(|plan| {
            let stream = client.open(&head(plan), plan.body.is_none());
            if let Some((body, piece)) = &plan.body {
                for piece in body.chunks(piece.unwrap_or(usize::MAX)) {
                    client.data(stream, piece, false);
                }
                client.data(stream, b"", true);
            }
            stream
        })
        .collect();
    let mut unbegun = Vec::new();
    for (plan, stream) in plans.into_iter().zip(streams) {
        let answer = client.take(stream);
        let outcome = match answer.end {
            Some(Finish::Whole) => judge(&plan, &Got::from(answer)),
            Some(Finish::Lost(_)) if client.goaways().last().is_some_and(|(last, _)| stream > *last) => {
                unbegun.push(plan);
                continue;
            }
            _ => Outcome::Cut,
        };
        log.push(plan.sent(began, outcome));
    }
    unbegun
}
