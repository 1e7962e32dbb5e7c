//! The operator's command: `homing demo`, `check`, `push`, `status`, `why`, `move`, `drain` and the
//! rest, and the roles it can run. A library, so that the tests reach its parts; nothing depends on
//! it.

pub mod app;
pub mod demo;
pub mod rest;
pub mod trouble;
