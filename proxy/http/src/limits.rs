/// What a message may cost before it is refused. Every limit applies to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head: start line, fields and the blank line.
    pub head_bytes_max: usize,
    /// Fields of the head. At most [`Limits::FIELDS_CEILING`].
    pub fields_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
    /// Bytes of chunk extensions, over all chunks of one body.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of the trailer section.
    pub trailer_bytes_max: usize,
    /// Fields of the trailer section. At most [`Limits::FIELDS_CEILING`].
    pub trailer_fields_max: usize,
}

impl Limits {
    /// No limit on a number of fields can be set above this.
    pub const FIELDS_CEILING: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            chunk_extension_bytes_max: 1024,
            trailer_bytes_max: 8 * 1024,
            trailer_fields_max: 32,
        }
    }
}
