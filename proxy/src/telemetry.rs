//! What the process tells of itself: counters and latencies (recorder), their exposition
//! (metrics, edge, prewarm, replicas), and what is sent to control (shipper).

mod edge;
pub mod metrics;
pub mod prewarm;
pub mod recorder;
mod replicas;
pub mod shipper;

pub use metrics::Metrics;
pub use recorder::{Recorder, StatusClass};
pub use replicas::ReplicaCounts;
