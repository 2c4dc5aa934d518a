//! Connections that the kernel redirects: a real namespace, real nft and iptables rules, the real binary inside.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a suite fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use spurline_tests::{
    End, Override, Pod, RawClient, Recorder, Redirect, Routes, Step, TestProxy, eventually, skip_netns,
};

const WORKLOAD: &str = "shop/Deployment/cart";
const KEY: &str = "k3v9m2x7q4ab";
const INBOUND: u16 = 15_006;

fn proxy(pod: &Pod, routes: &Routes) -> TestProxy {
    TestProxy::build()
        .under(&pod.prefix())
        .flag("--inbound-listen", &format!("0.0.0.0:{INBOUND}"))
        .flag("--inbound-workload", WORKLOAD)
        .argument("--admin-allow-remote")
        .flag("--detect-timeout", "300ms")
        .admin(pod.address(15_000))
        .routes(routes)
        .start()
}

fn app(pod: &Pod, port: u16) -> Recorder {
    let listener = pod.enter(|| TcpListener::bind(("0.0.0.0", port)).expect("bind inside"));
    Recorder::on(listener, "app", |_| vec![Step::Echo])
}

fn redirected(how: Redirect) {
    let pod = Pod::new();
    let app = app(&pod, 8080);
    let outside = TcpListener::bind((pod.host_address(0).ip(), 0)).expect("bind outside");
    let fork = Recorder::on(outside, "fork", |_| vec![Step::Echo]);
    let routes = Routes::new()
        .sandbox("a", KEY)
        .with(Override::new(WORKLOAD, KEY, "cart-a").port(8080, &[fork.address()]))
        .published();
    let proxy = proxy(&pod, &routes);
    pod.redirect(how, &[8080], INBOUND);
    let mut client = RawClient::connect(pod.address(8080));
    let plain = client.exchange("GET /plain HTTP/1.1\r\nHost: a\r\nX-Id: 1\r\n\r\n");
    assert_eq!((plain.field("x-backend"), plain.field("x-id")), (Some("app"), Some("1")), "{}", proxy.log());
    let keyed = client.exchange(format!("GET /keyed HTTP/1.1\r\nHost: a\r\nsd-routing-key: {KEY}\r\n\r\n"));
    assert_eq!(keyed.field("x-backend"), Some("fork"), "{:?}", keyed.head);
    assert!(app.violations().is_empty() && fork.violations().is_empty());
    assert!(proxy.metric("spurline_connections_accepted_total", &[]) >= 1.0);
    eventually("the connection is counted", || {
        (proxy.metric("spurline_requests_total", &[("selection", "override")]) >= 1.0).then_some(())
    });
}

#[test]
fn nft_redirects_to_the_proxy_which_finds_the_app_and_the_fork() {
    if !skip_netns("redirect_netns") {
        redirected(Redirect::Nft);
    }
}

#[test]
fn iptables_redirects_to_the_proxy_which_finds_the_app_and_the_fork() {
    if !skip_netns("redirect_netns") {
        redirected(Redirect::Iptables);
    }
}

#[test]
fn redirected_bytes_that_are_not_http_reach_the_app() {
    if skip_netns("redirect_netns") {
        return;
    }
    let pod = Pod::new();
    let listener = pod.enter(|| TcpListener::bind(("0.0.0.0", 5432)).expect("bind inside"));
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"ready ");
                let mut buffer = [0; 1024];
                while let Ok(count) = stream.read(&mut buffer) {
                    if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let routes = Routes::new().published();
    let _proxy = proxy(&pod, &routes);
    pod.redirect(Redirect::Nft, &[5432], INBOUND);
    let mut client = RawClient::connect(pod.address(5432));
    assert_eq!(client.read_exact(6).expect("a server that speaks first"), b"ready ");
    client.send(b"\x00\x01binary").finish();
    assert_eq!(client.to_end().bytes, b"\x00\x01binary");
}

#[test]
fn a_connection_that_was_not_redirected_is_ended_and_never_loops() {
    if skip_netns("redirect_netns") {
        return;
    }
    let pod = Pod::new();
    let routes = Routes::new().published();
    let proxy = proxy(&pod, &routes);
    let direct: SocketAddr = pod.address(INBOUND);
    for _ in 0..20 {
        let mut client = RawClient::connect(direct);
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let transcript = client.to_end();
        assert_ne!(transcript.end, End::Timeout);
        assert!(!String::from_utf8_lossy(&transcript.bytes).contains("200"), "{transcript:?}");
    }
    assert!(proxy.metric("spurline_connections_refused_total", &[]) >= 20.0);
    assert!(proxy.open_descriptors() < 100);
}
