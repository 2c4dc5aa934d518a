//! Many streams, and streams that do not read, do not answer, or do not stop.

use super::*;

/// A few megabytes that a client of everything has to be sent.
fn bulk() -> Vec<Document> {
    let workloads: Vec<String> = (0..800).map(|number| format!("bulk/Deployment/w{number}")).collect();
    let names: Vec<&str> = workloads.iter().map(String::as_str).collect();
    (0..20).map(|number| sandbox(&format!("bulk{number}"), &names, 1)).collect()
}

/// How long until a follower has a change, once.
fn latency(rest: &Rest, follower: &mut Follower, number: u16) -> Duration {
    let before = follower.versions(OVERRIDE);
    rest.put(&sandbox("probe", &[CART], number + 1));
    let started = Instant::now();
    while follower.versions(OVERRIDE) == before {
        assert!(started.elapsed() < DEADLINE, "a change does not come");
        follower.read(Duration::from_millis(100));
        while follower.ack() {}
    }
    started.elapsed()
}

#[test]
fn readers_that_are_dead_or_never_answer_cost_no_memory_and_delay_nobody() {
    let control = TestControl::start();
    let rest = control.rest();
    for document in bulk() {
        rest.put(&document);
    }
    let mut prompt = follower(&control, "prompt");
    prompt.settle(QUIET);
    let connections: Vec<Connection> = (0..9).map(|_| control.connection()).collect();
    let before = control.resident_bytes();
    let mut dead: Vec<Stream> =
        (0..260).map(|number| connections[number % 9].stream(&format!("dead-{number}"))).collect();
    for stream in &mut dead {
        stream.subscribe(OVERRIDE, &["*"], &[]);
    }
    // Read and never answer. With the dead on their connection there would be no window left for them.
    let mut mute: Vec<Stream> =
        (0..40).map(|number| control.connection().stream(&format!("mute-{number}"))).collect();
    for stream in &mut mute {
        stream.subscribe(OVERRIDE, &["*"], &[]);
        stream.response();
    }
    let mut latencies: Vec<Duration> = (0..15).map(|number| latency(&rest, &mut prompt, number)).collect();
    latencies.sort_unstable();
    for document in bulk() {
        rest.put(&document.spec("ttl", serde_json::json!({ "after": "72h" })));
    }
    let grown = control.resident_bytes().saturating_sub(before);
    println!(
        "300 readers that are dead or mute: {} KiB each; a change took {latencies:?}",
        grown / 300 / 1024
    );
    // One whose turn came after theirs would wait 5 seconds for each of them.
    assert!(latencies[7] < Duration::from_secs(4), "{latencies:?}");
    // The update is several megabytes: a queue for each reader would be above a gigabyte.
    assert!(grown < 300 << 20, "{} MiB more", grown >> 20);
    prompt.assert_conduct();
}

/// How long until somebody new has a first answer.
fn first_answer(control: &TestControl, id: &str) -> Duration {
    let started = Instant::now();
    let mut stream = control.connection().stream(id);
    stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    let response = stream.response();
    stream.ack(&response);
    started.elapsed()
}

#[test]
fn readers_without_a_window_lock_nobody_out_and_are_let_go() {
    let control = TestControl::start();
    let rest = control.rest();
    for document in bulk() {
        rest.put(&document);
    }
    rest.put(&sandbox("probe", &[CART], 1));
    let before = control.resident_bytes();
    let connections: Vec<Connection> =
        [0, 0, 1].into_iter().map(|window| Connection::with_window(control.grpc(), window)).collect();
    let mut dead: Vec<Stream> =
        (0..300).map(|number| connections[number % 3].stream(&format!("dead-{number}"))).collect();
    for stream in &mut dead {
        stream.subscribe(OVERRIDE, &["*"], &[]);
    }
    eventually("all places of first updates are taken", || {
        let waiting = control.metrics().sum("spurline_control_ads_initial_syncs_waiting", &[]);
        (waiting > 90.0).then_some(())
    });
    let locked_out = first_answer(&control, "new");
    let grown = control.resident_bytes().saturating_sub(before);
    println!("a first answer after {locked_out:?}; {} KiB for each dead reader", grown / 300 / 1024);
    // They hold the places for 5 seconds, whatever they do, and are let go after 20.
    assert!(locked_out < Duration::from_secs(15), "{locked_out:?}");
    // A response of each, at most 512 KiB, and what the allocator and HTTP/2 keep beside it.
    assert!(grown < 300 << 20, "{} KiB for each", grown / 300 / 1024);
    // No longer than 20 seconds after the last was handed over.
    eventually_within(DEADLINE * 3, "the dead are let go", || {
        (control.metrics().sum("spurline_control_ads_streams", &[]) == 0.0).then_some(())
    });
    assert!(first_answer(&control, "newer") < Duration::from_secs(5));
}

#[test]
fn the_port_of_proxies_does_not_speak_to_pages_in_browsers() {
    use std::io::{Read, Write};
    let control = TestControl::start();
    let mut page = std::net::TcpStream::connect(control.grpc()).expect("connect");
    page.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: rebound.example:7777\r\nOrigin: http://rebound.example:7777\r\n\
         Content-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"
    );
    page.write_all(head.as_bytes()).expect("write");
    let mut answer = Vec::new();
    // It may be cut with a reset.
    let _ = page.read_to_end(&mut answer);
    assert!(!answer.windows(5).any(|part| part == b"HTTP/"), "{answer:?}");
}

#[test]
fn a_flood_of_subscriptions_delays_nobody_and_ends_in_what_it_asked_for_last() {
    let control = TestControl::start();
    let rest = control.rest();
    rest.put(&sandbox("a", &[CART], 1));
    let mut prompt = follower(&control, "prompt");
    prompt.settle(QUIET);
    let mut flood = control.connection().stream("flood");
    for number in 0..20_000 {
        let name = cart(&format!("key-{}", number % 500));
        flood.subscribe(OVERRIDE, &[&name], &[&name]);
    }
    flood.subscribe(OVERRIDE, &[&cart("a")], &[]);
    let mut latencies: Vec<Duration> = (0..5).map(|number| latency(&rest, &mut prompt, number)).collect();
    latencies.sort_unstable();
    assert!(latencies[2] < Duration::from_secs(4), "{latencies:?}");
    loop {
        match flood.heard(DEADLINE) {
            Heard::Response(response) => {
                flood.ack(&response);
                if response.resources.iter().any(|resource| resource.name == cart("a")) {
                    break;
                }
            }
            Heard::Nothing => panic!("what was asked for last did not come"),
            // It may also be told to go.
            Heard::Ended(code, message) => {
                println!("the flood was ended: {code:?} {message}");
                break;
            }
        }
    }
    prompt.assert_conduct();
}

#[test]
fn a_thousand_streams_have_a_change_and_it_is_known_when_the_last_one_has() {
    let control = TestControl::start();
    let rest = control.rest();
    let before = control.resident_bytes();
    let connections: Vec<Connection> = (0..20).map(|_| control.connection()).collect();
    let mut streams: Vec<Stream> =
        (0..1_000).map(|number| connections[number % 20].stream(&format!("proxy-{number}"))).collect();
    for stream in &mut streams {
        stream.subscribe(OVERRIDE, &[&format!("{CART}/*")], &[]);
    }
    for stream in &mut streams {
        let response = stream.response();
        stream.ack(&response);
    }
    println!("{} KiB for each stream", (control.resident_bytes() - before) / 1_000 / 1024);
    let document = sandbox("a", &[CART], 1);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let put = scope.spawn(|| rest.put_with(&document, "?wait=programmed&timeout=60s"));
        for stream in &mut streams {
            let response = stream.response();
            assert_eq!(response.resources.len(), 1);
            stream.ack(&response);
        }
        let answer = put.join().expect("a put");
        assert_eq!(programmed(&answer), (1_000, 1_000));
    });
    println!("programmed 1,000 of 1,000 after {:?}", started.elapsed());
    drop(streams.split_off(10));
    eventually("those that left are not counted", || {
        (programmed(&rest.get("/v1/sandboxes/a")) == (10, 10)).then_some(())
    });
    drop(streams);
    drop(connections);
    eventually("nobody is counted", || (programmed(&rest.get("/v1/sandboxes/a")) == (0, 0)).then_some(()));
}

#[test]
fn without_descriptors_for_more_streams_those_that_are_open_are_served() {
    let control = Control::new().under(&["prlimit", "--nofile=80:80"]).start();
    let rest = control.rest();
    let mut prompt = follower(&control, "prompt");
    prompt.settle(QUIET);
    let held: Vec<_> = (0..120).filter_map(|_| std::net::TcpStream::connect(control.grpc()).ok()).collect();
    let connected = held.len();
    drop(held);
    println!("{connected} connections were made");
    eventually("REST answers again", || rest.try_send("GET", "/v1/sandboxes", "", ""));
    assert!(latency(&rest, &mut prompt, 0) < DEADLINE);
}
