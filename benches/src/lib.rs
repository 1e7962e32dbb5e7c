//! What the benches share.

pub mod sessions;
