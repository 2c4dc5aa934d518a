//! A thousand pushes, each mutated somehow, and after each the table that the `.proto` files demand.

use super::*;
use serde_json::{Value, json};
use spurline_tests::xds::reading::{Verdict, judge};
use spurline_tests::xds::{REJECTIONS, Resource};

const KEYS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// What the proxy's table has to be, as its admin server shows it; `None` where the text leaves it open.
type Model = BTreeMap<String, Option<Value>>;

fn shown(resource: &Resource) -> Value {
    let body = resource.resource.as_ref().expect("a body").value.clone();
    let body = routing::Override::decode(body).expect("an override");
    let (workload, key) = resource.name.rsplit_once('/').expect("a name");
    let ports: serde_json::Map<_, _> = body
        .ports
        .iter()
        .map(|port| {
            let endpoints: Vec<_> = port.endpoints.iter().map(|one| address(one).to_string()).collect();
            (if port.port == 0 { "*".to_owned() } else { port.port.to_string() }, json!(endpoints))
        })
        .collect();
    let on_unavailable = match routing::OnUnavailable::try_from(body.on_unavailable) {
        Ok(routing::OnUnavailable::Baseline) => "Baseline",
        _ => "Reject",
    };
    json!({
        "workload": workload, "key": key, "sandbox": body.sandbox, "fork": body.fork,
        "onUnavailable": on_unavailable, "ports": ports,
    })
}

fn address(endpoint: &routing::Endpoint) -> SocketAddr {
    let port = u16::try_from(endpoint.port).expect("a port");
    match <[u8; 4]>::try_from(&*endpoint.ip) {
        Ok(ip) => (ip, port).into(),
        Err(_) => (<[u8; 16]>::try_from(&*endpoint.ip).expect("an address"), port).into(),
    }
}

/// A push that is right: some overrides with random content, some removals.
fn push(random: &mut fastrand::Rng) -> Response {
    let mut response = update(OVERRIDE);
    let mut keys = KEYS.to_vec();
    random.shuffle(&mut keys);
    let (put, rest) = keys.split_at(random.usize(1..4));
    let mut world = World::default();
    for key in put {
        let endpoints: Vec<_> =
            (0..random.usize(0..3)).map(|_| ([127, 0, 0, 9], random.u16(1..)).into()).collect();
        let mut body = over_ride(&format!("fork-{}", random.u8(..)), &endpoints);
        body.on_unavailable = random.i32(0..3);
        body.ports[0].port = *random.choice(&[0, 80, 8080, 65_535]).expect("a port");
        world.put(OVERRIDE, &name(key), &body);
        response.resources.push(world.resource(OVERRIDE, &name(key)));
    }
    if random.bool() {
        response.removed_resources.push(name(rest[0]));
    }
    response
}

/// Changes something, somewhere: in the whole message, in one resource, in one body.
fn mutate(random: &mut fastrand::Rng, response: &mut Response) -> Option<Vec<u8>> {
    let which = random.usize(..response.resources.len());
    let resource = &mut response.resources[which];
    match random.u8(..12) {
        0 => {
            resource.name =
                (*random.choice(&["", "x", "a/b/c/d", "shop/Deployment/other/k", "🚂"]).expect("a name"))
                    .to_owned()
        }
        1 => resource.name.push_str(random.choice(&[" ", "/", "/x", "\0", "é"]).expect("an end")),
        2 => resource.version.clear(),
        3 => resource.resource = None,
        4 => resource.resource.as_mut().expect("a body").type_url = BASELINE.to_owned(),
        5 => {
            let twin = resource.clone();
            response.resources.push(twin);
        }
        6 => {
            let name = resource.name.clone();
            response.removed_resources.push(name);
        }
        7 | 8 => {
            let body = resource.resource.as_mut().expect("a body");
            let mut bytes = body.value.to_vec();
            damage(random, &mut bytes);
            body.value = bytes.into();
        }
        9 => {
            let body = resource.resource.as_mut().expect("a body");
            let mut rule = routing::Override::decode(body.value.clone()).expect("an override");
            distort(random, &mut rule);
            body.value = rule.encode_to_vec().into();
        }
        10 => {
            let mut bytes = response.encode_to_vec();
            damage(random, &mut bytes);
            return Some(bytes);
        }
        _ => {}
    }
    None
}

fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, random.u8(..)),
        }
    }
}

fn distort(random: &mut fastrand::Rng, rule: &mut routing::Override) {
    match random.u8(..7) {
        0 => rule.sandbox = "s".repeat(random.usize(799..803)),
        1 => rule.fork = (*random.choice(&["", " ", "a b", "ok", "é"]).expect("a fork")).to_owned(),
        2 => rule.on_unavailable = random.i32(..),
        3 => rule.ports.clear(),
        4 => rule.ports.push(routing::Port { port: random.u32(65_530..65_540), endpoints: Vec::new() }),
        5 => rule.ports[0]
            .endpoints
            .push(routing::Endpoint { ip: vec![1; random.usize(0..20)].into(), port: 80 }),
        _ => rule.ports[0]
            .endpoints
            .push(routing::Endpoint { ip: vec![1; 4].into(), port: random.u32(..70_000) }),
    }
}

/// What the model becomes by a response that the client answered so.
fn apply(model: &mut Model, session: &Session, response: &Response, rejected: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for gone in &response.removed_resources {
        model.remove(gone);
    }
    for resource in &response.resources {
        let subscribed = session.subscribes(OVERRIDE, &resource.name);
        let verdict = if subscribed { judge(response, resource) } else { Verdict::Reject };
        let is_rejected = rejected.contains(&resource.name);
        let ambiguous = response.resources.iter().filter(|one| one.name == resource.name).count() > 1
            || response.removed_resources.contains(&resource.name);
        match verdict {
            Verdict::Take if is_rejected => wrong.push(format!("rejected although right: {resource:?}")),
            Verdict::Reject if !is_rejected => wrong.push(format!("taken although wrong: {resource:?}")),
            _ if ambiguous => {
                model.insert(resource.name.clone(), None);
            }
            _ if is_rejected || resource.resource.is_none() => {}
            _ => {
                let row = shown_if_lasting(resource);
                match row {
                    Some(row) => model.insert(resource.name.clone(), Some(row)),
                    None => model.insert(resource.name.clone(), None),
                };
            }
        }
    }
    wrong
}

/// Damage may give an override an end, and then it depends on the clock.
fn shown_if_lasting(resource: &Resource) -> Option<Value> {
    let body = resource.resource.as_ref()?.value.clone();
    let rule = routing::Override::decode(body).ok()?;
    (rule.expires_unix_s == 0).then(|| shown(resource))
}

fn rejected_names(answer: &Request, response: &Response) -> Vec<String> {
    let Some(status) = &answer.error_detail else { return Vec::new() };
    let details = status.details.iter().filter(|detail| detail.type_url == REJECTIONS);
    let named: Vec<String> = details
        .flat_map(|detail| routing::Rejections::decode(detail.value.clone()).expect("rejections").rejections)
        .map(|one| one.name)
        .collect();
    if named.is_empty() { response.resources.iter().map(|one| one.name.clone()).collect() } else { named }
}

fn assert_table(case: &Case, model: &Model, what: &str) {
    let table = case.proxy.overrides();
    for (name, row) in model {
        if let Some(row) = row {
            assert_eq!(table.get(name), Some(row), "{what}");
        }
    }
    let unknown: Vec<_> = table.keys().filter(|name| !model.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} {what}");
}

#[test]
fn a_thousand_mutated_pushes_change_nothing_but_what_is_right_in_them() {
    let seed = std::env::var("SPURLINE_SEED").map_or(7, |seed| seed.parse().expect("a seed"));
    let mut random = fastrand::Rng::with_seed(seed);
    let ads = Ads::start();
    let case = Case::start(&ads.url());
    let world = case.world();
    let mut session = begin(&ads, &world);
    let anchor = || BTreeMap::from([(name(ANCHOR), Some(shown(&world.resource(OVERRIDE, &name(ANCHOR)))))]);
    let mut model: Model = anchor();
    let (mut rejections, mut streams) = (0, 1);
    for number in 0..1_000 {
        let mut response = push(&mut random);
        response.nonce = session.nonce();
        let raw = mutate(&mut random, &mut response);
        let sent = match &raw {
            None => Some(response.clone()),
            Some(bytes) => Response::decode(bytes.as_slice()).ok(),
        };
        let what = format!("after push {number} of seed {seed}: {sent:?}");
        match raw {
            None => session.send(&response),
            Some(bytes) => session.send_bytes(bytes),
        }
        // Damage to the frame may have made it a message for nobody, or none at all.
        let ours = sent.filter(|sent| sent.type_url == OVERRIDE && sent.nonce == response.nonce);
        let patience = if ours.is_some() { DEADLINE } else { Duration::from_secs(2) };
        let answer = match (ours, session.asked(patience)) {
            (Some(sent), spurline_tests::xds::Asked::Request(answer))
                if answer.response_nonce == sent.nonce =>
            {
                Some((sent, *answer))
            }
            (Some(_), other) => panic!("{other:?} {what}"),
            (None, _) => None,
        };
        if let Some((sent, answer)) = answer {
            let named = rejected_names(&answer, &sent);
            rejections += usize::from(!named.is_empty());
            let wrong = apply(&mut model, &session, &sent, &named);
            assert!(wrong.is_empty(), "{wrong:?} {what}");
        } else {
            // Begin anew from what is certain.
            ads.take_faults();
            session.end(tonic_status());
            session = begin(&ads, &world);
            model = anchor();
            streams += 1;
        }
        assert_table(&case, &model, &what);
        if number % 10 == 0 {
            case.assert_serves();
        }
    }
    println!("{rejections} of 1,000 pushes were rejected in part, over {streams} streams");
    assert!(rejections > 200, "{rejections} rejections");
    case.assert_serves();
}
