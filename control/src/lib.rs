//! The control plane's shell: takes configuration in by REST, keeps it in a journal, plans, and
//! publishes placement tables to proxies over gRPC. What is decided is decided in the pure crates;
//! here are only sockets, the disk and the clock.

pub mod alerts;
// A problem document is built once for a refused request; boxing it would cost words, not time.
#[allow(clippy::result_large_err)]
pub mod api;
pub mod audit;
pub mod clock;
pub mod config;
pub mod foresight;
pub mod history;
pub mod journal;
pub mod lead;
pub mod link;
pub mod metrics;
pub mod profiles;
pub mod provider;
pub mod publish;
pub mod scaling;
pub mod scope;
mod serve;
pub mod shared;
pub mod startup;
pub mod tasks;

pub use startup::{Control, Running, Settings, run};
