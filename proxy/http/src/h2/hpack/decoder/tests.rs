use super::*;
use crate::Error;

/// The fields of a decoded head as RFC 7541 Appendix C lists them, with the pseudo-fields.
fn listed(head: &Head, meta: HeadMeta) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut list = Vec::new();
    if head.status() > 0 {
        list.push(format!(":status: {}", head.status()));
    } else if !head.method().0.is_empty() {
        list.push(format!(":method: {}", text(head.method().0)));
        list.push(format!(":scheme: {}", text(meta.scheme.name())));
        list.push(format!(":path: {}", text(head.target())));
    }
    list.extend(head.pairs().map(|(name, value)| match name {
        b"host" => format!(":authority: {}", text(value)),
        _ => format!("{}: {}", text(name), text(value)),
    }));
    list
}

/// The entries of the dynamic table, newest first.
fn entries(decoder: &Decoder) -> Vec<String> {
    let line = |age| decoder.table.get(age).map(|(line, _)| String::from_utf8(line.to_vec()).unwrap());
    (0..).map_while(line).map(|line| line.trim_end().to_owned()).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What a block of the appendix must read as, and leave in the table.
struct Vector {
    block: &'static str,
    fields: &'static [&'static str],
    table: &'static [&'static str],
    size: usize,
}

fn hold(table_bytes_max: usize, section: Section, vectors: &[Vector]) {
    let mut decoder = Decoder::new(table_bytes_max);
    let mut head = Head::default();
    for Vector { block, fields, table, size } in vectors {
        let meta = decoder.decode(&octets(block), section, &Limits::default(), &mut head).unwrap();
        assert_eq!(listed(&head, meta), *fields, "{block}");
        assert_eq!(
            (entries(&decoder), decoder.table.size()),
            (table.iter().map(|s| (*s).to_owned()).collect(), *size)
        );
    }
}

const REQUESTS: [&[&str]; 3] = [
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

/// In the table `:authority` stands as the field that it becomes.
const REQUEST_TABLES: [(&[&str], usize); 3] = [
    (&["host: www.example.com"], 57),
    (&["cache-control: no-cache", "host: www.example.com"], 110),
    (&["custom-key: custom-value", "cache-control: no-cache", "host: www.example.com"], 164),
];

const RESPONSES: [&[&str]; 3] = [
    &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 307",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
];

const RESPONSE_TABLES: [(&[&str], usize); 3] = [
    (
        &[
            "location: https://www.example.com",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "cache-control: private",
            ":status: 302",
        ],
        222,
    ),
    (
        &[
            ":status: 307",
            "location: https://www.example.com",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "cache-control: private",
        ],
        222,
    ),
    (
        &[
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "content-encoding: gzip",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
        ],
        215,
    ),
];

fn vectors(
    blocks: [&'static str; 3],
    fields: [&'static [&'static str]; 3],
    tables: [(&'static [&'static str], usize); 3],
) -> Vec<Vector> {
    let all = blocks.into_iter().zip(fields).zip(tables);
    all.map(|((block, fields), (table, size))| Vector { block, fields, table, size }).collect()
}

#[test]
fn representations_of_fields_hold_as_in_appendix_c_2() {
    let hold_trailers = |block: &str, field: &str, table: &[&str]| {
        let (mut decoder, mut head) = (Decoder::default(), Head::default());
        let meta = decoder.decode(&octets(block), Section::Trailers, &Limits::default(), &mut head).unwrap();
        assert_eq!(listed(&head, meta), [field]);
        assert_eq!(entries(&decoder), table);
        head.fields[0].never_indexed
    };
    let (indexed, secret) = ("custom-key: custom-header", "password: secret");
    let block = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    assert!(!hold_trailers(block, indexed, &[indexed]));
    assert!(hold_trailers("1008 7061 7373 776f 7264 0673 6563 7265 74", secret, &[]));
    // C.2.2 and C.2.4, with what makes them a request.
    let (mut decoder, mut head) = (Decoder::default(), Head::default());
    let block = octets("82 040c 2f73 616d 706c 652f 7061 7468 86 0101 61");
    let meta = decoder.decode(&block, Section::Request, &Limits::default(), &mut head).unwrap();
    assert_eq!(
        listed(&head, meta),
        [":method: GET", ":scheme: http", ":path: /sample/path", ":authority: a"]
    );
    assert_eq!(entries(&decoder), [""; 0]);
}

#[test]
fn requests_hold_as_in_appendix_c_3_and_c_4() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let huffman = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    hold(4096, Section::Request, &vectors(plain, REQUESTS, REQUEST_TABLES));
    hold(4096, Section::Request, &vectors(huffman, REQUESTS, REQUEST_TABLES));
}

#[test]
fn responses_that_evict_hold_as_in_appendix_c_5_and_c_6() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 \
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 \
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 \
         3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let huffman = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 \
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    hold(256, Section::Response, &vectors(plain, RESPONSES, RESPONSE_TABLES));
    hold(256, Section::Response, &vectors(huffman, RESPONSES, RESPONSE_TABLES));
}

fn trailers(block: &[u8]) -> Result<HeadMeta, BlockError> {
    Decoder::default().decode(block, Section::Trailers, &Limits::default(), &mut Head::default())
}

#[test]
fn what_is_not_hpack_is_an_error_of_the_connection() {
    for bad in [
        // Index 0, past the static table, far past it, and as a name.
        "80",
        "be",
        "ffffff7f",
        "7f80 01 0161",
        // Truncated integers, names and values.
        "ff",
        "ff80",
        "00",
        "0001",
        "0001 61",
        "0001 6102 62",
        "00ff 80 80 80 80 01",
        // Longer than what follows.
        "007f 61",
        // Huffman: EOS, padding of 8 bits, padding of zeros.
        "0001 6184 ffff ffff",
        "0001 6182 1fff",
        "0001 6181 18",
        // A size update that is too large, and one that is not at the start.
        "3fe2 1f",
        "0001 6101 6220",
    ] {
        assert_eq!(trailers(&octets(bad)), Err(BlockError::Compression), "{bad}");
    }
    for good in ["", "20", "3fe1 1f", "20 3fe1 1f", "20 0001 6101 62"] {
        assert!(trailers(&octets(good)).is_ok(), "{good}");
    }
}

#[test]
fn a_size_update_evicts() {
    let (mut decoder, mut head) = (Decoder::default(), Head::default());
    let mut read =
        |block: &str| decoder.decode(&octets(block), Section::Trailers, &Limits::default(), &mut head);
    assert!(read("4001 6101 62 4001 6301 64").is_ok());
    assert!(read("bf be").is_ok());
    assert!(read("3f 03 be").is_ok());
    assert_eq!(read("3f 03 bf"), Err(BlockError::Compression));
    assert_eq!(read("20 be"), Err(BlockError::Compression));
    // An entry larger than the table leaves it empty and is no error (RFC 7541 section 4.4).
    assert!(read("3f 02 4001 6101 62").is_ok());
    assert_eq!(entries(&decoder), [""; 0]);
}

#[test]
fn the_table_is_right_after_a_refused_head() {
    let (mut decoder, mut head) = (Decoder::default(), Head::default());
    let limits = Limits { trailer_bytes_max: 200, ..Limits::default() };
    let mut read = |block: &str| {
        let meta = decoder.decode(&octets(block), Section::Trailers, &limits, &mut head)?;
        Ok::<_, BlockError>(listed(&head, meta))
    };
    // An upper-case name, then a field that enters the table.
    assert_eq!(read("0001 4101 62 4001 6101 62"), Err(BlockError::Malformed(Error::Field)));
    assert_eq!(read("be").unwrap(), ["a: b"]);
    // Too many bytes, then another.
    let many = format!("{} 4001 6301 64", "be".repeat(7));
    assert_eq!(read(&many), Err(BlockError::TooLarge(Error::TrailersTooLarge)));
    assert_eq!(read("be bf").unwrap(), ["c: d", "a: b"]);
    // A malformed field is refused again where it comes from the table, and its name is still good for others.
    assert_eq!(read("4001 6101 0a"), Err(BlockError::Malformed(Error::Field)));
    assert_eq!(read("be"), Err(BlockError::Malformed(Error::Field)));
    assert_eq!(read("0f 2f 01 78").unwrap(), ["a: x"]);
}

#[test]
fn a_bomb_ends_the_block_and_stores_nothing_beyond_the_limit() {
    let (mut decoder, mut head) = (Decoder::default(), Head::default());
    let limits = Limits { trailer_bytes_max: 1000, trailer_fields_max: 100, ..Limits::default() };
    let mut read = |block: &str| decoder.decode(&octets(block), Section::Trailers, &limits, &mut head);
    assert!(read("4001 6101 62").is_ok());
    // Each reference counts 34 bytes: 29 fit, 117 are within four times the limit.
    assert!(read(&"be".repeat(29)).is_ok());
    let refused = Err(BlockError::TooLarge(Error::TrailersTooLarge));
    assert_eq!(read(&"be".repeat(30)), refused);
    assert_eq!(read(&"be".repeat(117)), refused);
    assert_eq!(read(&"be".repeat(118)), Err(BlockError::Bomb));
    assert_eq!(read(&"00".repeat(4001)), Err(BlockError::Bomb));
    assert!(head.block.capacity() <= 4096, "{}", head.block.capacity());
}
