//! The control service and its command line.

fn main() {}
