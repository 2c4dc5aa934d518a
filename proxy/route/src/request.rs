//! What of a request is looked at.

/// The parts of a request head in which carriers are read. A view: nothing is copied, nothing is owned.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a, I> {
    /// An iterator over the fields as (name, value), in the order received. A field's position is what
    /// [`Edit`](crate::Edit) calls its index, so that the caller must not leave any out.
    pub fields: I,
    /// The authority the request is for: `:authority`, the target's, or `Host`.
    pub authority: Option<&'a [u8]>,
    /// The request target as received; only its query is read.
    pub target: &'a [u8],
}
