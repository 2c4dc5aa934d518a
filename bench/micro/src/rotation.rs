/// Items taken in turn, over and over, so that an operation does not see the same input each time.
pub(crate) struct Rotation<T> {
    items: Vec<T>,
    next: usize,
}

// === impl Rotation ===

impl<T> Rotation<T> {
    pub(crate) fn new(items: Vec<T>) -> Self {
        Self { items, next: 0 }
    }

    /// The next item; `None` only if there are none at all.
    pub(crate) fn turn(&mut self) -> Option<&T> {
        let at = self.next;
        self.next = if at + 1 < self.items.len() { at + 1 } else { 0 };
        self.items.get(at)
    }
}
