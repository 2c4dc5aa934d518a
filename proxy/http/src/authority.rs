use std::net::Ipv6Addr;

/// Whether `value` is a host with an optional port as this proxy forwards it (RFC 9110 section 7.2).
///
/// Narrower than the grammar of RFC 3986: user information, percent-encoding, sub-delimiters (a comma joins two
/// hosts for some servers) and IPv6 zones are refused, an empty port is not.
pub fn authority_is_valid(value: &[u8]) -> bool {
    let Some((host, port)) = split(value) else { return false };
    port.is_none_or(port_is_valid) && host_is_valid(host)
}

fn split(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if value.first() == Some(&b'[') {
        let end = memchr::memchr(b']', value)?;
        let (host, rest) = value.split_at_checked(end + 1)?;
        return match rest {
            [] => Some((host, None)),
            [b':', port @ ..] => Some((host, Some(port))),
            _ => None,
        };
    }
    match memchr::memchr(b':', value) {
        Some(at) => Some((value.get(..at)?, value.get(at + 1..))),
        None => Some((value, None)),
    }
}

fn port_is_valid(port: &[u8]) -> bool {
    port.is_empty()
        || (port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

fn host_is_valid(host: &[u8]) -> bool {
    /// RFC 1035: no name is longer.
    const HOST_BYTES_MAX: usize = 255;
    if let [b'[', inner @ .., b']'] = host {
        return std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_port_are_valid() {
        for good in ["a", "a.b-c_d", "10.0.0.1:80", "[::1]", "[::1]:8080", "localhost:", "a:65535"] {
            assert!(authority_is_valid(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn ambiguous_hosts_are_not() {
        for bad in [
            "",
            ":80",
            "a, b",
            "a,b",
            "a@b",
            "a/b",
            "a:99999",
            "a:-1",
            "a:+1",
            "[::1",
            "::1",
            "[::1]x",
            "a b",
            "a:b",
            "a:80:80",
            "[fe80::1%25eth0]",
            "a%2fb",
            "a?b",
            "a#b",
            "é",
        ] {
            assert!(!authority_is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
