//! HTTP at the edge: what a request's head decides, the one pingora application that carries the
//! decisions out, and how its failures are told.

pub mod cookie;
pub mod failure;
pub mod forwarded;
