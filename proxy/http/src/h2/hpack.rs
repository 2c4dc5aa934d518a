//! Header compression (RFC 7541), both directions: blocks are read into and written from [`crate::Head`]s.
//!
//! The block of a head holds its lines as HTTP/1 writes them, and so do the tables of the decoder: an indexed field is
//! one copy, whatever it means. What is known of a name or a value (its token, whether it may stand in a head) is
//! worked out when it is first read and kept with its entry.
//!
//! Not here: frames, and whether an error ends a stream or the connection beyond what [`BlockError`] says.

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod integer;
mod static_table;
mod token;

pub use decoder::Decoder;
pub use encoder::Encoder;

pub(crate) use token::Token;

/// Why a header block was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The head is more than four times as large as the limit; decoding stopped there. The table is not right any
    /// more, and the peer not well-meaning: an error of the connection, ENHANCE_YOUR_CALM.
    #[error("header block is far larger than the limit")]
    Bomb,
    /// The block is not HPACK: an error of the connection, COMPRESSION_ERROR (RFC 9113 section 4.3).
    #[error("header block is malformed")]
    Compression,
    /// The head breaks HTTP: an error of the stream (RFC 9113 section 8.1.1). The table is right.
    #[error("malformed message: {0}")]
    Malformed(crate::Error),
    /// The head exceeds a limit: an error of the stream. The table is right.
    #[error("{0}")]
    TooLarge(crate::Error),
}
