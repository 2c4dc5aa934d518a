//! Hostile and odd heads of HTTP/2, as far as one header block decides what becomes of them. Each row is the fields that
//! arrive and what is sent on to an HTTP/1 peer, or why they are refused. The numbers are those of the list of cases.

use spurline_http::{
    Error, Framing, Head, Limits, Version,
    h1::{self, Persistence, ResponseEncoding},
    h2::{BlockError, Decoder, Encoder, HeadMeta, Scheme, Section},
    remove_hop_by_hop,
};

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// What makes a request, to be followed by other fields.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/p"), (":authority", "a.b:80")];

fn get<'a>(more: &[(&'a str, &'a str)]) -> Fields<'a> {
    [&GET, more].concat()
}

/// A request with this value in place of the pseudo-field's own; without it when there is none.
fn with<'a>(name: &str, value: Option<&'a str>) -> Fields<'a> {
    let kept = GET.into_iter().filter_map(|(known, usual)| match known == name {
        true => value.map(|value| (known, value)),
        false => Some((known, usual)),
    });
    kept.collect()
}

fn push_string(block: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ ..127) => block.push(length),
        _ => {
            let left = text.len() - 127;
            block.extend([
                127,
                0x80 | (left & 0x7f) as u8,
                0x80 | ((left >> 7) & 0x7f) as u8,
                (left >> 14) as u8,
            ]);
        }
    }
    block.extend(text.bytes());
}

/// A block of literals that no table takes part in.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    block
}

fn decode(section: Section, fields: &[(&str, &str)]) -> Result<(Head, HeadMeta), BlockError> {
    let mut head = Head::default();
    let meta = Decoder::default().decode(&block(fields), section, &Limits::default(), &mut head)?;
    Ok((head, meta))
}

/// A request as an HTTP/1 server receives it.
fn relayed(fields: &[(&str, &str)]) -> Result<String, BlockError> {
    let (mut head, _) = decode(Section::Request, fields)?;
    remove_hop_by_hop(&mut head);
    let mut out = Vec::new();
    h1::encode_request(&head, Framing::None, None, &mut out);
    Ok(out.escape_ascii().to_string())
}

fn malformed<T>(error: Error) -> Result<T, BlockError> {
    Err(BlockError::Malformed(error))
}

#[track_caller]
fn hold_refused(id: &str, fields: &[(&str, &str)], error: Error) {
    assert_eq!(relayed(fields), malformed(error), "{id}: {fields:?}");
}

#[track_caller]
fn hold_sent(id: &str, fields: &[(&str, &str)], expected: &str) {
    assert_eq!(relayed(fields).as_deref(), Ok(expected), "{id}: {fields:?}");
}

#[test]
fn g01_values_that_would_split_a_message_are_refused() {
    for value in
        ["a\r\nb: c", "a\rb", "a\nb", "a\0b", " a", "a ", "\ta", "a\t", " ", "\r\n", "\u{7f}", "\u{1}"]
    {
        hold_refused("G01", &get(&[("x", value)]), Error::Field);
        for section in [Section::Response, Section::Trailers] {
            let start: &[_] = if section == Section::Response { &[(":status", "200")] } else { &[] };
            let fields = [start, &[("x", value)]].concat();
            assert_eq!(decode(section, &fields).map(|_| ()), malformed(Error::Field), "{value:?}");
        }
    }
    hold_sent(
        "G01",
        &get(&[("x", "a b\tc\u{e9}"), ("y", "")]),
        r"GET /p HTTP/1.1\r\nhost: a.b:80\r\nx: a b\tc\xc3\xa9\r\ny: \r\n\r\n",
    );
}

#[test]
fn g02_names_are_lower_case_tokens() {
    for name in
        ["", " x", "x ", "x y", "x:y", "X", "xY", "x\0", "x\r\n", "\u{e9}", "\u{7f}", "x(", "Host", "COOKIE"]
    {
        hold_refused("G02", &get(&[(name, "1")]), Error::Field);
    }
    for name in ["content_length", "transfer_encoding", "proxy_authorization"] {
        hold_refused("G02 alias", &get(&[(name, "1")]), Error::AmbiguousField);
    }
    hold_sent(
        "G02",
        &get(&[("x!#$%&'*+-.^_`|~0", "1")]),
        r"GET /p HTTP/1.1\r\nhost: a.b:80\r\nx!#$%&\'*+-.^_`|~0: 1\r\n\r\n",
    );
}

#[test]
fn g03_nothing_is_injected_through_a_pseudo_field() {
    for method in ["GET / HTTP/1.1\r\nx: y", "GET\t"] {
        hold_refused("G03 method", &with(":method", Some(method)), Error::Field);
    }
    for method in ["", "GE T", "GET/", "G\u{e9}T"] {
        hold_refused("G03 method", &with(":method", Some(method)), Error::PseudoField);
    }
    for method in ["get", "TRACE", "PRI", "CONNECT", "AVERYLONGMETHODTHATNOBODYHAS"] {
        hold_refused("G03 method", &with(":method", Some(method)), Error::Method);
    }
    for path in ["/ HTTP/1.1\r\nx: y", "/\0"] {
        hold_refused("G03 path", &with(":path", Some(path)), Error::Field);
    }
    for path in ["/ HTTP/1.1", "/a b", "/a\tb", "/a\\b", "/\"", "/<", "/\u{e9}", "/%00"] {
        hold_refused("G03 path", &with(":path", Some(path)), Error::Target);
    }
    for authority in ["a b", "a/b", "a\\b", "a, b", "a:80/HTTP/1.1"] {
        hold_refused("G03 authority", &with(":authority", Some(authority)), Error::Authority);
    }
}

#[test]
fn g04_fields_of_a_connection_are_refused() {
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ] {
        hold_refused("G04", &get(&[(name, value)]), Error::ConnectionField);
        let response = [(":status", "200"), (name, value)];
        assert_eq!(decode(Section::Response, &response).map(|_| ()), malformed(Error::ConnectionField));
    }
    hold_sent(
        "G04",
        &get(&[("te", "trailers"), ("proxy-authorization", "x"), ("x", "1")]),
        r"GET /p HTTP/1.1\r\nhost: a.b:80\r\nte: trailers\r\nx: 1\r\nconnection: te\r\n\r\n",
    );
}

#[test]
fn g05_a_length_is_one_plain_number() {
    for value in ["+5", "-5", "5, 5", "0x5", "05", "", "5.0", "1000000000000000000"] {
        hold_refused("G05", &get(&[("content-length", value)]), Error::ContentLength);
    }
    hold_refused(
        "G05",
        &get(&[("content-length", "5"), ("content-length", "5")]),
        Error::ContentLengthRepeated,
    );
    let (_, meta) = decode(Section::Request, &get(&[("content-length", "5")])).unwrap();
    assert_eq!(meta.content_length, Some(5));
    for (status, length) in [("200", Some(5)), ("304", Some(5)), ("204", None), ("103", None)] {
        let (head, meta) =
            decode(Section::Response, &[(":status", status), ("content-length", "5")]).unwrap();
        assert_eq!(meta.content_length, length, "{status}");
        let mut out = Vec::new();
        Encoder::new().encode_response(&head, &mut out);
        let mut again = Head::default();
        Decoder::default().decode(&out, Section::Response, &Limits::default(), &mut again).unwrap();
        assert_eq!(again.pairs().count(), usize::from(length.is_some()), "{status}");
    }
}

#[test]
fn g06_pseudo_fields_are_whole_and_in_their_place() {
    for missing in [":method", ":scheme", ":path"] {
        hold_refused("G06 missing", &with(missing, None), Error::PseudoField);
    }
    for again in GET {
        hold_refused("G06 repeated", &get(&[again]), Error::PseudoField);
    }
    let late = [("x", "1"), GET[0], GET[1], GET[2], GET[3]];
    hold_refused("G06 late", &late, Error::PseudoField);
    for unknown in [":status", ":foo", ":", ":protocol", ":Path"] {
        let error = if unknown == ":Path" { Error::Field } else { Error::PseudoField };
        hold_refused("G06 unknown", &[&GET[..], &[(unknown, "200")]].concat(), error);
    }
    let cases: [(Section, &[(&str, &str)]); 6] = [
        (Section::Response, &[]),
        (Section::Response, &[("x", "1"), (":status", "200")]),
        (Section::Response, &[(":status", "200"), (":status", "200")]),
        (Section::Response, &[(":status", "200"), (":path", "/")]),
        (Section::Trailers, &[(":status", "200")]),
        (Section::Trailers, &[("x", "1"), (":path", "/")]),
    ];
    for (section, fields) in cases {
        assert_eq!(decode(section, fields).map(|_| ()), malformed(Error::PseudoField), "{fields:?}");
    }
    for status in ["", "20", "2000", "+20", "20a", "099", "600", "101", "999"] {
        assert_eq!(
            decode(Section::Response, &[(":status", status)]).map(|_| ()),
            malformed(Error::Status),
            "{status}"
        );
    }
}

#[test]
fn g07_there_is_one_authority() {
    let sent = r"GET /p HTTP/1.1\r\nhost: a.b:80\r\n\r\n";
    hold_sent("G07", &get(&[]), sent);
    hold_sent("G07 the same", &get(&[("host", "a.b:80")]), sent);
    hold_sent("G07 the same in another case", &get(&[("host", "A.B:80")]), sent);
    let only_host = [&with(":authority", None)[..], &[("host", "a.b:80")]].concat();
    hold_sent("G07 only host", &only_host, sent);
    hold_refused("G07 another", &get(&[("host", "b")]), Error::Authority);
    hold_refused("G07 twice", &get(&[("host", "a.b:80"), ("host", "a.b:80")]), Error::Authority);
    hold_refused("G07 twice", &[&only_host[..], &[("host", "a.b:80")]].concat(), Error::Authority);
    hold_refused("G07 none", &with(":authority", None), Error::Authority);
    for bad in ["", "u@a", "u:p@a", "a:99999", "[::1", "a?b", "a#b"] {
        hold_refused("G07", &with(":authority", Some(bad)), Error::Authority);
    }
}

#[test]
fn g08_a_path_is_in_origin_form() {
    for path in ["", "x", "*", "/a#b", "#", "?a", "http://a/", "a.b:80"] {
        hold_refused("G08", &with(":path", Some(path)), Error::Target);
    }
    // As in HTTP/1: what a path means is its owner's business.
    for path in ["//evil", "/..;/", "/%2f", "/?a=[1]"] {
        hold_sent(
            "G08",
            &with(":path", Some(path)),
            &format!(r"GET {path} HTTP/1.1\r\nhost: a.b:80\r\n\r\n"),
        );
    }
    let options = [(":method", "OPTIONS"), GET[1], (":path", "*"), GET[3]];
    hold_sent("G08", &options, r"OPTIONS * HTTP/1.1\r\nhost: a.b:80\r\n\r\n");
    let long = format!("/{}", "x".repeat(8 * 1024));
    assert_eq!(relayed(&with(":path", Some(&long))), Err(BlockError::TooLarge(Error::TargetTooLarge)));
}

#[test]
fn g09_a_scheme_is_http_or_https() {
    for scheme in ["", "HTTP", "HTTPS", "ftp", "http://localhost/?", "http:"] {
        hold_refused("G09", &with(":scheme", Some(scheme)), Error::Scheme);
    }
    let (head, meta) = decode(Section::Request, &with(":scheme", Some("https"))).unwrap();
    assert_eq!((meta.scheme, head.version()), (Scheme::Https, Version::Http2));
}

#[test]
fn g10_cookie_crumbs_are_joined_and_counted() {
    hold_sent(
        "G10",
        &get(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", ""), ("cookie", "c=3")]),
        r"GET /p HTTP/1.1\r\nhost: a.b:80\r\ncookie: a=1; b=2; c=3\r\nx: 1\r\n\r\n",
    );
    let crumbs = |count| get(&vec![("cookie", "a=1"); count]);
    let joined = vec!["a=1"; 100].join("; ");
    hold_sent("G10", &crumbs(100), &format!(r"GET /p HTTP/1.1\r\nhost: a.b:80\r\ncookie: {joined}\r\n\r\n"));
    assert_eq!(relayed(&crumbs(101)), Err(BlockError::TooLarge(Error::TooManyFields)));
    assert_eq!(relayed(&crumbs(1500)), Err(BlockError::TooLarge(Error::TooManyFields)));
    assert_eq!(relayed(&crumbs(5000)), Err(BlockError::Bomb));
}

#[test]
fn g11_a_body_of_unknown_length_is_sent_on_in_chunks() {
    let (head, meta) = decode(Section::Request, &get(&[])).unwrap();
    assert_eq!(meta.content_length, None);
    let mut out = Vec::new();
    h1::encode_request(&head, Framing::Chunked, None, &mut out);
    assert_eq!(out, b"GET /p HTTP/1.1\r\nhost: a.b:80\r\ntransfer-encoding: chunked\r\n\r\n");
}

#[test]
fn an_expectation_and_an_extended_connect_are_told() {
    let (_, meta) = decode(Section::Request, &get(&[("expect", "100-continue")])).unwrap();
    assert!(meta.expects_continue && !meta.has_protocol);
    hold_refused("D02", &get(&[("expect", "x")]), Error::Expectation);
    let tunnel = [(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]];
    let (head, meta) = decode(Section::Request, &tunnel).unwrap();
    assert!(meta.has_protocol);
    assert_eq!((head.protocol(), head.target()), (&b"websocket"[..], &b"/p"[..]));
    hold_refused("E07", &get(&[(":protocol", "websocket")]), Error::PseudoField);
    hold_refused("E08", &[(":method", "CONNECT"), (":authority", "a:80")], Error::Method);
    for bad in ["", "a b", "a\u{e9}"] {
        hold_refused(
            "E07",
            &[tunnel[0], (":protocol", bad), tunnel[2], tunnel[3], tunnel[4]],
            Error::PseudoField,
        );
    }
}

#[test]
fn d06_trailers_lose_what_must_not_be_in_them() {
    let fields = [
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("host", "a"),
        ("authorization", "x"),
        ("baggage", "a=b"),
        ("cookie", "a=b"),
        ("grpc-message", "ok"),
    ];
    let (head, meta) = decode(Section::Trailers, &fields).unwrap();
    assert_eq!(meta, HeadMeta::default());
    let kept: Vec<_> = head.pairs().map(|(name, value)| [name, b"=", value].concat()).collect();
    assert_eq!(kept, [b"grpc-status=0".to_vec(), b"grpc-message=ok".to_vec()]);
    let many = vec![("a", "b"); 33];
    assert_eq!(
        decode(Section::Trailers, &many).map(|_| ()),
        Err(BlockError::TooLarge(Error::TrailersTooLarge))
    );
}

#[test]
fn b13_heads_of_the_size_of_the_limit_pass_and_larger_ones_do_not() {
    let limits = Limits::default();
    let fixed: usize = GET.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() + 33;
    // `:authority` counts as the field that it becomes.
    let fixed = fixed - ":authority".len() + "host".len();
    let fits = "v".repeat(limits.head_bytes_max - fixed);
    assert!(relayed(&get(&[("x", &fits)])).is_ok());
    let over = "v".repeat(limits.head_bytes_max - fixed + 1);
    assert_eq!(relayed(&get(&[("x", &over)])), Err(BlockError::TooLarge(Error::HeadTooLarge)));
    let bomb = "v".repeat(4 * limits.head_bytes_max);
    assert_eq!(relayed(&get(&[("x", &bomb)])), Err(BlockError::Bomb));
    let many = get(&[("x", "1"); 101]);
    assert_eq!(relayed(&many), Err(BlockError::TooLarge(Error::TooManyFields)));
}

#[test]
fn a_response_becomes_one_of_http_1_without_a_reason() {
    let (head, _) = decode(Section::Response, &[(":status", "404"), ("server", "x")]).unwrap();
    let encoding = ResponseEncoding {
        framing: Framing::Close,
        client: Version::Http11,
        persistence: Persistence::KeepAlive,
        upgrade: None,
    };
    let mut out = Vec::new();
    h1::encode_response(&head, encoding, &mut out);
    assert_eq!(out, b"HTTP/1.1 404 \r\nserver: x\r\ntransfer-encoding: chunked\r\n\r\n");
}

#[test]
fn a_head_of_http_1_becomes_one_of_http_2() {
    let input =
        b"POST http://A.b/p?q HTTP/1.1\r\nHost: x\r\nUser-Agent:u\r\nX-Odd_Name: v \r\nTE: trailers\r\n\
        Connection: te, close\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n";
    let mut head = Head::default();
    h1::read_request(input, &Limits::default(), &mut head).unwrap().unwrap();
    spurline_http::connection_options(&mut head, |_| false).unwrap();
    remove_hop_by_hop(&mut head);
    let mut out = Vec::new();
    Encoder::new().encode_request(&head, Scheme::Https, &mut out);
    let mut again = Head::default();
    let meta = Decoder::default().decode(&out, Section::Request, &Limits::default(), &mut again).unwrap();
    assert_eq!(meta.scheme, Scheme::Https);
    assert_eq!((again.method().0, again.target()), (&b"POST"[..], &b"/p?q"[..]));
    let fields: Vec<_> =
        again.pairs().map(|(n, v)| String::from_utf8([n, b": ", v].concat()).unwrap()).collect();
    assert_eq!(fields, ["host: A.b", "user-agent: u", "x-odd_name: v", "cookie: a=1; b=2", "te: trailers"]);
}
