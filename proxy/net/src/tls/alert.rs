//! Alerts that are sent without a handshake (RFC 8446 section 6).

/// `unrecognized_name`, fatal, in a record of its own: the name that the client asked for is not served
/// (RFC 6066 section 3).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
