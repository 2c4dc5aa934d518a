use serde_json::json;

use super::*;

fn one(text: &str) -> Text {
    let mut texts = parse(text.as_bytes()).unwrap();
    assert_eq!(texts.len(), 1, "{texts:?}");
    texts.remove(0)
}

fn fault(text: &[u8]) -> (u64, String) {
    let fault = parse(text).unwrap_err();
    (fault.line, fault.text)
}

const SANDBOX: &str = "\
kind: Sandbox
metadata:
  name: alice   # a comment
  labels: { team: yes, 'a/b': 1.50 }
spec:
  routingKey: 12e4
  forks:
    - workload: shop/Deployment/cart
      ports:
        8080: [127.0.0.1:9102]
    -
      workload: shop/Deployment/web
      ports: { '*': [] }
";

#[test]
fn scalars_are_the_text_that_was_typed() {
    let text = one(
        "a: 12e4\nb: yes\nc: 007\nd: -0x1F\ne: .inf\nf: 1_000\ng: 'q'\nh: ~\ni:\nj: |\n  12\nk: 2024-01-01\nl: 1e999\nm: \"7\"\n",
    );
    assert_eq!(
        *text.value(),
        json!({"a": "12e4", "b": "yes", "c": "007", "d": "-0x1F", "e": ".inf", "f": "1_000", "g": "q",
               "h": null, "i": null, "j": "12\n", "k": "2024-01-01", "l": "1e999", "m": "7"})
    );
    let text = one("é: ü\nb: [ 1 , 2.50 ]\nc: {d: true , e: 8080}\n8: &n 0x10\nf: *n\n");
    assert_eq!(
        *text.value(),
        json!({"é": "ü", "b": ["1", "2.50"], "c": {"d": "true", "e": "8080"}, "8": "0x10", "f": "0x10"})
    );
}

#[test]
fn pointers_lead_to_lines() {
    let text = one(SANDBOX);
    for (pointer, line) in [
        ("", 1),
        ("/kind", 1),
        ("/metadata", 2),
        ("/metadata/name", 3),
        ("/metadata/labels/a~1b", 4),
        ("/spec/forks", 7),
        ("/spec/forks/0", 8),
        ("/spec/forks/0/ports/8080/0", 10),
        ("/spec/forks/0/fork", 8),
        ("/spec/forks/1", 12),
        ("/spec/forks/1/ports/*", 13),
        ("/spec/forks/2", 7),
        ("/spec/ttl/after", 5),
        ("no pointer", 1),
    ] {
        assert_eq!(text.line_of(pointer), line, "{pointer}");
    }
}

#[test]
fn json_is_yaml() {
    let text = one("{\n  \"kind\": \"Sandbox\",\n\t\"spec\": {\"forks\": []}\n}\n");
    assert_eq!(*text.value(), json!({"kind": "Sandbox", "spec": {"forks": []}}));
    assert_eq!(text.line_of("/spec"), 3);
}

#[test]
fn several_documents_each_know_their_lines() {
    let texts = parse(b"---\n# nothing\n---\na: 1\n---\n\n\nb: 2\n...\n---\nc: 3\n").unwrap();
    let lines: Vec<_> = texts.iter().map(|text| (text.line(), text.value().to_string())).collect();
    assert_eq!(lines, [(4, r#"{"a":"1"}"#.into()), (8, r#"{"b":"2"}"#.into()), (11, r#"{"c":"3"}"#.into())]);
}

#[test]
fn what_is_no_text_says_where() {
    assert_eq!(fault(b"a: 1\nb: \xff"), (2, "bytes that are not text; allowed: UTF-8".into()));
    for empty in ["", "# nothing yet\n", "---\n---\n"] {
        assert_eq!(fault(empty.as_bytes()).1, "no document; allowed: at least one, or no file", "{empty:?}");
    }
    for (text, line, part) in [
        ("a: [1\n", 1, ""),
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate"),
        ("a: 1\n---\nb: 1\nb: 2\n", 4, "duplicate"),
        ("a: *missing\n", 1, ""),
        ("a: 1\n b: 2\n", 2, ""),
        ("? [a]\n: b\n", 1, ""),
    ] {
        let (found, message) = fault(text.as_bytes());
        assert!(found == line && message.contains(part), "{text:?} gave {found}: {message}");
        assert!(!message.contains(" at line "), "{message}");
    }
}

#[test]
fn aliases_and_depth_are_bounded() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
    }
    assert!(parse(text.as_bytes()).is_err());
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(fault(deep.as_bytes()), (1, "nested too deep; allowed: 16 levels".into()));
    assert!(parse(b"a: &a [*a]\n").is_err());
}

#[test]
fn an_alias_stands_where_it_is_used() {
    let text = one("x: &ports\n  8080: [127.0.0.1:1]\nspec:\n  ports: *ports\n");
    assert_eq!(text.line_of("/spec/ports"), 4);
    assert_eq!(text.value()["spec"]["ports"]["8080"][0], "127.0.0.1:1");
}

#[test]
fn many_documents_fit() {
    let text: String =
        (0..30_000).map(|n| format!("---\nkind: Sandbox\nmetadata: {{ name: s{n} }}\n")).collect();
    assert_eq!(parse(text.as_bytes()).unwrap().len(), 30_000);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(
        cuts in proptest::collection::vec((0usize..250, "[a-z0-9:,{}\\[\\]&*!|>'\"#\n -]{0,6}"), 0..4),
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
    ) {
        let mut text = SANDBOX.to_owned();
        for (at, insert) in cuts {
            text.insert_str(at.min(text.len()), &insert);
        }
        for text in parse(text.as_bytes()).into_iter().flatten() {
            let _ = text.line_of("/spec/forks/0/ports/8080/0");
        }
        let _ = parse(&noise);
    }
}
