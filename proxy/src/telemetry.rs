//! What the process tells of itself: counters and latencies (recorder), their exposition
//! (metrics, edge, prewarm), and what is sent to control (shipper).

mod edge;
pub mod metrics;
pub mod prewarm;
pub mod recorder;
pub mod shipper;

pub use metrics::Metrics;
pub use recorder::{Recorder, StatusClass};
