//! Filled by what follows.
