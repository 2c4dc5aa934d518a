//! Refuses what a web page could do through the browser of somebody who can reach the admin server.
//!
//! A page may send requests to loopback addresses, and by DNS rebinding (its own host name, suddenly resolving to
//! 127.0.0.1) read the answers as well. The browser then still names the page's host, and says in `Origin` where a
//! changing request comes from. So on a loopback address `Host` must be an IP address or `localhost`, and `POST` and
//! `PUT` with an `Origin` are refused on any address. This is no access control: other programs send what they like.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{HOST, ORIGIN},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};

use super::pages::refusal;

/// Answers 403 to what looks like a web page's doing, and passes on the rest. `bound` is the server's own address.
pub(super) async fn refuse(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    if bound.ip().is_loopback() && !is_direct(request.uri(), request.headers()) {
        return refusal(StatusCode::FORBIDDEN, "host must be an IP address or localhost");
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && request.headers().contains_key(ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "requests of web pages change nothing: send no origin");
    }
    next.run(request).await
}

/// Does every host the request names stand for the address itself? Browsers always name one, other clients need not.
fn is_direct(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(HOST)
        .iter()
        .all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_address(authority.host())));
    named && uri.host().is_none_or(is_address)
}

fn is_address(host: &str) -> bool {
    let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || unbracketed.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_direct_and_names_are_not() {
        for host in ["127.0.0.1", "127.0.0.1:15000", "localhost", "LOCALHOST:15000", "[::1]", "[::1]:15000"] {
            assert!(direct("/", host), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:15000", "", "@", "0x7f.1"]
        {
            assert!(!direct("/", host), "{host}");
        }
    }

    #[test]
    fn the_host_in_the_target_counts_as_well() {
        assert!(direct("http://127.0.0.1/", "127.0.0.1"));
        assert!(!direct("http://evil.example/", "127.0.0.1"));
    }

    fn direct(uri: &str, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        is_direct(&uri.parse().unwrap(), &headers)
    }
}
