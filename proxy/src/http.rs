//! HTTP at the edge: what a request's head decides, the one pingora application that carries the
//! decisions out, and how its failures are told.

mod admission;
mod answer;
pub mod application;
pub mod body;
pub mod cache;
pub mod cookie;
pub mod decide;
mod dial;
pub mod edge;
mod events;
pub mod exchange;
pub mod facts;
pub mod failure;
pub mod forwarded;
mod freeze;
mod hop;
pub mod key;
pub mod learned;
mod outbound;
mod tunnel;
pub mod upstream;
pub mod warm;
pub mod zone_view;
