//! What must hold for the pure parts of `spurline-net`, whatever the bytes.

use spurline_net::{DETECT_BYTES_MAX, Detection, detect};

/// The data is what arrives on a connection: it is decided early, once and for all.
pub fn detection(data: &[u8]) {
    let mut decided = None;
    for end in 0..=data.len().min(2 * DETECT_BYTES_MAX) {
        match (detect(&data[..end]), decided) {
            (Detection::NeedMore, None) => assert!(end < DETECT_BYTES_MAX),
            (detection, None) => decided = Some(detection),
            (detection, Some(decided)) => assert_eq!(detection, decided, "at {end}"),
        }
    }
    if let Some(decided) = decided {
        assert_eq!(detect(data), decided);
    }
}
