//! What must hold for `spurline-source`, whatever the bytes.

use spurline_core::document;
use spurline_source::text;

/// The data is a file.
pub fn text(data: &[u8]) {
    // What ends a line in YAML: LF, CR and CR LF.
    let lines = 1 + data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    let texts = match text::parse(data) {
        Ok(texts) => texts,
        Err(fault) => {
            assert!((1..=lines).contains(&fault.line), "line {} of {lines}", fault.line);
            assert!(!fault.text.is_empty() && !fault.text.contains('\n'), "{:?}", fault.text);
            return;
        }
    };
    assert!(!texts.is_empty());
    for text in texts {
        assert!((1..=lines).contains(&text.line()), "line {} of {lines}", text.line());
        match document::read(text.value(), None) {
            Ok(document) => {
                let json = document.to_json();
                let again = text::parse(json.to_string().as_bytes()).expect("JSON is YAML");
                let again: Vec<_> = again.iter().map(|text| document::read(text.value(), None)).collect();
                assert_eq!(again, [Ok(document)], "{json}");
            }
            Err(faults) => {
                for fault in faults {
                    let line = text.line_of(&fault.pointer);
                    assert!((text.line()..=lines).contains(&line), "line {line} of {lines}: {fault}");
                }
            }
        }
    }
}
