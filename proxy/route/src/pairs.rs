//! Pairs of names and values in a query (RFC 3986 section 3.4, as HTML forms write it) and in `Cookie` (RFC 6265
//! section 4.2.1).
//!
//! Names are compared byte for byte as they stand on the wire: a name that is percent-encoded is not ours.

use crate::members::trim;

/// The values of one parameter in a request target, not decoded; a parameter without `=` has an empty one.
pub(crate) fn query_values<'a>(target: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let (_, query) = split_query(target);
    query.unwrap_or_default().split(|&byte| byte == b'&').filter_map(move |pair| value_of(pair, name))
}

/// The target without one parameter; `None` if it does not occur.
pub(crate) fn without_query(target: &[u8], name: &str) -> Option<Vec<u8>> {
    let (path, query) = split_query(target);
    let query = query?;
    let mut kept = path.to_vec();
    let (mut removed, mut separator) = (false, b'?');
    for pair in query.split(|&byte| byte == b'&') {
        if value_of(pair, name).is_some() {
            removed = true;
            continue;
        }
        kept.push(separator);
        kept.extend_from_slice(pair);
        separator = b'&';
    }
    removed.then_some(kept)
}

/// The values of one cookie in a `Cookie` line, without the quotes they may have.
pub(crate) fn cookie_values<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let values = line.split(|&byte| byte == b';').filter_map(move |pair| value_of(trim(pair), name));
    values.map(|value| value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

/// The `Cookie` line without one cookie; `None` if it does not occur, empty if nothing is left.
pub(crate) fn without_cookie(line: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::new();
    let mut removed = false;
    for pair in line.split(|&byte| byte == b';') {
        if value_of(trim(pair), name).is_some() {
            removed = true;
        } else if kept.is_empty() {
            kept.extend_from_slice(trim(pair));
        } else {
            kept.push(b';');
            kept.extend_from_slice(pair);
        }
    }
    removed.then_some(kept)
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    match pair.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(target: &str) -> Vec<&str> {
        query_values(target.as_bytes(), "sd").map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    fn cookie(line: &str) -> Vec<&str> {
        cookie_values(line.as_bytes(), "sd").map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        assert_eq!(query("/a?x=1&sd=k1&sd=k=2&sdx=3&xsd=4&SD=5&sd"), ["k1", "k=2", ""]);
        assert!(query("/sd=1").is_empty() && query("*").is_empty() && query("/?").is_empty());
    }

    #[test]
    fn removing_a_parameter_leaves_the_others_as_they_are() {
        let without = |target: &str| {
            without_query(target.as_bytes(), "sd").map(|target| String::from_utf8(target).unwrap())
        };
        assert_eq!(without("/a?sd=1"), Some("/a".to_owned()));
        assert_eq!(without("/a?sd=1&b=%20&&c&sd=2"), Some("/a?b=%20&&c".to_owned()));
        assert_eq!(without("/a?b=1&sd"), Some("/a?b=1".to_owned()));
        assert_eq!(without("/a?b=sd"), None);
        assert_eq!(without("/sd"), None);
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        assert_eq!(cookie("a=1; sd=k1;sd=\"k2\" ; xsd=3; sd=\""), ["k1", "k2", "\""]);
    }

    #[test]
    fn removing_a_cookie_leaves_the_others_as_they_are() {
        let without =
            |line: &str| without_cookie(line.as_bytes(), "sd").map(|line| String::from_utf8(line).unwrap());
        assert_eq!(without("sd=1; a=\"x\"; sd=2;b=2"), Some("a=\"x\";b=2".to_owned()));
        assert_eq!(without("sd=1"), Some(String::new()));
        assert_eq!(without("a=1; b=sd=1"), None);
    }
}
